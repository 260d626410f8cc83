"""Commands about consents: what leaves, why, and how to stop it."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
import typer

from gateway.cli_options import ConfigOption, JsonOption, named_faults, write_json
from gateway.errors import BadSettings
from gateway.wire.reading import Quantity, Resolution

consent_app = typer.Typer(no_args_is_help=True, help="List, give, narrow and withdraw consents.")

MetersOption = Annotated[list[str] | None, typer.Option("--meter", help="Only this meter; repeat.")]
QuantitiesOption = Annotated[
    list[Quantity] | None, typer.Option("--quantity", help="Only this quantity; repeat.")
]
ResolutionOption = Annotated[
    Resolution | None, typer.Option("--resolution", help="Coarser than asked for, such as PT1H.")
]
ConsentArgument = Annotated[str, typer.Argument(help="Which consent, by its id.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the gateway's application."""
    app.add_typer(consent_app, name="consent")
    consent_app.command(
        "list", epilog="Example: coop-gateway consent list --config gateway.toml --json"
    )(named_faults(list_consents))
    consent_app.command(
        "give",
        epilog="Example: coop-gateway consent give group-tariff --config gateway.toml "
        "--secret-file secret.txt",
    )(named_faults(give))
    consent_app.command(
        "narrow",
        epilog="Example: coop-gateway consent narrow group-tariff --resolution P1D "
        "--config gateway.toml",
    )(named_faults(narrow))
    consent_app.command(
        "withdraw",
        epilog="Example: coop-gateway consent withdraw group-tariff --config gateway.toml",
    )(named_faults(withdraw))
    consent_app.command(
        "receipts", epilog="Example: coop-gateway consent receipts --config gateway.toml"
    )(named_faults(receipts))
    app.command("pause", epilog="Example: coop-gateway pause --config gateway.toml")(
        named_faults(pause)
    )
    app.command("resume", epilog="Example: coop-gateway resume --erase --config gateway.toml")(
        named_faults(resume)
    )
    app.command(
        "accept-log",
        epilog="Example: coop-gateway accept-log --config gateway.toml --secret-file secret.txt",
    )(named_faults(accept_log))
    app.command(
        "explain",
        epilog="Example: coop-gateway explain grid import_wh 2026-11-21T18:30:00+01:00 "
        "--config gateway.toml",
    )(named_faults(explain))
    app.command("export", epilog="Example: coop-gateway export --config gateway.toml > all.json")(
        named_faults(export)
    )
    app.command("purge", epilog="Example: coop-gateway purge --yes --config gateway.toml")(
        named_faults(purge)
    )


def list_consents(config: ConfigOption, json_output: JsonOption = False) -> None:
    """List the consents in the book, and what the co-op asks for."""
    from gateway.household import current_book, offers
    from gateway.parts import open_parts

    with open_parts(config) as parts:
        book = current_book(parts.store, parts.identity)
        asked = offers(parts.store)
    if json_output:
        write_json(
            {
                "household": book.household,
                "consents": [msgspec.to_builtins(grant) for grant in book.grants.values()],
                "offers": [msgspec.to_builtins(offer) for offer in asked],
            }
        )
        return
    for grant in book.grants.values():
        terms = grant.terms
        what = ", ".join(terms.quantities)
        print(f"{grant.reference}  {grant.state}  {terms.purpose}  {what}  {terms.resolution}")
    for offer in asked:
        if offer.offer_id not in book.grants:
            print(f"{offer.offer_id}  asked for  {offer.terms.purpose}  {offer.title}")


def give(
    offer_id: Annotated[str, typer.Argument(help="Which offer, by its id.")],
    config: ConfigOption,
    secret_file: Annotated[
        Path | None,
        typer.Option("--secret-file", help="File with the local secret; asked for if left out."),
    ] = None,
    meter: MetersOption = None,
    quantity: QuantitiesOption = None,
    resolution: ResolutionOption = None,
    json_output: JsonOption = False,
) -> None:
    """Say yes to what the co-op asks for, in whole or to less."""
    from gateway import household
    from gateway.parts import open_parts

    with open_parts(config) as parts:
        book = household.give(
            parts.store,
            parts.identity,
            offer_id=offer_id,
            secret=_secret(secret_file),
            meters=meter or [each.name for each in parts.settings.meters],
            quantities=quantity,
            resolution=resolution,
            now=datetime.now(tz=UTC),
        )
    _say(book.grants[offer_id].reference, "given", json_output=json_output)


def narrow(
    consent_id: ConsentArgument,
    config: ConfigOption,
    meter: MetersOption = None,
    quantity: QuantitiesOption = None,
    resolution: ResolutionOption = None,
    json_output: JsonOption = False,
) -> None:
    """Let less out under a consent, from now on; unsent readings beyond it are erased."""
    from gateway import household
    from gateway.parts import open_parts

    with open_parts(config) as parts:
        book = household.narrow(
            parts.store,
            parts.identity,
            consent_id=consent_id,
            meters=meter,
            quantities=quantity,
            resolution=resolution,
            now=datetime.now(tz=UTC),
        )
    _say(book.grants[consent_id].reference, "narrowed", json_output=json_output)


def withdraw(
    consent_id: ConsentArgument, config: ConfigOption, json_output: JsonOption = False
) -> None:
    """End a consent at once, online or not; what was not sent is erased."""
    from gateway import household
    from gateway.parts import open_parts

    with open_parts(config) as parts:
        book = household.withdraw(
            parts.store, parts.identity, consent_id=consent_id, now=datetime.now(tz=UTC)
        )
    _say(book.grants[consent_id].reference, "withdrawn", json_output=json_output)


def receipts(config: ConfigOption, json_output: JsonOption = False) -> None:
    """List what was erased unsent at each withdrawal, and check the signatures."""
    from gateway.parts import open_parts
    from gateway.wire import codec
    from gateway.wire.errors import BadSignature
    from gateway.wire.session import WithdrawalReceipt
    from gateway.wire.signing import DOMAIN_RECEIPT, open_message

    with open_parts(config) as parts:
        keys = dict(parts.identity.keyring.home)
        kept = parts.store.all_receipts()
        zone = parts.settings.zone
    answer = []
    for message in kept:
        receipt = codec.decode(message.payload.encode(), WithdrawalReceipt)
        fits = message.key in keys
        try:
            if fits:
                open_message(message, DOMAIN_RECEIPT, keys[message.key])
        except BadSignature:
            fits = False
        answer.append({"receipt": msgspec.to_builtins(receipt), "key": message.key, "fits": fits})
        if not json_output:
            print(
                f"{receipt.consent_id}@{receipt.version}  {receipt.at.astimezone(zone):%Y-%m-%d %H:%M}"
                f"  {receipt.erased} intervals erased unsent"
                f"  signature of {message.key[:8]} {'fits' if fits else 'DOES NOT FIT'}"
            )
    if json_output:
        write_json({"receipts": answer})
    elif not answer:
        print("nothing was narrowed or withdrawn yet")
    if not all(entry["fits"] for entry in answer):
        raise typer.Exit(1)


def accept_log(
    config: ConfigOption,
    secret_file: Annotated[
        Path | None,
        typer.Option("--secret-file", help="File with the local secret; asked for if left out."),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """After an alarm: believe the co-op's log anew, and send again. First ask the co-op why."""
    from gateway import household
    from gateway.parts import open_parts

    with open_parts(config) as parts:
        before = household.accept_log(
            parts.store, parts.identity, secret=_secret(secret_file), now=datetime.now(tz=UTC)
        )
    _say("the co-op's log", f"accepted anew, after: {before}", json_output=json_output)


def pause(config: ConfigOption, json_output: JsonOption = False) -> None:
    """Send nothing until you resume; readings wait at home."""
    from gateway import household
    from gateway.parts import open_parts

    with open_parts(config) as parts:
        household.pause(parts.store, datetime.now(tz=UTC))
    _say("sending", "paused", json_output=json_output)


def resume(
    config: ConfigOption,
    erase: Annotated[
        bool, typer.Option("--erase", help="Erase what waited instead of sending it.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Send again."""
    from gateway import household
    from gateway.parts import open_parts

    with open_parts(config) as parts:
        erased = household.resume(parts.store, datetime.now(tz=UTC), erase=erase)
    _say("sending", f"resumed, {erased} waiting intervals erased", json_output=json_output)


def explain(
    config: ConfigOption,
    meter: Annotated[str | None, typer.Argument(help="Name of the meter.")] = None,
    quantity: Annotated[Quantity | None, typer.Argument(help="Which quantity.")] = None,
    at: Annotated[str | None, typer.Argument(help="A moment, ISO 8601 with offset.")] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, help="A message instead, by its number.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Name the grant that let a reading or a message out, or say why it stayed."""
    from gateway.consent.book import ConsentBook
    from gateway.identity import read_pinned
    from gateway.outbox import explaining
    from gateway.outbox.sqlite import SqliteOutbox
    from gateway.settings import read_settings

    settings, state_dir = read_settings(config)
    consents: dict[str, str] = {}
    withheld: dict[str, int] = {}
    asked = _asked(meter, quantity, at, batch, [each.name for each in settings.meters])
    pinned = read_pinned(state_dir)
    with (
        closing(SqliteOutbox.open(state_dir, read_only=True)) as store,
        store.reading() as connection,
    ):
        if asked is None:
            found = explaining.explain_batch(connection, batch or 0)
        else:
            name, which, moment = asked
            book = store.book(pinned.household)[0] if pinned else ConsentBook(household="")
            found = explaining.explain(connection, meter=name, quantity=which, at=moment)
            consents = explaining.why_it_stays(book, meter=name, quantity=which, at=moment)
            withheld = explaining.why_not(connection, meter=name, quantity=which)
    if json_output:
        write_json({"found": found, "consents": consents, "withheld_so_far": withheld})
        return
    for entry in found:
        print(_told(entry, settings.zone))
    if asked is None:
        if not found:
            print(f"no message {batch} is here to be sent, and none with this number left")
        return
    if not found:
        _say_why(asked, consents)
    name, which, _ = asked
    for reason, intervals in withheld.items():
        print(f"of {which} of {name}, withheld in all, {reason}: {intervals} base intervals")


def _say_why(asked: tuple[str, Quantity, datetime], consents: dict[str, str]) -> None:
    name, which, moment = asked
    print("nothing of that moment is here to be sent, and nothing of it left")
    if moment > datetime.now(tz=UTC):
        print("that moment has not come yet")
    if not consents:
        print(f"no consent names {which} of {name}, so it never leaves")
    for grant, reason in consents.items():
        print(
            f"{grant} would let it out, but its period was not seen whole"
            if reason == "covered"
            else f"{grant} does not let it out: {reason}"
        )


def _asked(
    meter: str | None,
    quantity: Quantity | None,
    at: str | None,
    batch: int | None,
    names: list[str],
) -> tuple[str, Quantity, datetime] | None:
    """What `explain` was asked for; None if it is a message."""
    if batch is not None and (meter, quantity, at) == (None, None, None):
        return None
    if batch is not None or meter is None or quantity is None or at is None:
        raise typer.BadParameter("give METER QUANTITY AT, or --batch NUMBER")
    if meter not in names:
        raise typer.BadParameter(f"there is no meter {meter!r}; there is: {', '.join(names)}")
    return meter, quantity, _moment(at)


def _told(entry: dict[str, object], zone: ZoneInfo) -> str:
    """One line about where a reading is, in the household's own time."""
    start, end = (
        f"{datetime.fromisoformat(str(entry[edge])).astimezone(zone):%Y-%m-%d %H:%M}"
        for edge in ("from", "to")
    )
    line = f"{entry['state']}: {start} to {end}, for {entry['purpose']}"
    if entry["grant"]:
        line += f" under {entry['grant']}"
    if "meter" in entry:
        line = line.replace(", for ", f", {entry['meter']} {entry['quantity']} for ", 1)
    if "first_batch" in entry:
        line += (
            f"; {entry['intervals']} of {entry['intervals_of']} intervals of {entry['resolution']},"
            f" on {entry['day']}, batches {entry['first_batch']} to {entry['last_batch']}"
        )
    return line


def export(config: ConfigOption, json_output: JsonOption = True) -> None:  # noqa: ARG001  always JSON
    """Write everything the gateway holds about your household, as one JSON object."""
    from gateway.identity import read_pinned
    from gateway.outbox.figures import export as everything
    from gateway.outbox.sqlite import SqliteOutbox
    from gateway.settings import read_settings

    _, state_dir = read_settings(config)
    store = SqliteOutbox.open(state_dir, read_only=True)
    with store.reading() as connection:
        held = everything(connection)
    store.close()
    # Keys of the co-op and the household's name there; the gateway's own key is nobody's to read.
    pinned = read_pinned(state_dir)
    write_json(held | {"pinned": None if pinned is None else msgspec.to_builtins(pinned)})


def purge(
    config: ConfigOption,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Erase keys, consents and readings from this gateway. It has to be paired again."""
    from gateway.settings import read_settings
    from gateway.state_lock import purge_state

    _, state_dir = read_settings(config)
    if not yes:
        typer.confirm(f"Erase everything in {state_dir}?", abort=True)
    removed = purge_state(state_dir)
    if json_output:
        write_json({"removed": removed})
    else:
        print(f"{len(removed)} files were erased")


def _secret(path: Path | None) -> str:
    if path is None:
        return str(typer.prompt("Local secret", hide_input=True))
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise BadSettings(
            file=str(path), place="file", problem="cannot be read", remedy="check the path"
        ) from fault


def _moment(told: str) -> datetime:
    try:
        moment = datetime.fromisoformat(told)
    except ValueError as fault:
        raise typer.BadParameter(f"{told!r} is no ISO 8601 time") from fault
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{told!r} has no offset; write it like 18:30:00+01:00")
    return moment.astimezone(UTC)


def _say(what: str, done: str, *, json_output: bool) -> None:
    if json_output:
        write_json({"what": what, "done": done})
    else:
        sys.stdout.write(f"{what}: {done}\n")
