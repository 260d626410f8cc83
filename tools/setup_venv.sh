#!/usr/bin/env bash
# Makes a virtual environment and installs the locked packages into it, then this project on top.
# A fourth file lists packages of which only the data is used: they come without what they ask for.
set -euo pipefail
python="$1" venv="$2" requirements="$3" data_only="${4:-}"
[ -x "$venv/bin/python" ] || {
  echo "Making a virtual environment in $venv"
  "$python" -m venv "$venv" || { echo "Could not make a virtual environment. On Debian: apt-get install python3-venv"; exit 2; }
}
echo "Installing the locked packages of $requirements (a minute or two the first time)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$requirements" 2> >(grep -v '^WARNING' >&2)
[ -z "$data_only" ] || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$data_only" 2> >(grep -v '^WARNING' >&2)
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . 2> >(grep -v '^WARNING' >&2)
