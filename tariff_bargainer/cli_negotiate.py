"""The command `negotiate`: one supplier, round by round, kept in a file between calls."""

import json
import os
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tariff_bargainer.cli_negotiate_numbers import (
    LIKELY_TIMES_WALK_AWAY,
    decimal,
    power_of,
    refuse,
    require_likely,
)
from tariff_bargainer.errors import BargainerError, NegotiationFault

if TYPE_CHECKING:
    from tariff_bargainer.bargaining.counter_offer import CounterOffer, Negotiation

STATE_BYTES_MAX = 4_000_000

app = typer.Typer(
    help="Bargain with one supplier, round by round; the state is a JSON file, so it resumes.",
    no_args_is_help=True,
)

StateOption = Annotated[Path, typer.Option(help="The negotiation's file.")]
PriceArgument = Annotated[str, typer.Argument(help="All-in price per kWh, such as 0.279.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command(
    "open",
    epilog="Example: tariff-bargainer negotiate open --state nordwind.json --supplier Nordwind "
    "--homes street/ --old today.toml --floor 0.262 --rounds 5",
)
def open_command(
    state: StateOption,
    supplier: Annotated[str, typer.Option(help="With whom.")],
    homes: Annotated[Path, typer.Option(help="Folder with one load CSV per home.")],
    old: Annotated[
        Path, typer.Option(help="The homes' own tariff: one file, or a folder with <home>.toml.")
    ],
    floor: Annotated[str, typer.Option(help="Supplier's estimated floor per kWh; see `floor`.")],
    alone: Annotated[
        list[Path] | None,
        typer.Option(help="Tariff any home could sign alone; exit fees count. May be repeated."),
    ] = None,
    floor_low: Annotated[str | None, typer.Option(help="Lower end of the floor.")] = None,
    floor_high: Annotated[str | None, typer.Option(help="Upper end of the floor.")] = None,
    power: Annotated[
        str | None, typer.Option(help="The co-op's bargaining power, 0 to 1; 0.5 when left out.")
    ] = None,
    patience: Annotated[
        str | None,
        typer.Option(
            metavar="OURS,THEIRS",
            help="In place of --power: what a deal one round later is worth to each side, over one "
            "now, such as 0.98,0.95; the power is then what Rubinstein's bargaining gives.",
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Rounds at most.")] = 5,
    exponent: Annotated[
        float, typer.Option(help="1 concedes evenly, above 1 late, below 1 early.")
    ] = 2.0,
    spot: Annotated[
        Path | None,
        typer.Option(
            help="CSV of spot prices, for tariffs that follow them: interval_start, price_per_mwh."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start a negotiation from the homes' bills and the supplier's estimated floor.

    Who joins leaves the present tariff, so its exit fee lowers what the group can pay; leave it out
    of the tariff file once the contract is over.
    """
    from tariff_bargainer.bargaining.alternatives import best_alternatives
    from tariff_bargainer.bargaining.counter_offer import (
        ConcessionPlan,
        Negotiation,
        bargaining_range,
    )
    from tariff_bargainer.cli_bargaining_input import (
        one_line_errors,
        read_homes,
        read_index,
        read_own_tariffs,
    )
    from tariff_bargainer.tariffs.tariff_file import read_tariff

    if state.exists():
        refuse(f"{state}: exists already; choose another file or remove it")
    strength = power_of(power, patience)
    group, index = read_homes(homes), read_index(spot)
    own = read_own_tariffs(old, group)
    open_tariffs = []
    for path in alone or []:
        with one_line_errors(path):
            open_tariffs.append(read_tariff(path))
    with one_line_errors(homes):
        best = best_alternatives(group, own, open_tariffs, index=index)
        limits = bargaining_range(
            alternatives_minor={home: one.joining_limit_minor for home, one in best.items()},
            energy_kwh=Decimal(sum(round(home.import_wh.sum()) for home in group.values())) / 1000,
            currency=next(iter(own.values())).currency,
            floor_low=decimal(floor_low or floor, "--floor-low"),
            floor=decimal(floor, "--floor"),
            floor_high=decimal(floor_high or floor, "--floor-high"),
            power=strength,
        )
        require_likely(limits)
        plan = ConcessionPlan(rounds_max=rounds, exponent=exponent)
        negotiation = Negotiation(supplier=supplier, range=limits, plan=plan)
    _write(state, negotiation, before=None)
    _show(negotiation, as_json=as_json)


@app.command(
    "offer", epilog="Example: tariff-bargainer negotiate offer 0.2790 --state nordwind.json"
)
def offer_command(
    price: PriceArgument,
    state: StateOption,
    final: Annotated[bool, typer.Option(help="The supplier calls it its last word.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Record what the supplier offers, and show what the plan advises."""
    from tariff_bargainer.bargaining.counter_offer import receive_offer
    from tariff_bargainer.cli_bargaining_input import one_line_errors

    with one_line_errors(state):
        before = _read(state)
        offered = _likely_price(price, before)
        negotiation = receive_offer(before, offered, final=final)
        _write(state, negotiation, before=before)
    _show(negotiation, as_json=as_json)


@app.command("ask", epilog="Example: tariff-bargainer negotiate ask --state nordwind.json")
def ask_command(
    state: StateOption,
    price: Annotated[str | None, typer.Argument(help="Our price; the plan's without one.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Send our counter-offer: the plan's, or a price of our own."""
    from tariff_bargainer.bargaining.counter_offer import advise, send_counter_offer
    from tariff_bargainer.cli_bargaining_input import one_line_errors

    with one_line_errors(state):
        before = _read(state)
        if price is None:
            advised = advise(before)
            ask, reason = advised.price_per_kwh, advised.reason
        else:
            ask, reason = decimal(price, "the price"), "set by the board"
        negotiation = send_counter_offer(before, ask, reason=reason)
        _write(state, negotiation, before=before)
    _show(negotiation, as_json=as_json)


@app.command("accept", epilog="Example: tariff-bargainer negotiate accept --state nordwind.json")
def accept_command(state: StateOption, as_json: JsonOption = False) -> None:
    """Agree to the last price on the table."""
    from tariff_bargainer.bargaining.counter_offer import accept_offer
    from tariff_bargainer.cli_bargaining_input import one_line_errors

    with one_line_errors(state):
        before = _read(state)
        negotiation = accept_offer(before)
        _write(state, negotiation, before=before)
    _show(negotiation, as_json=as_json)


@app.command("leave", epilog="Example: tariff-bargainer negotiate leave --state nordwind.json")
def leave_command(state: StateOption, as_json: JsonOption = False) -> None:
    """Walk away without a deal."""
    from tariff_bargainer.bargaining.counter_offer import walk_away
    from tariff_bargainer.cli_bargaining_input import one_line_errors

    with one_line_errors(state):
        before = _read(state)
        negotiation = walk_away(before)
        _write(state, negotiation, before=before)
    _show(negotiation, as_json=as_json)


@app.command("show", epilog="Example: tariff-bargainer negotiate show --state nordwind.json --json")
def show_command(
    state: StateOption,
    for_supplier: Annotated[
        bool,
        typer.Option(
            "--for-supplier", help="Only the prices both sides have named, to send to the supplier."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the moves so far and what the plan advises next."""
    from tariff_bargainer.bargaining.negotiation_file import supplier_view
    from tariff_bargainer.cli_bargaining_input import one_line_errors

    with one_line_errors(state):
        negotiation = _read(state)
    if not for_supplier:
        _show(negotiation, as_json=as_json)
    elif as_json:
        print(json.dumps(supplier_view(negotiation)))
    else:
        print(f"{negotiation.supplier}: {negotiation.status.replace('_', ' ')}")
        for move in negotiation.moves:
            who = "you offered" if move.party == "supplier" else "the group asked"
            price = f"{move.price_per_kwh} {negotiation.range.currency}/kWh"
            print(f"round {move.round}: {who} {price}{', your last word' * move.final}")


@app.command("talk", epilog="Example: tariff-bargainer negotiate talk --state nordwind.json")
def talk_command(state: StateOption) -> None:
    """Bargain line by line with a person; every move is kept at once, so it resumes anywhere.

    The screen shows our target and walk-away: it is for the board's side of the table.
    """
    from tariff_bargainer.bargaining.counter_offer import Party, Status
    from tariff_bargainer.cli_bargaining_input import one_line_errors

    with one_line_errors(state):
        negotiation = _read(state)
    _show(negotiation, as_json=False)
    while negotiation.status == Status.OPEN:
        theirs = not negotiation.moves or negotiation.moves[-1].party == Party.COOP
        line = _asked_for(
            f"{negotiation.supplier} offers [price, final price, leave, quit]: "
            if theirs
            else "we [enter: do as advised; price, accept, leave, quit]: "
        )
        if line in {None, "quit"}:
            print(f"kept in {state}; go on with `negotiate talk --state {state}`")
            return
        before = negotiation
        try:
            negotiation = _moved(negotiation, line or "", theirs=theirs)
        except BargainerError as fault:
            print(f"not done: {fault}")
            continue
        _write(state, negotiation, before=before)
        _show(negotiation, as_json=False)


def _asked_for(prompt: str) -> str | None:
    """Ask for a line; None at the end of input, or when it is broken off by Ctrl-C."""
    try:
        return input(prompt).strip().lower()
    except (EOFError, KeyboardInterrupt):
        print()
        return None


def _moved(negotiation: "Negotiation", line: str, *, theirs: bool) -> "Negotiation":
    """Make the move that a line says.

    Raises:
        BargainerError: The line is no move, or breaks the rules.
    """
    from tariff_bargainer.bargaining.counter_offer import (
        Advice,
        accept_offer,
        advise,
        receive_offer,
        send_counter_offer,
        walk_away,
    )

    if theirs and line != "leave":
        words = line.split()
        price = _likely_price(words[-1] if words else "", negotiation)
        return receive_offer(negotiation, price, final=words[:-1] == ["final"])
    advised = None if theirs else advise(negotiation)
    if line == "leave" or (not line and advised and advised.advice is Advice.WALK_AWAY):
        return walk_away(negotiation)
    if line == "accept" or (not line and advised and advised.advice is Advice.ACCEPT):
        return accept_offer(negotiation)
    if line or advised is None:
        price = _likely_price(line, negotiation)
        return send_counter_offer(negotiation, price, reason="set by the board")
    return send_counter_offer(negotiation, advised.price_per_kwh, reason=advised.reason)


def _likely_price(text: str, negotiation: "Negotiation") -> Decimal:
    """Read a price; one far above what the homes pay today is in cents, or a slip of the hand.

    Raises:
        NegotiationFault: It is no price per kWh.
    """
    limits = negotiation.range
    try:
        price = Decimal(text)
    except InvalidOperation:
        price = Decimal("NaN")
    if not price.is_finite() or price > LIKELY_TIMES_WALK_AWAY * abs(limits.walk_away):
        raise NegotiationFault(
            f"{text!r} is no price in {limits.currency} per kWh; write it in {limits.currency}, with "
            "a point, such as 0.2790"
        )
    return price


@app.command(
    "simulate",
    epilog="Example: tariff-bargainer negotiate simulate --state nordwind.json --seed 7 --json",
)
def simulate_command(
    state: StateOption,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated supplier.")],
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Rounds to play now.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Play rounds against a simulated supplier whose floor stays hidden; resumable."""
    from tariff_bargainer.bargaining.counter_offer import Status
    from tariff_bargainer.bargaining.simulated_supplier import SimulatedSupplier, play_round
    from tariff_bargainer.cli_bargaining_input import one_line_errors

    with one_line_errors(state):
        before = negotiation = _read(state)
        supplier = SimulatedSupplier.drawn(
            negotiation.supplier,
            seed=seed,
            around_per_kwh=negotiation.range.floor,
            rounds_max=negotiation.plan.rounds_max,
        )
        for _ in range(rounds):
            if negotiation.status != Status.OPEN:
                break
            negotiation = play_round(negotiation, supplier)
        _write(state, negotiation, before=before)
    _show(negotiation, as_json=as_json)


@app.command(
    "packages",
    epilog="Example: tariff-bargainer negotiate packages --state nordwind.json "
    "--issues issues.toml --json",
)
def packages_command(
    state: StateOption,
    issues: Annotated[Path, typer.Option(help="Issues beside the price, TOML or JSON.")],
    power: Annotated[
        str | None,
        typer.Option(help="The co-op's bargaining power, 0 to 1; as opened when left out."),
    ] = None,
    step: Annotated[str, typer.Option(help="Step between prices per kWh.")] = "0.0005",
    as_json: JsonOption = False,
) -> None:
    """List the packages that no other beats, with the Nash and Kalai-Smorodinsky solutions."""
    from dataclasses import asdict

    from tariff_bargainer.bargaining.issues_file import read_issues
    from tariff_bargainer.bargaining.packages import (
        explain_package,
        kalai_smorodinsky_package,
        nash_package,
        pareto_packages,
    )
    from tariff_bargainer.cli_bargaining_input import one_line_errors

    with one_line_errors(state):
        limits = _read(state).range
    with one_line_errors(issues):
        open_issues = read_issues(issues, currency=limits.currency)
    strength = limits.power if power is None else decimal(power, "--power")
    with one_line_errors(state):
        found = pareto_packages(limits, open_issues, step_per_kwh=decimal(step, "--step"))
        nash = nash_package(found, power=strength)
        fair = kalai_smorodinsky_package(found)
    if as_json:
        result = {
            "currency": limits.currency,
            "power": strength,
            "packages": [asdict(package) for package in found],
            "nash": asdict(nash),
            "kalai_smorodinsky": asdict(fair),
        }
        print(json.dumps(result, default=str))
        return
    print(f"{len(found)} packages that no other beats")
    print(f"Nash, power {strength:f}: {explain_package(nash, None, limits.currency)}")
    print(f"Kalai-Smorodinsky: {explain_package(fair, nash, limits.currency)}")


def _advice(negotiation: "Negotiation") -> "CounterOffer | None":
    from tariff_bargainer.bargaining.counter_offer import Party, Status, advise

    its_our_turn = negotiation.moves and negotiation.moves[-1].party == Party.SUPPLIER
    return advise(negotiation) if its_our_turn and negotiation.status == Status.OPEN else None


def _show(negotiation: "Negotiation", *, as_json: bool) -> None:
    from tariff_bargainer.bargaining.negotiation_file import negotiation_to_json

    advised = _advice(negotiation)
    if as_json:
        result = negotiation_to_json(negotiation)
        result["gap_per_kwh"] = _text(negotiation.gap_per_kwh)
        result["agreed_price_per_kwh"] = _text(negotiation.agreed_price_per_kwh)
        result["advice"] = advised and {
            "advice": advised.advice.value,
            "price_per_kwh": str(advised.price_per_kwh),
            "saving_minor": advised.saving_minor,
            "likely_deal_per_kwh": _text(advised.likely_deal_per_kwh),
            "reason": advised.reason,
        }
        print(json.dumps(result))
        return
    limits, agreed = negotiation.range, negotiation.agreed_price_per_kwh
    status = negotiation.status.replace("_", " ") + (f" at {agreed}" if agreed else "")
    print(
        f"{negotiation.supplier}: {status}; floor {limits.floor}, "
        f"target {limits.target}, walk-away {limits.walk_away} {limits.currency}/kWh"
    )
    for move in negotiation.moves:
        who = "they offer" if move.party == "supplier" else "we ask"
        told = ", their last word" * move.final + (f"  {move.reason}" if move.reason else "")
        print(f"round {move.round}: {who} {move.price_per_kwh}{told}")
    if advised:
        print(f"advice: {advised.advice.replace('_', ' ')} {advised.price_per_kwh}")
        print(f"why: {advised.reason}")


def _text(price: Decimal | None) -> str | None:
    return None if price is None else str(price)


def _read(state: Path) -> "Negotiation":
    from tariff_bargainer.bargaining.negotiation_file import parse_negotiation

    try:
        if state.stat().st_size > STATE_BYTES_MAX:
            refuse(f"{state}: is too large for a negotiation; give the file `open` wrote")
        text = state.read_text(encoding="utf-8")
    except OSError as unreadable:
        refuse(f"{state}: cannot be read ({unreadable.strerror}); start with `negotiate open`")
    except UnicodeDecodeError:
        refuse(f"{state}: is not UTF-8 text; give the file that `open` wrote")
    return parse_negotiation(text)


def _write(state: Path, negotiation: "Negotiation", *, before: "Negotiation | None") -> None:
    """Replace the file in one step, so that a power cut leaves the old state or the new one.

    Only the owner may read it, as it holds what the supplier must not see. A move that somebody
    else made since `before` was read is not overwritten.
    """
    from tariff_bargainer.bargaining.negotiation_file import negotiation_text

    if before is not None and _read(state) != before:
        refuse(f"{state}: somebody else made a move meanwhile; look with `negotiate show`")
    beside = state.with_name(f"{state.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(negotiation_text(negotiation).encode())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(state)
    except OSError as failed:
        refuse(f"{state}: cannot be written ({failed.strerror}); check the folder")
