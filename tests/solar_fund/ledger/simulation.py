"""The storm sent to a real ledger, in this process or by a child that is killed again and again.

Run it at length by hand, and repeat any failure by its seed:

    python -m tests.solar_fund.ledger.simulation --commands 1000000 --seed 7 --kills 30
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from solar_fund.errors import FundError
from solar_fund.ledger.database import open_engine
from solar_fund.ledger.journal import EntryDraft, Leg, time_of
from solar_fund.ledger.sql import SqlLedger
from solar_fund.money import Money
from tests.solar_fund.ledger.storm import ACCOUNTS, START, Model, Storm


def carry_out(ledger, clock, command):
    """Send one command to the real ledger; its outcome is `ok` or the refusal's name."""
    clock["now"] = time_of(command["now"])
    try:
        _send(ledger, command)
    except FundError as refusal:
        return type(refusal).__name__
    return "ok"


def _draft(command):
    effective = command.get("effective")
    return EntryDraft(
        idempotency_key=command["key"],
        legs=tuple(
            Leg(account=name, amount_minor=minor, currency=currency)
            for name, currency, minor in command["legs"]
        ),
        memo=command.get("memo", ""),
        effective_at=None if effective is None else time_of(effective),
    )


def _send(ledger, command):
    op, key = command["op"], command["key"]
    about = ledger.record_of_key(command["about"]) if "about" in command else None
    seq = about.seq if about is not None else 10**9
    if op == "post":
        ledger.post_entry(_draft(command))
    elif op == "batch":
        memo = command["memo"]
        ledger.post_entries([_draft({**entry, "memo": memo}) for entry in command["entries"]])
    elif op == "reserve":
        expires_s = command["expires_s"]
        expires_at = (
            None if expires_s is None else time_of(command["now"]) + timedelta(seconds=expires_s)
        )
        ledger.reserve(_draft(command), expires_at=expires_at)
    elif op == "settle":
        currency = about.legs[0].currency if about is not None else "EUR"
        part = None if command["part"] is None else Money(command["part"], currency)
        ledger.post_pending(
            seq,
            idempotency_key=key,
            part=part,
            keep_remainder=command["keep"],
            memo=command["memo"],
        )
    elif op == "void":
        ledger.void_pending(seq, idempotency_key=key, reason=command["memo"])
    elif op == "expire":
        ledger.expire_pendings()
    elif op == "reverse":
        if about is None:
            ledger.record(seq)
        ledger.reverse_entry(seq, idempotency_key=key, reason=command["memo"])
    elif op == "close":
        end = time_of(command["now"]) - timedelta(days=60)
        ledger.close_period(end, label=command["memo"], idempotency_key=key)


def compare(ledger, model, *, deep=False):
    """Demand that the ledger stands exactly where the model does.

    Raises:
        AssertionError: It does not.
    """
    assert ledger.chain_head().seq == model.records
    lines = {(line.account, line.currency): line.balance for line in ledger.trial_balance()}
    for book, name in (
        (model.posted, "posted_minor"),
        (model.held_in, "pending_debit_minor"),
        (model.held_out, "pending_credit_minor"),
    ):
        wanted = {key: minor for key, minor in book.items() if minor}
        found = {key: getattr(balance, name) for key, balance in lines.items()}
        assert {key: minor for key, minor in found.items() if minor} == wanted, name
    for currency in ("EUR", "GBP"):
        assert not sum(b.posted_minor for (_, code), b in lines.items() if code == currency)
    assert not model.overdrawn()
    if deep:
        report = ledger.verify_chain()
        assert report.is_whole, report
        for (account, currency), balance in lines.items():
            found = ledger.statement(
                account,
                currency,
                start=START - timedelta(days=400),
                end=datetime(2500, 1, 1, tzinfo=UTC),
            )
            assert found.closing_minor == balance.posted_minor


def prepared(url):
    """A ledger with the storm's accounts, and the clock it looks at."""
    clock = {"now": START}
    engine = open_engine(url)
    ledger = SqlLedger(engine, clock=lambda: clock["now"])
    ledger.create_tables()
    ledger.open_accounts(ACCOUNTS)
    return engine, clock, ledger


def run_in_process(engine, clock, seed, commands_min, on_group=None):
    """Send the storm over connections of this process; returns the model it agrees with."""
    storm, model, sent = Storm(seed), Model(), 0
    while sent < commands_min:
        group = storm.group()
        sent += sum(len(command.get("entries", "1")) for command in group)
        with engine.begin() as connection:
            inside = SqlLedger(connection, clock=lambda: clock["now"])
            for command in group:
                wanted = model.carry_out(command)
                found = carry_out(inside, clock, command)
                assert found == wanted, (command, found, wanted)
        if on_group is not None:
            on_group(model)
    return model


def say(text):
    """A line on standard output, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def child(path, seed, skip):
    """Send the storm from a group on, and say on standard output what was committed."""
    engine, clock, _ = prepared(f"sqlite:///{path}")
    storm = Storm(seed)
    for _ in range(skip):
        storm.group()
    index = skip
    while True:
        group = storm.group()
        with engine.begin() as connection:
            inside = SqlLedger(connection, clock=lambda: clock["now"])
            outcomes = [carry_out(inside, clock, command) for command in group]
        say(json.dumps([index, outcomes]))
        index += 1


def run_with_kills(path, seed, commands_min, kills):
    """Kill a child again and again; everything it acknowledged must be there, groups whole.

    Returns:
        Commands sent, and kills that hit.
    """
    chance = random.Random(seed + 1)
    storm, model = Storm(seed), Model()
    done = sent = hits = 0
    prepared(f"sqlite:///{path}")[0].dispose()
    while sent < commands_min:
        last_life = hits >= kills
        process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, "--child", str(path), str(seed), str(done)],
            stdout=subprocess.PIPE,
            text=True,
        )
        acks_until_kill = max(1, commands_min // (25 * (kills + 1)))
        budget = chance.randint(1, 2 * acks_until_kill)
        try:
            for line in process.stdout:
                index, outcomes = json.loads(line)
                assert index == done
                group = storm.group()
                for command, found in zip(group, outcomes, strict=True):
                    wanted = model.carry_out(command)
                    assert found == wanted, (command, found, wanted)
                sent += sum(len(command.get("entries", "1")) for command in group)
                done += 1
                budget -= 1
                if sent >= commands_min or (budget <= 0 and not last_life):
                    break
            time.sleep(chance.random() * 0.02)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        hits += 1
        engine, clock, ledger = prepared(f"sqlite:///{path}")
        # The child may have committed more than it could say: whole groups only.
        while ledger.chain_head().seq > model.records:
            for command in storm.group():
                model.carry_out(command)
            done += 1
        compare(ledger, model)
        # Retries of what was taken change nothing.
        for command in [
            c for c in storm.sent[-20:] if c["op"] == "post" and c["key"] in model.done
        ]:
            if model.done[command["key"]] == command["memo"]:
                assert carry_out(ledger, clock, command) == "ok"
        compare(ledger, model)
        engine.dispose()
    engine, _, ledger = prepared(f"sqlite:///{path}")
    compare(ledger, model, deep=True)
    engine.dispose()
    return sent, hits


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commands", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--child", nargs=3)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child[0], int(asked.child[1]), int(asked.child[2]))
        return
    say(f"seed {asked.seed}")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        sent, hits = run_with_kills(
            Path(folder) / "fund.db", asked.seed, asked.commands, asked.kills
        )
    wall_s = time.perf_counter() - started
    say(f"{sent} commands, {hits} kills, {wall_s:.1f} s: the ledger equals the model")


if __name__ == "__main__":
    main()
