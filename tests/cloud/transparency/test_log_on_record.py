"""The log in the database and over HTTP: it only grows, and everybody can check it alone."""

from __future__ import annotations

import base64
import json

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DatabaseError

from cloud.transparency import repository
from cloud.transparency.usecases import commit_to, prove_consistency, prove_inclusion, record
from gateway.wire.errors import BadLogProof
from gateway.wire.log_proof import check_consistency, check_inclusion, leaf_hash, read_checkpoint
from gateway.wire.signing import public_bytes
from tests.cloud.coop_builder import START


def checkpoint_of(coop):
    note = coop.client.get("/log/checkpoint").text
    return read_checkpoint(
        note,
        origin=coop.services.settings.log_origin,
        public_key=public_bytes(coop.services.keys.log),
    )


def add_entries(coop, count):
    with coop.services.database.transaction() as connection:
        for number in range(count):
            record(connection, kind="test.entry", facts={"number": number}, at=START)


def test_old_checkpoints_stay_consistent_with_new_ones(coop):
    seen = [checkpoint_of(coop)]
    for count in (1, 2, 3, 7):
        add_entries(coop, count)
        seen.append(checkpoint_of(coop))
    for old in seen:
        for new in seen[seen.index(old) :]:
            found = coop.client.get(
                "/log/proof/consistency", params={"old_size": old.size, "new_size": new.size}
            ).json()
            proof = [bytes.fromhex(item) for item in found["hashes"]]
            check_consistency(old=old, new=new, proof=proof)


def test_every_entry_has_a_proof_that_verifies_without_us(coop):
    add_entries(coop, 9)
    checkpoint = checkpoint_of(coop)
    for index in range(checkpoint.size):
        found = coop.client.get(f"/log/proof/inclusion/{index}").json()
        check_inclusion(
            root=checkpoint.root,
            size=checkpoint.size,
            index=index,
            leaf=leaf_hash(found["entry"].encode()),
            proof=[bytes.fromhex(item) for item in found["hashes"]],
        )


def test_a_proof_file_holds_all_that_a_member_needs(coop):
    add_entries(coop, 5)
    body = coop.client.get("/log/proof/file/3").text
    head, _, note = body.partition("\n\n")
    lines = head.split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 3"]
    checkpoint = read_checkpoint(
        note,
        origin=coop.services.settings.log_origin,
        public_key=public_bytes(coop.services.keys.log),
    )
    entry = coop.client.get("/log/entries", params={"first": 3, "count": 1}).json()["entries"][0]
    check_inclusion(
        root=checkpoint.root,
        size=checkpoint.size,
        index=3,
        leaf=leaf_hash(entry.encode()),
        proof=[base64.b64decode(line) for line in lines[2:]],
    )


def test_a_rolled_back_entry_never_was(coop):
    before = checkpoint_of(coop)

    with pytest.raises(ValueError, match="is not of the form"):
        record_a_good_and_a_bad_entry(coop)
    assert checkpoint_of(coop) == before


def record_a_good_and_a_bad_entry(coop):
    with coop.services.database.transaction() as connection:
        record(connection, kind="test.entry", facts={}, at=START)
        record(connection, kind="no kind at all", facts={}, at=START)


@pytest.mark.parametrize("change", ["update", "delete"])
def test_the_database_itself_refuses_to_change_the_log(coop, change):
    table = repository.log_entries
    statement = update(table).values(entry="{}") if change == "update" else delete(table)
    with (
        pytest.raises(DatabaseError, match="never changed or deleted"),
        coop.services.database.transaction() as connection,
    ):
        connection.execute(statement)


def test_a_rewritten_entry_is_found_out_by_its_old_checkpoint(coop):
    """Somebody with the database file drops the guard and rewrites an entry and all nodes."""
    add_entries(coop, 4)
    old = checkpoint_of(coop)
    with coop.services.database.transaction() as connection:
        connection.execute(text("DROP TRIGGER log_entries_no_update"))
        connection.execute(text("DROP TRIGGER log_nodes_no_delete"))
        table = repository.log_entries
        entries = repository.entries_from(connection, first=0, count=100)
        forged = entries[5].entry.replace("number", "forged")
        connection.execute(update(table).where(table.c.place == 5).values(entry=forged))
        connection.execute(delete(repository.log_nodes))
        from cloud.transparency import merkle

        for item in repository.entries_from(connection, first=0, count=100):
            nodes = merkle.nodes_completed_by(
                item.index,
                leaf_hash(item.entry.encode()),
                lambda node: repository.node_at(connection, node),
            )
            repository.insert_nodes(connection, nodes)
        record(connection, kind="test.entry", facts={}, at=START)
    new = checkpoint_of(coop)
    with coop.services.database.reading() as connection:
        proof = prove_consistency(connection, old.size)
    with pytest.raises(BadLogProof):
        check_consistency(old=old, new=new, proof=proof)


def test_entries_hold_nothing_personal_and_an_erased_salt_opens_nothing(coop):
    with coop.services.database.transaction() as connection:
        commitment = commit_to(connection, subject="h-1", value="Ada lives here")
        index = record(connection, kind="test.person", facts={"who": commitment}, at=START)
    with coop.services.database.reading() as connection:
        entry = prove_inclusion(connection, index).entry
        opening = repository.opening_of(connection, commitment)
    assert "Ada" not in entry
    assert opening is not None
    with coop.services.database.transaction() as connection:
        assert repository.erase_openings(connection, "h-1") == 1
    with coop.services.database.reading() as connection:
        assert repository.opening_of(connection, commitment) is None
        assert prove_inclusion(connection, index).entry == entry


def test_entries_are_canonical_json(coop):
    with coop.services.database.transaction() as connection:
        record(connection, kind="test.order", facts={"b": 1, "a": "é"}, at=START)
    entry = coop.client.get("/log/entries").json()["entries"][-1]
    assert entry == '{"at":"2026-03-02T12:00:00Z","facts":{"a":"é","b":1},"kind":"test.order"}'
    assert json.loads(entry)["kind"] == "test.order"


@pytest.mark.parametrize(
    "path",
    [
        "/log/proof/inclusion/100000",
        "/log/proof/inclusion/0?size=100000",
        "/log/proof/consistency?old_size=5000",
        "/log/proof/file/99999",
    ],
)
def test_what_is_not_in_the_log_is_not_found(coop, path):
    response = coop.client.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
