from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solar_fund.errors import ElectionFileInvalid, ElectionInvalid, TieUnresolved
from solar_fund.voting.blt import RankedElection, parse_blt, ranked_election, read_blt, write_blt
from solar_fund.voting.meek import meek_stv
from solar_fund.voting.stv import UNITS_PER_VOTE, recount_without, scottish_stv

BOARD = """4 2
# candidates and seats
5 1 2 0
3 1 3 0
2 2 0
4 3 2 0
3 4 3 0
0
"Ana"
"Ben"
"Cleo"
Dag
"Board of Harbour Lane"
"""


def test_a_file_reads_with_quoted_and_bare_names() -> None:
    election = parse_blt(BOARD)
    assert election.candidates == ("Ana", "Ben", "Cleo", "Dag")
    assert (election.seats, election.valid_papers) == (2, 17)
    assert election.title == "Board of Harbour Lane"


def test_a_count_worked_by_hand() -> None:
    # 17 papers, 2 seats: quota 17 // 3 + 1 = 6. Ana has 8, surplus 2, each paper passes on
    # 2 * 1 / 8 = 0.25: Ben 2 + 5 * 0.25 = 3.25, Cleo 4 + 3 * 0.25 = 4.75, Dag 3. Dag goes,
    # his three papers name Cleo: 7.75.
    result = scottish_stv(parse_blt(BOARD))
    assert result.quota == 6 * UNITS_PER_VOTE
    assert result.elected == ("Ana", "Cleo")
    assert [stage.action for stage in result.rounds] == [
        "first preferences",
        "transfer of the surplus of Ana",
        "exclusion of Dag",
    ]
    assert result.rounds[1].votes == {"Ana": 600000, "Ben": 325000, "Cleo": 475000, "Dag": 300000}
    assert result.rounds[2].votes["Cleo"] == 775000


def test_values_are_cut_at_five_decimals_not_rounded() -> None:
    # 7 papers, 2 seats: quota 3. Ana has 7: surplus 4 over 7 papers is 0.57142857..., so 0.57142.
    election = ranked_election(["Ana", "Ben", "Cleo"], 2, [["Ana", "Ben"]] * 7)
    stage = scottish_stv(election).rounds[1]
    assert stage.votes["Ben"] == 7 * 57142
    assert stage.exhausted == 400000 - 7 * 57142


def test_the_largest_surplus_goes_first() -> None:
    rankings = [["a", "c"]] * 9 + [["b", "d"]] * 12 + [["c"]] + [["d"]] + [["e"]]
    result = scottish_stv(ranked_election(list("abcde"), 3, rankings))
    assert result.rounds[1].action == "transfer of the surplus of b"
    assert result.rounds[2].action == "transfer of the surplus of a"


def test_a_tie_for_exclusion_goes_by_the_latest_stage_that_differs() -> None:
    rankings = (
        [["a"]] * 10 + [["b"]] * 9 + [["c"]] * 4 + [["d"]] * 3 + [["e", "d"]] * 1 + [["f"]] * 5
    )
    # After e goes, c and d both hold 4; at the stage before, d held less, so d is excluded.
    result = scottish_stv(ranked_election(list("abcdef"), 2, rankings))
    assert result.rounds[1].excluded == ("e",)
    assert result.rounds[2].excluded == ("d",)
    assert result.lots_used == ()


def test_a_tie_at_all_stages_needs_a_lot_and_the_first_drawn_stays() -> None:
    election = ranked_election(list("abc"), 1, [["a"]] * 3 + [["b"]] * 2 + [["c"]] * 2)
    with pytest.raises(TieUnresolved) as caught:
        scottish_stv(election)
    assert caught.value.names == ("b", "c")
    result = scottish_stv(election, lot=["c", "b"])
    assert result.rounds[1].excluded == ("b",)
    assert result.lots_used == (("b", "c"),)


def test_as_many_candidates_as_seats_are_all_elected() -> None:
    assert set(scottish_stv(ranked_election(["a", "b"], 3, [["a"]])).elected) == {"a", "b"}


def test_a_withdrawn_candidate_passes_votes_on() -> None:
    election = parse_blt(BOARD.replace("# candidates and seats", "-1"))
    result = scottish_stv(election)
    assert "Ana" not in result.rounds[0].votes
    assert result.rounds[0].votes["Ben"] == 7 * UNITS_PER_VOTE


def test_a_vacancy_is_filled_and_nobody_else_loses_the_seat() -> None:
    election = parse_blt(BOARD)
    new, result = recount_without(election, ["Ana", "Cleo"], "Ana")
    assert new == "Ben"
    assert "Cleo" in result.elected
    with pytest.raises(ElectionInvalid, match="does not sit"):
        recount_without(election, ["Ana", "Cleo"], "Dag")


def test_a_sitting_member_with_few_votes_is_protected_in_a_recount() -> None:
    rankings = [["a", "z"]] * 6 + [["b"]] * 5 + [["c"]] * 4 + [["z"]]
    election = ranked_election(["a", "b", "c", "z"], 2, rankings)
    new, result = recount_without(election, ["a", "z"], "a")
    assert "z" in result.elected
    assert new == "b"


def test_meek_gives_what_can_be_worked_by_hand() -> None:
    # Ana keeps what makes her equal to the quota. 9 papers, 2 seats, nothing exhausted: quota 3.
    rankings = [["Ana", "Ben"]] * 6 + [["Cleo", "Ben"]] * 2 + [["Ben", "Cleo"]]
    result = meek_stv(ranked_election(["Ana", "Ben", "Cleo"], 2, rankings))
    assert result.elected == ("Ana", "Ben")
    assert result.quota == pytest.approx(3 * result.units_per_vote, abs=2)


def test_meek_sees_the_tie_that_rounding_would_hide() -> None:
    election = ranked_election(
        ["Castor", "Pollux", "Helen"], 2, [["Castor", "Pollux"]] * 4 + [["Helen"]] * 2
    )
    with pytest.raises(TieUnresolved) as caught:
        meek_stv(election)
    assert set(caught.value.names) == {"Pollux", "Helen"}
    assert meek_stv(election, lot=["Pollux", "Helen"]).elected == ("Castor", "Pollux")


def test_meek_lets_elected_candidates_receive_votes_again() -> None:
    # The Scottish rules pass over Ana once she is elected; Meek's let papers reach her too, so
    # the quota falls with papers that end at her.
    rankings = [["Ana"]] * 8 + [["Ben", "Ana"]] * 3 + [["Cleo"]] * 4 + [["Dag", "Ana"]] * 2
    result = meek_stv(ranked_election(["Ana", "Ben", "Cleo", "Dag"], 2, rankings))
    assert result.elected == ("Ana", "Cleo")
    assert result.quota < result.rounds[0].votes["Ana"]


def test_a_paper_counts_up_to_a_place_that_several_share() -> None:
    text = BOARD.replace("5 1 2 0", "5 1 2=3 4 0").replace("2 2 0", "2 2=4 1 0")
    election = parse_blt(text)
    assert election.papers[0] == ((0,), 5)
    assert election.papers_cut == 7
    # The two papers that begin with a shared place name nobody and are not in the quota.
    assert election.valid_papers == 15


def test_options_and_comments_between_slashes_are_read() -> None:
    text = "/* Harbour\n   Lane */ 3 2\n[withdrawn 1]\n[nick a b c]\n[tie 3 2 1 ]\n"
    election = parse_blt(text + '4 a b 0\n2 c 0\n0\n"Ana"\n"Ben"\n"Cleo"\n')
    assert election.papers == (((0, 1), 4), ((2,), 2))
    assert election.withdrawn == {0}
    assert election.lot == ("Ana", "Ben", "Cleo")


def test_the_order_of_ties_in_a_file_says_who_is_excluded_first() -> None:
    text = "3 2\n{}4 1 2 0\n2 3 0\n0\n" + '"Castor"\n"Pollux"\n"Helen"\n'
    first_out = {"[tie 3 2 1]\n": ("Castor", "Pollux"), "[tie 2 3 1]\n": ("Castor", "Helen")}
    for option, winners in first_out.items():
        election = parse_blt(text.format(option))
        assert meek_stv(election, election.lot).elected == winners


@pytest.mark.parametrize("count", [scottish_stv, meek_stv])
def test_candidates_without_a_paper_go_without_a_lot_if_none_of_them_can_win(count) -> None:
    rankings = [["a"]] * 5 + [["b"]] * 4 + [["c"]] * 3
    result = count(ranked_election(list("abcxy"), 2, rankings))
    assert result.elected == ("a", "b")
    assert result.lots_used == ()
    with pytest.raises(TieUnresolved, match="x, y"):
        count(ranked_election(list("axy"), 2, [["a"]] * 5))


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("4 2\n", "four 2\n", 1, "candidates and seats"),
        ("5 1 2 0", "5 1 9 0", 3, "there are 4"),
        ("5 1 2 0", "5 1 1 0", 3, "twice"),
        ("5 1 2 0", "5 1 2", 3, "end with 0"),
        ("5 1 2 0", "5 1=9 0", 3, "there are 4"),
        ("5 1 2 0", "5 1=2 9 0", 3, "there are 4"),
        ("5 1 2 0", "5 1=2", 3, "end with 0"),
        ("5 1 2 0", "0 1 2 0", 3, "cast by 0"),
        ("5 1 2 0", "1.5 1 2 0", 3, "write whole papers"),
        ("5 1 2 0", "1/3 1 2 0", 3, "write whole papers"),
        ("5 1 2 0", "[nick a b c]\n5 a b 0", 3, "4 different names"),
        ("5 1 2 0", "[nick a b c d]\na b 0", 4, "number of papers, not a"),
        ("5 1 2 0", "[tie 1 2 2]\n5 1 2 0", 3, "twice"),
        ("5 1 2 0", "[withdrawn 7]\n5 1 2 0", 3, "there are 4"),
        ("5 1 2 0", "[precision 9]\n5 1 2 0", 3, "not known"),
        ('"Ben"', '"Ben', 10, "not closed"),
        ('"Ben"', '"Ana"', 0, "same name"),
    ],
)
def test_a_fault_is_named_with_its_line(old: str, new: str, line: int, words: str) -> None:
    with pytest.raises(ElectionFileInvalid, match=words) as caught:
        parse_blt(BOARD.replace(old, new), "board.blt")
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ('"A, the ""first"""\n"B \\"Bee\\""  # left early\n"T"', ('A, the "first"', 'B "Bee"')),
        ('"Robert "Bob" Smith"\n"B"\n"T"', ('Robert "Bob" Smith', "B")),
        ('"A" "B" "T" "where from"', ("A", "B")),
        ("Ann Lee\nBob\nT", ("Ann Lee", "Bob")),
    ],
)
def test_names_are_read_in_quotes_of_any_kind(written: str, names: tuple[str, ...]) -> None:
    election = parse_blt(f"# made by hand\n2 1 # two stand\n(id7) 3 1 - 2 0 # first\n0\n{written}")
    assert election.candidates == names
    assert election.title == "T"
    assert election.papers == (((0, 1), 3),)


def test_names_with_quotes_and_backslashes_survive_writing() -> None:
    names = ['Robert "Bob" Smith', "back\\slash", '"']
    election = ranked_election(names, 1, [names], title='The "title"')
    assert parse_blt(write_blt(election)) == election


def test_a_file_that_stops_before_the_names_is_refused(tmp_path) -> None:
    path = tmp_path / "cut.blt"
    path.write_text(BOARD.partition('"Cleo"')[0], encoding="utf-8")
    with pytest.raises(ElectionFileInvalid, match="name of candidate 3"):
        read_blt(path)


ranked = st.integers(2, 6).flatmap(
    lambda n: st.builds(
        lambda seats, rankings: ranked_election([f"c{i}" for i in range(n)], seats, rankings),
        st.integers(1, 4),
        st.lists(
            st.lists(st.sampled_from([f"c{i}" for i in range(n)]), unique=True, min_size=1),
            min_size=1,
            max_size=30,
        ),
    )
)


@given(ranked, st.sampled_from([scottish_stv, meek_stv]))
@settings(max_examples=200, deadline=None)
def test_no_vote_is_made_or_lost(election: RankedElection, count) -> None:
    result = count(election, lot=election.candidates)
    for stage in result.rounds:
        assert sum(stage.votes.values()) + stage.exhausted == (
            result.valid_papers * result.units_per_vote
        )
        assert min(stage.votes.values()) >= 0
    assert len(result.elected) == min(election.seats, len(election.candidates))
    assert len(set(result.elected)) == len(result.elected)


@given(ranked)
@settings(max_examples=60, deadline=None)
def test_what_is_written_reads_back_the_same(election: RankedElection) -> None:
    titled = replace(election, title="A title", withdrawn=frozenset({0}))
    assert parse_blt(write_blt(titled)) == titled


@given(ranked, st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_a_majority_that_agrees_elects_its_first_choice(
    election: RankedElection, favourite: int
) -> None:
    name = election.candidates[favourite % len(election.candidates)]
    number = election.candidates.index(name)
    solid = ((number,), sum(count for _, count in election.papers) + 1)
    with_majority = replace(election, papers=(*election.papers, solid))
    for count in (scottish_stv, meek_stv):
        assert name in count(with_majority, lot=election.candidates).elected
