"""Commands about the gateway itself: run, pair, status, rotate, secret."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from gateway.cli_options import ConfigOption, JsonOption, named_faults, write_json
from gateway.errors import GatewayError


def register(app: typer.Typer) -> None:
    """Add the commands to the gateway's application."""
    app.command("run", epilog="Example: coop-gateway run --config gateway.toml")(named_faults(run))
    app.command(
        "pair", epilog="Example: coop-gateway pair --config gateway.toml --code 7KQ2-M9XF-40PD"
    )(named_faults(pair))
    app.command("sync", epilog="Example: coop-gateway sync --config gateway.toml --json")(
        named_faults(sync)
    )
    app.command("status", epilog="Example: coop-gateway status --config gateway.toml --json")(
        named_faults(status)
    )
    app.command("rotate", epilog="Example: coop-gateway rotate --config gateway.toml")(
        named_faults(rotate)
    )
    app.command("new-secret", epilog="Example: coop-gateway new-secret --config gateway.toml")(
        named_faults(new_secret)
    )


def run(
    config: ConfigOption,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log more.")] = False,
) -> None:
    """Read the meters, keep what the consents allow, send it, and serve the local page."""
    from gateway.running import run_gateway

    run_gateway(config, verbose=verbose)


def pair(
    config: ConfigOption,
    code: Annotated[str, typer.Option("--code", help="Claim code from the co-op's portal.")],
    qr: Annotated[
        bool, typer.Option("--qr", help="Show the local page's address as a QR code.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Bind this gateway to your household, and pin the co-op's keys."""
    from gateway.clock import DOUBT_S_MIN, off_by
    from gateway.identity import HASH_FILE
    from gateway.parts import Parts, open_parts

    async def ask(parts: Parts) -> None:
        try:
            await parts.uplink.pair(code)
        except GatewayError:
            # A secret that nobody was shown is none: the next try makes another.
            if parts.local_secret is not None:
                (parts.identity.state_dir / HASH_FILE).unlink(missing_ok=True)
            raise
        finally:
            await parts.link.close()

    with open_parts(config, shows_secret=True) as parts:
        asyncio.run(ask(parts))
    pinned = parts.identity.pinned
    answer = {
        "gateway": parts.identity.key_id,
        "household": pinned.household if pinned else None,
        "coop": pinned.coop_name if pinned else None,
        "local_secret": parts.local_secret,
        "local_page": parts.settings.local_page.address,
        "clock_offset_s": parts.uplink.clock_offset_s,
    }
    if json_output:
        write_json(answer)
        return
    print(f"paired with {answer['coop']} as household {answer['household']}")
    print(f"gateway key {answer['gateway']}")
    if parts.local_secret:
        print(f"local secret: {parts.local_secret}  (shown once; needed to widen consents)")
    print(f"local page: {answer['local_page']}")
    offset_s = parts.uplink.clock_offset_s or 0.0
    if abs(offset_s) > DOUBT_S_MIN:
        print(f"the clock is {off_by(offset_s)} the co-op's: readings wait until they agree")
    if qr:
        print(_qr(str(answer["local_page"])))


def sync(config: ConfigOption, json_output: JsonOption = False) -> None:
    """Exchange consents with the co-op once, and check that its log only grew."""
    from gateway.parts import Parts, open_parts

    async def ask(parts: Parts) -> int:
        try:
            return len((await parts.uplink.sync()).events)
        finally:
            await parts.link.close()

    with open_parts(config) as parts:
        events = asyncio.run(ask(parts))
        fork = parts.last_fork
    if json_output:
        write_json({"events": events, "log_fork": fork})
    else:
        print(f"synced; {events} new consent events")
        print(f"ALARM: {fork}" if fork else "the co-op's log only grew since last time")
    if fork:
        raise typer.Exit(1)


def status(config: ConfigOption, json_output: JsonOption = False) -> None:
    """Say how it stands, in counts. Works while the gateway runs."""
    from gateway.outbox.figures import figures, notable, tallies
    from gateway.outbox.sqlite import SqliteOutbox
    from gateway.settings import read_settings
    from gateway.status_socket import ask

    settings, state_dir = read_settings(config)
    running = ask(state_dir) or {"running": False, "problems": {}, "in_memory": 0}
    store = SqliteOutbox.open(state_dir, read_only=True)
    with store.reading() as connection:
        counted = asdict(figures(connection))
        answer = {
            **counted,
            **running,
            "simulated": settings.simulation is not None,
            "meters": [meter.name for meter in settings.meters],
            "paused": store.fact("paused") is not None,
            "log_fork": _text(store.fact("fork")),
            "turned_away": _text(store.fact("turned_away")),
            "last_sent_at": _text(store.fact("last_sent_at")),
            "policy_confirmed_at": _text(store.fact("policy_confirmed_at")),
            "tallies": tallies(connection),
            "notable": notable(connection, newest=20),
        }
    store.close()
    if json_output:
        write_json(answer)
        return
    if answer["simulated"]:
        print("time is simulated: a demonstration, not a home")
    print("the gateway runs" if answer["running"] else "no gateway runs on this state")
    for place, wrong in sorted(running["problems"].items()):
        print(f"PROBLEM {place}: {wrong}")
    for name, meter in sorted(running.get("conditions", {}).items()):
        print(f"meter {name}: {meter['condition']}, last heard {meter['last_heard'] or 'never'}")
    print(f"read {answer['readings_read']}, withheld {answer['readings_withheld']}")
    print(f"waiting {answer['waiting']}, accepted {answer['accepted']}")
    if answer["refused"]:
        print(f"refused {answer['refused']}; look with `coop-gateway refused list`")
    print(f"last sent {answer['last_sent_at'] or 'never'}")
    if answer["paused"]:
        print("sending is paused")
    if answer["log_fork"]:
        print(f"ALARM, nothing is sent: {answer['log_fork']}")
    if answer["turned_away"]:
        print(f"ALARM, the co-op takes nothing from this gateway: {answer['turned_away']}")


def rotate(config: ConfigOption, json_output: JsonOption = False) -> None:
    """Change to a new key; the old one vouches for it."""
    from gateway.parts import Parts, open_parts

    async def ask(parts: Parts) -> None:
        try:
            await parts.uplink.rotate()
        finally:
            await parts.link.close()

    with open_parts(config) as parts:
        old = parts.identity.key_id
        asyncio.run(ask(parts))
    if json_output:
        write_json({"old": old, "new": parts.identity.key_id})
    else:
        print(f"key {old} was replaced by {parts.identity.key_id}")


def new_secret(config: ConfigOption, json_output: JsonOption = False) -> None:
    """Make a new local secret, if the old one was lost; needs this account's rights."""
    from gateway.account import become_owner
    from gateway.identity import open_identity, renew_secret
    from gateway.settings import read_settings

    _, state_dir = read_settings(config)
    become_owner(state_dir)
    open_identity(state_dir)
    secret = renew_secret(state_dir)
    if json_output:
        write_json({"local_secret": secret})
    else:
        print(f"local secret: {secret}  (shown once; the old one no longer counts)")


def _qr(text: str) -> str:
    """A QR code for a terminal, two rows a line, black on white whatever its own colours are."""
    import segno

    rows = [list(row) for row in segno.make(text, error="m").matrix_iter(border=4)]
    rows += [[0] * len(rows[0])] * (len(rows) % 2)
    signs = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}
    lines = (
        "".join(signs[above, below] for above, below in zip(*pair, strict=True))
        for pair in zip(rows[::2], rows[1::2], strict=True)
    )
    return "\n".join(f"\x1b[30;107m{line}\x1b[0m" for line in lines)


def _text(stored: bytes | None) -> str | None:
    return None if stored is None else stored.decode()
