#!/usr/bin/env bash
# Writes the locked requirements with hashes and without index addresses. Needs uv.
set -euo pipefail
lock() { uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header "$@" pyproject.toml; }
lock --extra dev -o requirements-dev.txt
# The build tools come along: the project itself is installed without build isolation.
printf 'hatchling>=1.27\neditables>=0.5\n' > .build-tools.in
uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header \
  --extra demo --extra influx -c requirements-dev.txt -o requirements.txt pyproject.toml .build-tools.in
uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header \
  --extra gateway -c requirements-dev.txt -o requirements-gateway.txt pyproject.toml
rm .build-tools.in
