"""The ledger under crashes, retries and reordering, step by step against a plain model."""

import os
import random

import pytest

from solar_fund.ledger.sql import SqlLedger
from tests.solar_fund.ledger.simulation import compare, run_in_process, run_with_kills, say
from tests.solar_fund.ledger.storm import ACCOUNTS, START

SEED = int(os.environ.get("COMMONWATT_SEED", "0")) or random.SystemRandom().randrange(10**6)


@pytest.mark.xdist_group("ledger-postgres")
def test_a_storm_of_commands_leaves_the_ledger_where_the_model_is(engine):
    say(f"repeat with COMMONWATT_SEED={SEED}")
    clock = {"now": START}
    ledger = SqlLedger(engine, clock=lambda: clock["now"])
    ledger.create_tables()
    ledger.open_accounts(ACCOUNTS)
    model = run_in_process(
        engine, clock, SEED, 1_500, on_group=lambda model: compare(ledger, model)
    )
    compare(ledger, model, deep=True)


@pytest.mark.slow
def test_killed_writers_lose_nothing_they_acknowledged(tmp_path):
    say(f"repeat with COMMONWATT_SEED={SEED}")
    sent, kills = run_with_kills(tmp_path / "fund.db", SEED, 4_000, 6)
    assert sent >= 4_000
    assert kills >= 3
