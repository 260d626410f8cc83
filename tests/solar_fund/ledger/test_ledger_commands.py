import json

import pytest
from typer.testing import CliRunner

from solar_fund.cli import app
from solar_fund.ledger.accounts import BANK, SUSPENSE
from tests.solar_fund.ledger.conftest import ANNA_CAPITAL, EVIDENCE, pay_in, transfer

DAYS = ("--start", "2026-10-01", "--end", "2026-11-01")

pytestmark = pytest.mark.xdist_group("ledger-postgres")


@pytest.fixture
def database(engine, funded_ledger):
    """The address of a ledger that the commands can open, of each kind."""
    funded_ledger.post_entry(pay_in(5, evidence=(EVIDENCE,), memo="late"))
    funded_ledger.post_entry(transfer(SUSPENSE, BANK, 3, memo="who is it"))
    if engine.dialect.name == "sqlite":
        return engine.url.database
    return engine.url.render_as_string(hide_password=False)


def run(*arguments, exit_code=0):
    answer = CliRunner().invoke(app, ["ledger", *arguments])
    assert answer.exit_code == exit_code, answer.output
    return answer.stdout if exit_code == 0 else answer.stderr


def test_check_and_balances_read_both_databases(database):
    assert json.loads(run("check", database, "--json"))["ok"]
    lines = json.loads(run("balances", database, "--json"))["balances"]
    assert sum(line["posted_minor"] for line in lines) == 0
    assert "403.08" not in run("balances", database)
    assert "400.08 EUR  Assets:Bank" in run("balances", database)


def test_a_statement_shows_lines_with_their_evidence(database):
    found = json.loads(run("statement", database, "--account", ANNA_CAPITAL, *DAYS, "--json"))
    assert (found["opening_minor"], found["closing_minor"]) == (0, -100_005)
    assert found["lines"][-1]["evidence"] == [EVIDENCE]
    member = json.loads(run("statement", database, "--member", "anna", *DAYS, "--json"))
    assert [one["account"] for one in member["statements"]] == [ANNA_CAPITAL]
    assert "closing" in run("statement", database, "--member", "anna", *DAYS)


def test_suspense_lists_what_nobody_placed(database):
    (item,) = json.loads(run("suspense", database, "--json"))["items"]
    assert (item["open_minor"], item["memo"]) == (-3, "who is it")


def test_export_writes_each_format(database):
    assert "option" in run("export", database)
    assert "commodity" in run("export", database, "--format", "hledger")
    assert run("export", database, "--format", "csv").startswith("seq,kind,")


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "{database}", "--expect-head", "nonsense"),
        ("check", "{database}", "--expect-head", "3:abc"),
        ("statement", "{database}", "--account", BANK, "--start", "soon", "--end", "2026-11-01"),
        ("statement", "{database}", *DAYS),
    ],
)
def test_a_wrong_option_gets_one_clear_line(database, arguments):
    filled = [argument.format(database=database) for argument in arguments]
    assert run(*filled, exit_code=2).count("\n") == 1
