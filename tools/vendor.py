"""Fetch the pinned front-end files anew, or check that what is committed is what was pinned.

`python tools/vendor.py --check` works offline: it compares each file's SHA-256 with vendor.toml.
`python tools/vendor.py` fetches each package with `npm pack`, checks the registry's integrity
hash, copies the listed files and writes their SHA-256 back.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "vendor.toml"


def main() -> int:
    """Run the command; 0 when all files are as pinned."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only, offline")
    arguments = parser.parse_args()
    packages = tomllib.loads(PINS.read_text())["package"]
    if arguments.check:
        wrong = [fault for package in packages for fault in faults_of(package)]
        for fault in wrong:
            print(fault, file=sys.stderr)
        print(f"{sum(len(p['files']) for p in packages)} vendored files checked")
        return 1 if wrong else 0
    for package in packages:
        fetch(package)
    return 0


def faults_of(package: dict) -> list[str]:
    """What differs between the committed files and the pins."""
    faults = []
    for entry in package["files"]:
        path = ROOT / package["into"] / Path(entry["take"]).name
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"
        if found != entry["sha256"]:
            faults.append(f"{path.relative_to(ROOT)}: expected {entry['sha256']}, found {found}")
    return faults


def fetch(package: dict) -> None:
    """Fetch one package, check its integrity hash and copy the listed files."""
    with tempfile.TemporaryDirectory() as folder:
        spec = f"{package['name']}@{package['version']}"
        subprocess.run(["npm", "pack", spec, "--silent"], cwd=folder, check=True)
        archive = next(Path(folder).glob("*.tgz"))
        algorithm, _, wanted = package["integrity"].partition("-")
        found = base64.b64encode(hashlib.new(algorithm, archive.read_bytes()).digest()).decode()
        if found != wanted:
            sys.exit(f"{spec}: integrity {found} is not the pinned {wanted}")
        target = ROOT / package["into"]
        target.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as tar:
            for entry in package["files"]:
                member = tar.extractfile(f"package/{entry['take']}")
                if member is None:
                    sys.exit(f"{spec}: no file {entry['take']}")
                content = member.read()
                if hashlib.sha256(content).hexdigest() != entry["sha256"]:
                    sys.exit(f"{spec}: {entry['take']} is not the pinned file")
                (target / Path(entry["take"]).name).write_bytes(content)
        print(f"{spec}: {len(package['files'])} files")


if __name__ == "__main__":
    sys.exit(main())
