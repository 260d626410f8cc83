import copy
import hashlib
import json
import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solar_fund.errors import BallotInvalid, ElectionInvalid, InputFileInvalid, ReceiptInvalid
from solar_fund.voting.merkle import inclusion_path, is_included, merkle_root
from solar_fund.voting.published_vote import (
    prove_receipt,
    published_vote,
    read_published_vote,
    recount,
)
from solar_fund.voting.receipts import canonical_ballot, publish, receipt_of
from solar_fund.voting.tie_break import draw_lot

# Leaves and roots of the test vectors that Certificate Transparency logs publish.
CT_LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def test_roots_are_those_of_certificate_transparency() -> None:
    assert merkle_root([]) == hashlib.sha256(b"").digest()
    for size, root in CT_ROOTS.items():
        assert merkle_root(CT_LEAVES[:size]).hex() == root


@given(st.integers(1, 70), st.data())
@settings(deadline=None)
def test_every_leaf_has_a_proof_and_no_other_leaf_fits_it(size, data) -> None:
    leaves = [bytes([number]) for number in range(size)]
    root = merkle_root(leaves)
    place = data.draw(st.integers(0, size - 1))
    path = inclusion_path(leaves, place)
    assert is_included(leaves[place], place, size, path, root)
    assert not is_included(b"forged", place, size, path, root)
    assert not is_included(leaves[place], size, size, path, root)
    if path:
        assert not is_included(leaves[place], place, size, path[:-1], root)
        assert not is_included(leaves[place], place, size, (*path, root), root)


def test_a_receipt_is_the_hash_of_election_ballot_and_nonce() -> None:
    ballot = canonical_ballot({"rank": ["b", "a"], "note": "ä"})
    assert ballot == '{"note":"ä","rank":["b","a"]}'.encode()
    nonce = bytes(range(16))
    expected = hashlib.sha256(b"spring-26|" + ballot + b"|" + nonce.hex().encode()).digest()
    assert receipt_of("spring-26", ballot, nonce) == expected


def test_ballots_that_two_programs_could_write_differently_are_refused() -> None:
    with pytest.raises(BallotInvalid, match="float"):
        canonical_ballot({"points": {"a": 0.1}})
    with pytest.raises(BallotInvalid, match="plain JSON"):
        canonical_ballot({"a": b"x"})
    with pytest.raises(BallotInvalid, match="election id"):
        receipt_of("a|b", b"{}", bytes(16))
    with pytest.raises(BallotInvalid, match="nonce"):
        receipt_of("a", b"{}", b"short")


def test_the_published_list_does_not_keep_the_order_of_casting() -> None:
    cast = [(canonical_ballot({"approve": ["a"]}), bytes([n]) * 16) for n in range(9)]
    listed = publish("e1", cast)
    assert listed.root == publish("e1", cast[::-1]).root
    receipts = [ballot.receipt for ballot in listed.ballots]
    assert receipts == sorted(receipts)
    for receipt in receipts:
        assert listed.prove(receipt).holds()


def test_a_nonce_used_twice_for_the_same_ballot_is_refused() -> None:
    with pytest.raises(BallotInvalid, match="share a receipt"):
        publish("e1", [(b"{}", bytes(16)), (b"{}", bytes(16))])


def vote(kind: str, question, rule, ballots, **more):
    cast = [(canonical_ballot(ballot), secrets.token_bytes(16)) for ballot in ballots]
    return published_vote(
        election_id="e1", kind=kind, question=question, rule=rule, ballots=cast, roll_size=9, **more
    )


def project_vote():
    names = ["a", "b"]
    return vote(
        "projects",
        {
            "projects": [{"id": "a", "cost": "10"}, {"id": "b", "cost": "10.50"}],
            "budget": "15",
            "currency": "EUR",
        },
        {"name": "equal-shares", "completion": "add1", "increment": "0.01", "must_fund": []},
        [{"approve": ["a"]}, {"approve": ["a", "b"]}, {"approve": []}],
        lot=draw_lot(names, "seed"),
        lot_seed="seed",
    )


VOTES = {
    "projects": project_vote,
    "ranked projects": lambda: vote(
        "projects",
        {"projects": [{"id": "a", "cost": "10"}], "budget": "15", "vote_type": "ordinal"},
        {"name": "greedy"},
        [{"rank": ["a"]}],
    ),
    "points": lambda: vote(
        "projects",
        {"projects": [{"id": "a", "cost": "10"}], "budget": "15", "vote_type": "scoring"},
        {"name": "phragmen"},
        [{"points": {"a": "2.5"}}],
    ),
    "board": lambda: vote(
        "board",
        {"candidates": ["x", "y", "z"], "seats": 2},
        {"name": "scottish"},
        [{"rank": ["x", "y"]}] * 3 + [{"rank": ["z"]}],
    ),
    "policy": lambda: vote(
        "policy",
        {"text": "Shall we?"},
        {"quorum": "1/3", "threshold": "1/2", "above": True},
        [{"choice": "yes"}] * 3 + [{"choice": "no"}],
    ),
    "slate": lambda: vote(
        "slate", {"names": ["p", "q"]}, {"credits": 25}, [{"votes": {"p": 3, "q": -4}}]
    ),
}


@pytest.mark.parametrize("name", VOTES)
def test_a_published_vote_counts_the_same_on_another_machine(name, tmp_path) -> None:
    path = tmp_path / "vote.json"
    path.write_text(json.dumps(VOTES[name]()), encoding="utf-8")
    found = recount(read_published_vote(path))
    assert found.matches, found.faults


def test_every_change_to_a_published_vote_is_found() -> None:
    content = project_vote()
    changes = {
        "result": lambda c: c["result"].update(selected=["b"]),
        "ballot": lambda c: c["ballots"][0]["ballot"].update(approve=["b"]),
        "missing": lambda c: c["ballots"].pop(),
        "root": lambda c: c.update(merkle_root="00" * 32),
        "roll": lambda c: c.update(roll_size=2),
        "lot": lambda c: c.update(lot=c["lot"][::-1]),
    }
    for name, change in changes.items():
        changed = copy.deepcopy(content)
        change(changed)
        assert not recount(changed).matches, name


def test_a_member_finds_the_own_receipt_and_nobody_elses() -> None:
    content = project_vote()
    entry = content["ballots"][1]
    receipt = receipt_of("e1", canonical_ballot(entry["ballot"]), bytes.fromhex(entry["nonce"]))
    assert prove_receipt(content, receipt.hex()).holds()
    with pytest.raises(ReceiptInvalid, match="later ballot"):
        prove_receipt(content, "00" * 32)
    with pytest.raises(ReceiptInvalid, match="hex"):
        prove_receipt(content, "not hex")


def test_a_file_that_is_no_published_vote_is_refused_in_one_line(tmp_path) -> None:
    for text in ("", "[]", '{"format": "other"}', "{"):
        path = tmp_path / "x.json"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputFileInvalid) as caught:
            read_published_vote(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(ElectionInvalid, match="lacks something"):
        recount({"format": "commonwatt-vote/1", "election_id": "e"})
