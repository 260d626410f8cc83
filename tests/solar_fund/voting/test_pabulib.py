from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solar_fund.errors import ElectionFileInvalid
from solar_fund.voting.ballots import Ballot, BallotProject, Election
from solar_fund.voting.pabulib import parse_pb, read_pb, write_pb

SMALL = """META
key;value
description;Roofs of Harbour Lane
num_projects;2
num_votes;3
budget;1000
vote_type;approval
PROJECTS
project_id;cost;name
a;400;School roof
b;700,50;"Barn; east and west"
VOTES
voter_id;vote
1;a
2;a,b
3;
"""


def test_a_small_file_reads_with_costs_ballots_and_names() -> None:
    election = parse_pb(SMALL)
    assert election.budget == 1000
    assert [project.cost for project in election.projects] == [400, Fraction("700.5")]
    assert election.projects[1].name == "Barn; east and west"
    assert [ballot.project_ids for ballot in election.ballots] == [("a",), ("a", "b"), ()]


def test_byte_order_mark_blank_lines_and_windows_line_ends_do_not_matter(tmp_path) -> None:
    path = tmp_path / "vote.pb"
    path.write_bytes(("\ufeff" + SMALL.replace("\n", "\r\n\r\n")).encode())
    assert read_pb(path).ballots == parse_pb(SMALL).ballots


def points_file(vote_type: str, votes: str, header: str = "voter_id;vote;points") -> str:
    return (
        f"META\nkey;value\nbudget;10\nvote_type;{vote_type}\nmax_length;3\n"
        f"PROJECTS\nproject_id;cost\nx;5\ny;6\nVOTES\n{header}\n{votes}\n"
    )


@pytest.mark.parametrize("vote_type", ["cumulative", "scoring"])
def test_points_stay_with_their_projects(vote_type: str) -> None:
    election = parse_pb(points_file(vote_type, "1;y,x;7,2.5"))
    assert election.ballots[0] == Ballot("1", ("y", "x"), (7, Fraction(5, 2)))


def test_ranks_keep_their_order() -> None:
    election = parse_pb(points_file("ordinal", "1;y,x", "voter_id;vote"))
    assert election.ballots[0].project_ids == ("y", "x")
    assert election.ranks_max == 3


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("META\n", "PROJEKT\n", 1, "META"),
        ("budget;1000", "budget;lots", 6, "expected a number"),
        ("budget;1000", "budget;0", 6, "above zero"),
        ("budget;1000", "budget;1e999", 6, "too large"),
        ("budget;1000", "budget;" + "9" * 5000, 6, "expected a number"),
        ("a;400;", "a;1e-30;", 10, "too fine"),
        ("budget;1000\n", "", 1, "no budget"),
        ("vote_type;approval", "vote_type;sortition", 7, "sortition"),
        ("a;400;", "a;free;", 10, "cost of project a"),
        ("a;400;", "a;-4;", 10, "below zero"),
        ("a;400;School roof", "b;400;School roof", 11, "listed twice"),
        ("project_id;cost;name", "project_id;price;name", 9, "'cost'"),
        ("2;a,b", "2;a,c", 15, "'c'"),
        ("2;a,b", "2;a,a", 15, "twice"),
        ("2;a,b", "1;a,b", 15, "votes twice"),
        ("2;a,b", "2;a;b", 15, "3 fields under the 2 columns"),
        ("num_votes;3", "num_votes;4", 5, "cut off"),
        ("VOTES\n", "META\n", 12, "second META"),
    ],
)
def test_a_fault_is_named_with_its_line(old: str, new: str, line: int, words: str) -> None:
    with pytest.raises(ElectionFileInvalid, match=words) as caught:
        parse_pb(SMALL.replace(old, new), "vote.pb")
    assert caught.value.line == line
    assert str(caught.value).startswith(f"vote.pb: line {line}: ")


def test_points_that_do_not_match_the_projects_are_refused() -> None:
    with pytest.raises(ElectionFileInvalid, match="1 points for 2 projects"):
        parse_pb(points_file("scoring", "1;y,x;7"))


def test_a_semicolon_too_many_is_refused_only_where_it_moves_what_counts() -> None:
    behind = SMALL.replace("School roof", "School roof; south")
    assert parse_pb(behind).projects[0].cost == 400
    before = behind.replace("project_id;cost;name", "project_id;name;cost").replace(
        "a;400;School roof; south", "a;School roof; south;400"
    )
    with pytest.raises(ElectionFileInvalid, match="4 fields under the 3 columns") as caught:
        parse_pb(before)
    assert caught.value.line == 10


def test_empty_fields_behind_the_last_column_do_not_matter() -> None:
    assert parse_pb(SMALL.replace("2;a,b", "2;a,b;;")).ballots == parse_pb(SMALL).ballots


def test_a_file_in_an_older_encoding_counts_the_same(tmp_path) -> None:
    path = tmp_path / "latin.pb"
    path.write_bytes(SMALL.replace("School", "École").encode("latin-1"))
    assert read_pb(path).projects[0].name == "École roof"


def test_a_file_that_stops_before_the_votes_is_refused() -> None:
    with pytest.raises(ElectionFileInvalid, match="without a VOTES section"):
        parse_pb(SMALL.partition("VOTES")[0])


def test_a_missing_or_binary_file_is_refused_in_one_line(tmp_path) -> None:
    binary = tmp_path / "noise.pb"
    binary.write_bytes(bytes(range(256)))
    for path in (tmp_path / "nowhere.pb", binary, tmp_path):
        with pytest.raises(ElectionFileInvalid) as caught:
            read_pb(path)
        assert "\n" not in str(caught.value)


names = st.text(
    st.characters(codec="utf-8", exclude_characters=",;\x00", exclude_categories=["C", "Z"]),
    min_size=1,
    max_size=8,
)


@given(
    st.lists(names, min_size=1, max_size=5, unique=True),
    st.sampled_from(["approval", "cumulative", "scoring", "ordinal"]),
    st.data(),
)
@settings(deadline=None)
def test_what_is_written_reads_back_the_same(ids, vote_type, data) -> None:
    projects = tuple(
        BallotProject(
            project_id=project_id,
            cost=data.draw(st.decimals(0, 10**6, places=2).map(Fraction)),
            name=data.draw(
                st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12)
            ).strip(),
        )
        for project_id in ids
    )
    ballots = []
    for voter in range(data.draw(st.integers(0, 4))):
        chosen = tuple(data.draw(st.lists(st.sampled_from(ids), unique=True)))
        points = (
            tuple(data.draw(st.integers(0, 9)) for _ in chosen)
            if vote_type in {"cumulative", "scoring"}
            else ()
        )
        ballots.append(Ballot(f"v{voter}", chosen, points))
    election = Election(
        projects=projects, ballots=tuple(ballots), budget=Fraction(7), vote_type=vote_type
    )
    again = parse_pb(write_pb(election))
    assert again.projects == election.projects
    assert again.ballots == election.ballots
    assert again.budget == election.budget
