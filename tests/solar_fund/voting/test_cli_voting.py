import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from solar_fund.cli import app
from solar_fund.voting.published_vote import published_vote
from solar_fund.voting.receipts import canonical_ballot, receipt_of

APPROVALS = """META
key;value
num_projects;3
num_votes;4
budget;100
vote_type;approval
PROJECTS
project_id;cost
a;60
b;30
c;30
VOTES
voter_id;vote
1;a
2;a,b
3;b
4;c
"""
BOARD = '3 1\n3 1 0\n2 2 0\n2 3 0\n0\n"Ana"\n"Ben"\n"Cleo"\n"Board"\n'


@pytest.fixture
def vote_file(tmp_path) -> Path:
    path = tmp_path / "vote.pb"
    path.write_text(APPROVALS, encoding="utf-8")
    return path


@pytest.fixture
def board_file(tmp_path) -> Path:
    path = tmp_path / "board.blt"
    path.write_text(BOARD, encoding="utf-8")
    return path


def run(*arguments: str):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def answer(*arguments: str):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("rule", ["equal-shares", "greedy", "phragmen"])
def test_tally_prints_one_json_object_with_the_promised_keys(vote_file, rule) -> None:
    report = answer("tally", vote_file, "--rule", rule, "--lot", "a,b,c")
    for key in ("selected", "cost", "budget", "per_voter_budget", "steps"):
        assert key in report
    assert report["budget"] == 100
    assert isinstance(report["per_voter_budget"], str)
    assert report["cost"] == sum({"a": 60, "b": 30, "c": 30}[name] for name in report["selected"])


def test_options_change_the_count(vote_file) -> None:
    plain = answer("tally", vote_file, "--completion", "none", "--lot", "a,b,c")
    filled = answer(
        "tally", vote_file, "--completion", "none", "--then", "utilitarian", "--lot", "a,b,c"
    )
    assert plain["selected"] == ["b"]
    assert filled["selected"] == ["b", "a"]
    assert filled["steps"][1]["kind"] == "most votes"


def test_must_fund_minimum_support_and_carry_over_are_heard(vote_file) -> None:
    lot = ("--lot", "a,b,c")
    first = answer("tally", vote_file, "--must-fund", "c", "--completion", "none", *lot)
    assert first["selected"][0] == "c"
    backed = answer("tally", vote_file, "--min-support", "2", *lot)
    assert {entry["project"]: entry["reason"] for entry in backed["not_selected"]}["c"] == (
        "below minimum support"
    )
    assert answer("tally", vote_file, "--carry-over", "20.50", *lot)["budget"] == 120.5
    assert run("tally", vote_file, "--carry-over", "-1").exit_code == 2
    assert "z" in run("tally", vote_file, "--must-fund", "z").stderr


@pytest.mark.parametrize("rule", ["greedy", "phragmen"])
@pytest.mark.parametrize(
    "option",
    [("--must-fund", "a"), ("--min-support", "2"), ("--carry-over", "5"), ("--increment", "2")],
)
def test_an_option_that_a_rule_does_not_hear_is_refused(vote_file, rule, option) -> None:
    found = run("tally", vote_file, "--rule", rule, *option)
    assert found.exit_code == 2
    assert f"{option[0]} is for equal shares only" in found.stderr


def test_must_fund_names_each_project_once(vote_file) -> None:
    found = run("tally", vote_file, "--must-fund", "b,b")
    assert (found.exit_code, "b is named twice" in found.stderr) == (2, True)


def test_jumping_and_stepping_print_the_same(vote_file) -> None:
    stepped = answer("tally", vote_file, "--completion", "add1", "--lot", "a,b,c")
    jumped = answer("tally", vote_file, "--completion", "add-opt", "--lot", "a,b,c")
    assert {**stepped, "rule": ""} == {**jumped, "rule": ""}


def test_an_open_tie_exits_with_2_and_names_the_tied(board_file) -> None:
    result = run("elect", board_file, "--json")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "tie between Ben, Cleo" in result.stderr


def test_a_lot_may_come_from_a_file_or_the_command_line(board_file, tmp_path) -> None:
    lot = tmp_path / "lot.txt"
    lot.write_text("Cleo\nBen\n", encoding="utf-8")
    for written in (str(lot), "Cleo,Ben"):
        report = answer("elect", board_file, "--lot", written)
        assert report["elected"] == ["Ana"]
        assert report["quota"] == 4
        assert report["rounds"][0]["votes"] == {"Ana": 3, "Ben": 2, "Cleo": 2}
        assert report["rounds"][1]["action"] == "exclusion of Ben"


def test_both_board_rules_and_a_vacancy_can_be_asked_for(board_file) -> None:
    lot = ("--lot", "Cleo,Ben")
    assert answer("elect", board_file, "--rule", "meek", *lot)["elected"] == ["Ana"]
    report = answer("elect", board_file, "--vacancy", "Ana", *lot)
    assert report["filled_by"] == "Cleo"
    assert run("elect", board_file, "--rule", "meek", "--vacancy", "Ana", *lot).exit_code == 2


@pytest.mark.parametrize("command", ["tally", "elect", "recount"])
def test_bad_files_give_one_clear_line_and_exit_code_2(command, tmp_path) -> None:
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("what is this\n", encoding="utf-8")
    for path in (nonsense, tmp_path / "nowhere", tmp_path):
        result = run(command, path, "--json")
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.startswith("error: ")
        assert str(path) in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_bad_increment_or_lot_is_refused(vote_file) -> None:
    assert "--increment" in run("tally", vote_file, "--increment", "x").stderr
    assert run("tally", vote_file, "--increment", "0").exit_code == 2
    assert "z" in run("tally", vote_file, "--lot", "a,z").stderr
    assert run("tally", vote_file, "--lot", "a,a").exit_code == 2


@pytest.mark.parametrize(
    "option", [("--carry-over", "1e999"), ("--increment", "1e999"), ("--increment", "1e-9")]
)
def test_an_amount_that_no_city_writes_is_one_clear_line(vote_file, option) -> None:
    result = run("tally", vote_file, *option)
    assert result.exit_code == 2
    assert option[0] in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_lot_file_that_is_no_text_is_one_clear_line(vote_file, tmp_path) -> None:
    lot = tmp_path / "lot.bin"
    lot.write_bytes(bytes(range(256)))
    result = run("tally", vote_file, "--lot", lot)
    assert result.exit_code == 2
    assert str(lot) in result.stderr


def test_recount_agrees_proves_a_receipt_and_finds_a_change(tmp_path) -> None:
    ballot, nonce = canonical_ballot({"choice": "yes"}), bytes(16)
    content = published_vote(
        election_id="e1",
        kind="policy",
        question={"text": "Shall we?"},
        rule={"quorum": "0", "threshold": "1/2", "above": True},
        ballots=[(ballot, nonce)],
        roll_size=1,
    )
    path = tmp_path / "vote.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    receipt = receipt_of("e1", ballot, nonce).hex()
    report = answer("recount", path, "--receipt", receipt)
    assert report["matches"]
    assert report["inclusion"]["holds"]
    content["result"]["passed"] = False
    path.write_text(json.dumps(content), encoding="utf-8")
    changed = run("recount", path, "--json")
    assert changed.exit_code == 1
    assert json.loads(changed.stdout)["faults"] == ["passed: published False, counted True"]
