"""Which homes' loads were released before, so that two packs do not tell what one home used.

The difference of two sums over nearly the same homes is the load of the few that are in one and not
in the other. So what was released is kept in a file of the cooperative's own, and a further release
over the same time must be of the same homes, or differ by many.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tariff_bargainer.bargaining.offer_file import load_table, read_text, required_instant, strictly
from tariff_bargainer.errors import NegotiationFault
from tariff_bargainer.tariffs.strict_table import StrictTable

FORMAT = "commonwatt-released/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A sum over homes that left the cooperative.

    Attributes:
        homes: Names of the homes inside.
        start: First moment of the load, aware.
        end: First moment after it, aware.
    """

    homes: frozenset[str]
    start: datetime
    end: datetime


def require_apart(earlier: Sequence[Release], planned: Release, *, homes_min: int) -> None:
    """Refuse a release that together with an earlier one tells of fewer than `homes_min` homes.

    Raises:
        NegotiationFault: It is over the same time and differs by too few homes.
    """
    for one in earlier:
        apart = len(one.homes ^ planned.homes)
        if 0 < apart < homes_min and one.start < planned.end and planned.start < one.end:
            raise NegotiationFault(
                f"a load of {len(one.homes)} homes was released before, and these {len(planned.homes)} "
                f"differ from them by {apart}, which the difference would lay open; release the same "
                f"homes again, or a group that differs by at least {homes_min}"
            )


def read_releases(path: Path) -> list[Release]:
    """Read what was released before; nothing when there is no file yet.

    Raises:
        OfferFileError: The file cannot be read or breaks its form.
    """
    if not path.exists():
        return []
    return strictly(_releases, load_table(read_text(path), form="json"))


def add_release(path: Path, release: Release) -> None:
    """Add a release to the file, which only its owner may read; the same again adds nothing.

    Raises:
        OSError: The file cannot be written.
    """
    known = read_releases(path)
    if release in known:
        return
    facts = {
        "format": FORMAT,
        "releases": [
            {
                "start": one.start.isoformat(),
                "end": one.end.isoformat(),
                "homes": sorted(one.homes),
            }
            for one in (*known, release)
        ],
    }
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(facts, file, indent=1, ensure_ascii=False)
    beside.replace(path)


def _releases(table: StrictTable) -> list[Release]:
    found = table.text("format")
    if found != FORMAT:
        raise table.fault("format", f"is {found!r}", f"write {FORMAT!r}")
    return [_release(entry) for entry in table.tables("releases")]


def _release(table: StrictTable) -> Release:
    release = Release(
        homes=frozenset(table.each("homes", str, "a name")),
        start=required_instant(table, "start"),
        end=required_instant(table, "end"),
    )
    table.close()
    return release
