import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from solar_fund.cli import app
from solar_fund.ledger.accounts import BANK, SUSPENSE
from solar_fund.ledger.period_root import PeriodRoot, RecordProof, proof_holds
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


def test_a_ledger_is_begun_settled_into_and_proved_by_commands_alone(tmp_path):
    database, savings = str(tmp_path / "new.db"), tmp_path / "savings.csv"
    run("init", database, "--currency", "EUR", "--currency", "GBP")
    assert "exists already" in run("init", database, "--currency", "EUR", exit_code=2)
    savings.write_text("member_id,saving\nben,-30.00\nanna,10.00\n")
    settle = ["waterfall", str(savings), "--into", database, "--json", "--period"]
    first = CliRunner().invoke(app, [*settle, "2026-09"])
    assert json.loads(first.stdout)["deficit_minor"] == 2_000
    savings.write_text("member_id,saving\nben,70.00\nanna,10.00\n")
    second = CliRunner().invoke(app, [*settle, "2026-10", "--authorised-by", "vote-9"])
    assert json.loads(second.stdout)["repaid_loss_minor"] == 2_000
    again = CliRunner().invoke(app, [*settle, "2026-10"])
    assert again.exit_code == 2
    assert "settled by record" in again.stderr
    balances = json.loads(run("balances", database, "--json"))["balances"]
    posted_minor = {line["account"]: line["posted_minor"] for line in balances}
    assert posted_minor["Assets:Equalisation"] == 0
    assert posted_minor["Assets:SupplierReceivable"] == 9_000
    report = json.loads(run("check", database, "--json"))
    assert report["ok"]

    proof = json.loads(run("prove", database, str(report["records"]), "--json"))
    assert '"authorised_by":"vote-9"' in proof["body"]
    given = RecordProof(
        seq=proof["seq"],
        body=proof["body"],
        period=PeriodRoot(first_seq=1, last_seq=report["records"], root=proof["period"]["root"]),
        path=tuple(proof["path"]),
    )
    assert proof_holds(given, proof["period"]["root"])
    forged = replace(given, body=given.body.replace("vote-9", "vote-8"))
    assert not proof_holds(forged, proof["period"]["root"])
    run("prove", database, "99999", exit_code=2)
