"""`python -m cloud.migrations "why"` drafts the next step from the tables in code."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from cloud.database import Database
from cloud.migrations.run import draft, migrate


def main() -> int:
    """Draft a step; read and finish it by hand before you commit it."""
    if len(sys.argv) != 2:
        sys.stderr.write('error: say why: python -m cloud.migrations "ballots and votes"\n')
        return 2
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'draft.sqlite'}")
        migrate(database)
        draft(database, sys.argv[1])
        database.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
