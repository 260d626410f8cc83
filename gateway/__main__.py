"""`python -m gateway` is `coop-gateway`."""

from __future__ import annotations

import sys

from gateway.running import FAULTS, fault_line, plainly_asked, run_gateway


def main() -> None:
    """Run the gateway if plainly asked to; read any other words with the command line's machinery."""
    asked = plainly_asked(sys.argv[1:])
    if asked is None:
        from gateway.cli import app  # noqa: PLC0415  costs memory that a running gateway is spared

        app()
        return
    config, verbose = asked
    try:
        run_gateway(config, verbose=verbose)
    except FAULTS as fault:
        sys.stderr.write(fault_line(fault))
        sys.exit(2)


if __name__ == "__main__":
    main()
