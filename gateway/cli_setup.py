"""The command that makes a Raspberry Pi OS, or an image of one, a gateway."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli_options import JsonOption, named_faults, write_json
from gateway.errors import StateFault

if TYPE_CHECKING:
    from gateway.setup import SetupPlan


def register(app: typer.Typer) -> None:
    """Add the command to the gateway's application."""
    app.command("setup", epilog="Example: sudo coop-gateway setup --broker --enable")(
        named_faults(setup)
    )


def setup(
    root: Annotated[Path, typer.Option("--root", help="Where the system is mounted.")] = Path("/"),
    broker: Annotated[bool, typer.Option("--broker", help="Set up mosquitto too.")] = False,
    firewall: Annotated[
        bool,
        typer.Option(
            "--firewall", help="Set up nftables too; ssh stays open, the rest is dropped."
        ),
    ] = False,
    close_shell: Annotated[
        bool, typer.Option("--close-shell", help="Let the firewall close ssh too.")
    ] = False,
    enable: Annotated[
        bool, typer.Option("--enable", help="Start everything, now and at each boot.")
    ] = False,
    device: Annotated[
        list[str] | None, typer.Option("--device", help="Make a broker password for it; repeat.")
    ] = None,
    secret_to: Annotated[
        Path | None,
        typer.Option("--secret-to", help="Write the local secret to this file instead of here."),
    ] = None,
    image: Annotated[
        bool, typer.Option("--image", help="Prepare an image: no key, secret or password is made.")
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take away what setup wrote; settings and data stay.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Make this Raspberry Pi OS a gateway: service, broker, firewall, names for RS485 sticks."""
    from gateway.identity import write_private
    from gateway.setup import SetupWish, plan_setup, plan_undo, set_up
    from gateway.setup import undo as undo_setup
    from gateway.setup_broker import add_devices

    wish = SetupWish(
        broker=broker, firewall=firewall, close_shell=close_shell, enable=enable, image=image
    )
    shown: list[str] = []

    def tell_secret(secret: str) -> None:
        if secret_to is not None:
            write_private(secret_to, f"{secret}\n".encode())
        elif json_output:
            shown.append(secret)
        else:
            # At once: what comes after it may fail, and it is not kept.
            print(f"local secret: {secret}  (shown once; needed to widen consents)", flush=True)

    tells = root == Path("/") or secret_to is not None
    if dry_run:
        plan = plan_undo(root) if undo else plan_setup(root, wish)
    elif undo:
        plan = undo_setup(root)
    else:
        try:
            plan = set_up(root, wish, tell_secret=tell_secret if tells else None)
        except StateFault:
            for secret in shown:
                sys.stderr.write(f"local secret: {secret}  (shown once)\n")
            raise
    made = {} if dry_run or undo else add_devices(root, device or ())
    answer = {
        "writes": plan.writes,
        "keeps": plan.keeps,
        "removes": plan.removes,
        "commands": [" ".join(command) for command in plan.commands],
        "passwords": made,
    }
    told = {"local_secret": shown[0]} if shown else {}
    if json_output:
        write_json(answer | told)
        return
    _tell(root, plan, undone=undo, dry_run=dry_run)
    for name, password in made.items():
        print(f"device {name}: password {password}  (shown once)")


def _tell(root: Path, plan: SetupPlan, *, undone: bool, dry_run: bool) -> None:
    would = "would " if dry_run else ""
    for place in plan.writes:
        print(f"{would}{'write' if dry_run else 'wrote'} {root / place}")
    for place in plan.removes:
        print(f"{would}{'remove' if dry_run else 'removed'} {root / place}")
    for place in plan.keeps:
        print(f"kept {root / place}{' (changed since)' if undone else ''}")
    if dry_run:
        for command in plan.commands:
            print(f"would run {' '.join(command)}")
    elif undone:
        print("settings in etc/commonwatt and data in var/lib/commonwatt stay;")
        print("`coop-gateway purge` erases the data")
