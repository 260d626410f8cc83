"""`python -m gateway` is `coop-gateway`."""

from gateway.cli import app

if __name__ == "__main__":
    app()
