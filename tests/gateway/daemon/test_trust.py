"""Clocks, logs, keys and crossed changes: what the gateway believes, and what it does if it must not."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from gateway import household
from gateway.cli import app
from gateway.daemon import HELD_SAMPLES_MAX
from gateway.errors import CloudRefused, ConsentNotPossible, NotPaired, PairingRefused, StateFault
from gateway.outbox.figures import explain, export, figures
from gateway.wire.consent import EventType
from gateway.wire.log_proof import leaf_hash
from gateway.wire.reading import Purpose, Quantity, Resolution
from tests.gateway.fake_coop import FakeClock, FakeCoop, offer
from tests.gateway.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.pair()
    home.sync()
    return home


def counted(home: Home):
    with home.daemon.store.reading() as connection:
        return figures(connection)


def test_a_clock_that_nobody_vouches_for_holds_readings_in_memory(tmp_path: Path) -> None:
    home = Home(tmp_path, clock=FakeClock(disciplined=False))
    home.pair()
    home.live(3600)
    home.flush()
    assert counted(home).readings_read == 0

    home.sync()
    home.give()
    home.live(3600)
    home.flush()
    assert counted(home).readings_read > 0


def test_samples_from_before_the_clock_was_right_get_their_real_time(tmp_path: Path) -> None:
    clock = FakeClock(disciplined=False)
    home = Home(tmp_path, clock=clock)
    true_now = clock.at
    clock.at -= timedelta(days=100)
    home.coop.now = true_now
    asyncio.run(home.daemon.uplink.pair("7KQ2-M9XF-40PD"))
    home.daemon.reload_book()
    household.give(
        home.daemon.store,
        home.daemon.identity,
        offer_id="group-tariff",
        secret=home.secret,
        meters=["main"],
        now=clock.at,
    )
    home.daemon.reload_book()
    home.live(3600)
    assert counted(home).readings_read == 0
    clock.at = true_now + timedelta(seconds=3600)
    clock.disciplined = True
    home.sync()
    home.live(600)
    home.flush()
    home.send()

    starts = sorted(start for _, _, start in home.coop.readings)
    assert starts[0] >= true_now
    assert len(starts) >= 3
    assert {energy_wh for _, energy_wh, _ in home.coop.readings.values()} <= {149, 150, 151}


def test_memory_for_held_samples_is_bounded(tmp_path: Path) -> None:
    home = Home(tmp_path, clock=FakeClock(disciplined=False))
    home.live((HELD_SAMPLES_MAX + 5_000) * 10)
    assert len(home.daemon._held) <= HELD_SAMPLES_MAX


def test_a_cloud_whose_clock_disagrees_confirms_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path, clock=FakeClock(disciplined=False))
    home.pair()
    home.coop.now = home.clock.at + timedelta(hours=1)
    asyncio.run(home.daemon.uplink.sync())
    assert not home.daemon.watch.is_synchronised()


def test_consents_not_confirmed_for_a_week_keep_readings_at_home_until_the_next_sync(
    home: Home,
) -> None:
    home.give()
    home.sync()
    home.live(3600)
    home.flush()
    home.clock.advance(8 * 86_400)
    home.send()
    assert home.coop.readings == {}
    home.sync()
    home.send()
    assert len(home.coop.readings) > 0


def test_a_rewritten_log_raises_an_alarm_and_stops_all_sending(home: Home) -> None:
    home.give()
    home.coop.leaves += [leaf_hash(b"second"), leaf_hash(b"third")]
    home.sync()
    home.live(3600)
    home.flush()
    home.coop.leaves = [leaf_hash(b"another past"), *home.coop.leaves[1:], leaf_hash(b"fourth")]
    home.sync()
    home.send()

    assert home.coop.readings == {}
    assert b"fork" in (home.daemon.store.fact("fork") or b"")


def test_a_log_that_shrank_is_a_fork_too(home: Home) -> None:
    home.coop.leaves += [leaf_hash(b"second")]
    home.sync()
    home.coop.leaves = home.coop.leaves[:1]
    home.sync()
    assert home.daemon.store.fact("fork") is not None


def test_a_log_that_only_grew_is_no_alarm(home: Home) -> None:
    for place in range(40):
        home.coop.leaves.append(leaf_hash(str(place).encode()))
        home.sync()
    assert home.daemon.store.fact("fork") is None


def test_a_withdrawal_on_the_web_still_counts_when_the_log_is_forked(home: Home) -> None:
    home.give()
    home.sync()
    home.coop.leaves = [leaf_hash(b"another")]
    home.coop.narrow_on_the_web("group-tariff", EventType.WITHDRAWN)
    home.sync()
    assert list(home.daemon.pipeline.book.live()) == []


def test_a_roll_back_to_an_older_consent_is_refused_and_noted(home: Home) -> None:
    home.give()
    home.sync()
    home.withdraw()
    home.sync()
    old = home.coop.events[0]
    home.daemon.uplink._take_event(home.daemon.pipeline.book, old)
    home.daemon.reload_book()
    assert list(home.daemon.pipeline.book.live()) == []
    with home.daemon.store.reading() as connection:
        kinds = [kind for (kind,) in connection.execute("SELECT kind FROM notable")]
    assert "refused_event" in kinds


def test_a_withdrawal_here_and_a_narrowing_on_the_web_that_cross_end_withdrawn(home: Home) -> None:
    home.give()
    home.sync()
    hourly = msgspec.structs.replace(
        home.coop.book.grants["group-tariff"].terms, resolution=Resolution.HOUR
    )
    home.coop.narrow_on_the_web("group-tariff", EventType.NARROWED, hourly)
    home.withdraw()
    home.sync()
    home.sync()
    assert list(home.daemon.pipeline.book.live()) == []
    assert home.coop.book.grants["group-tariff"].is_dead


def test_a_narrowing_keeps_what_it_still_covers_and_erases_the_rest(home: Home) -> None:
    home.give()
    home.sync()
    home.live(3600, quantities=("import_wh", "export_wh"))
    home.flush()
    home.daemon.store.seal(
        key_id=home.daemon.identity.key_id, now=home.clock.at, purposes=list(Purpose)
    )
    home.live(3600, quantities=("import_wh", "export_wh"))
    home.flush()
    waiting = home.daemon.store.waiting()
    household.narrow(
        home.daemon.store,
        home.daemon.identity,
        consent_id="group-tariff",
        quantities=[Quantity.IMPORT_WH],
        now=home.clock.at,
    )
    home.daemon.reload_book()
    assert 0 < home.daemon.store.waiting() < waiting
    home.sync()
    home.send()

    assert {stream.quantity for stream, _, _ in home.coop.readings} == {Quantity.IMPORT_WH}
    assert home.coop.broken_chains == []
    assert {gap.quantity for gap in home.coop.receipts[0].gaps} == {Quantity.EXPORT_WH}


def test_narrowing_needs_no_secret_but_cannot_widen(home: Home) -> None:
    home.give(resolution=Resolution.HOUR)
    with pytest.raises(ConsentNotPossible, match="more out"):
        household.narrow(
            home.daemon.store,
            home.daemon.identity,
            consent_id="group-tariff",
            resolution=Resolution.MINUTE,
            now=home.clock.at,
        )


def test_a_pause_holds_what_waits_and_the_household_chooses(home: Home) -> None:
    home.give()
    home.sync()
    household.pause(home.daemon.store, home.clock.at)
    home.live(3600)
    home.flush()
    home.send()
    assert home.coop.readings == {}
    erased = household.resume(home.daemon.store, home.clock.at, erase=True)
    home.send()
    assert erased > 0
    assert home.coop.readings == {}
    home.live(3600)
    home.flush()
    home.send()
    assert len(home.coop.readings) > 0


def test_a_new_key_takes_over_and_what_waited_leaves_under_it(home: Home) -> None:
    home.give()
    home.sync()
    home.live(3600)
    home.flush()
    home.daemon.store.seal(
        key_id=home.daemon.identity.key_id, now=home.clock.at, purposes=list(Purpose)
    )
    old = home.daemon.identity.key_id
    asyncio.run(home.daemon.uplink.rotate())
    home.send()

    assert home.daemon.identity.key_id != old
    assert len(home.coop.readings) > 0
    home.cut_power()
    assert home.daemon.identity.key_id != old
    assert len(list(home.daemon.pipeline.book.live())) == 1, "events of the old key still count"


def test_rotating_waits_until_changes_by_the_old_key_have_arrived(home: Home) -> None:
    home.give()
    with pytest.raises(StateFault, match="sync first"):
        asyncio.run(home.daemon.uplink.rotate())


def test_a_revoked_gateway_keeps_its_readings(home: Home) -> None:
    home.give()
    home.sync()
    home.live(3600)
    home.flush()
    waiting = home.daemon.store.waiting()
    home.coop.refuse_batches_with = 403
    with pytest.raises(CloudRefused):
        home.send()
    assert home.daemon.store.waiting() == waiting


@pytest.mark.parametrize("status", [400, 422])
def test_a_batch_that_is_refused_for_good_blocks_nothing(home: Home, status: int) -> None:
    home.give()
    home.sync()
    home.live(3600)
    home.flush()
    home.coop.refuse_batches_with = status
    home.send()
    home.coop.refuse_batches_with = None
    home.live(3600)
    home.flush()
    home.send()
    assert counted(home).refused > 0
    assert len(home.coop.readings) > 0


def test_a_batch_that_is_too_large_is_sent_in_smaller_ones(home: Home) -> None:
    home.give()
    home.sync()
    home.live(4 * 3600)
    home.flush()
    sizes = []

    async def picky(payload: bytes):
        batch = msgspec.json.decode(payload)
        size = sum(len(block["wh"]) for part in batch["parts"] for block in part["blocks"])
        sizes.append(size)
        if size > 4:
            raise CloudRefused(url="fake", status=413, problem="too large")
        return home.coop.take(payload)

    home.coop.send = picky
    home.send()
    assert home.daemon.store.waiting() == 0
    assert max(sizes) > 4 >= sizes[-1]
    assert len(home.coop.readings) >= 14


def test_a_disk_that_takes_nothing_keeps_readings_in_memory_until_it_does(home: Home) -> None:
    home.give()
    home.sync()
    home.live(1800)
    home.flush()
    connection = home.daemon.store._connection
    connection.execute("PRAGMA query_only = ON")
    home.live(1800)
    home.flush()
    assert "disk" in home.daemon.problems
    connection.execute("PRAGMA query_only = OFF")
    home.live(1800)
    home.flush()
    home.send()
    assert "disk" not in home.daemon.problems
    starts = sorted(start for _, _, start in home.coop.readings)
    assert all(b - a == timedelta(minutes=15) for a, b in pairwise(starts))
    assert len(starts) >= 5


def test_explain_names_the_grant_before_and_after_sending(home: Home) -> None:
    home.give()
    home.sync()
    home.live(3600)
    home.flush()

    def found():
        with home.daemon.store.reading() as connection:
            return explain(
                connection,
                meter="main",
                quantity=Quantity.IMPORT_WH,
                at=home.clock.at - timedelta(minutes=40),
            )

    (waiting,) = found()
    home.send()
    (sent,) = found()
    assert (waiting["state"], sent["state"]) == ("waiting", "sent")
    assert waiting["grant"] == sent["grant"] == "group-tariff@1"


def test_export_holds_all_there_is(home: Home) -> None:
    home.give()
    home.sync()
    home.live(3600)
    home.flush()
    with home.daemon.store.reading() as connection:
        everything = export(connection)
        tables = {
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        }
    assert everything["consent_events"][0]["event"]["consent_id"] == "group-tariff"
    msgspec.json.encode(everything)
    assert len(everything["waiting"]) == home.daemon.store.waiting() > 0
    shown_as = {"consent_event": "consent_events", "stream": "streams", "counter": "counters"}
    shown_as |= {"permit": "waiting", "gap": "gaps", "receipt": "receipts", "fact": "facts"}
    shown_as |= {"dead_letter": "refused", "tally": "tallies", "departure": "left"}
    assert {shown_as.get(table, table) for table in tables} <= set(everything)
    assert everything["facts"]["policy_confirmed_at"]
    assert {stream["meter"] for stream in everything["streams"]} == {"main"}


def test_export_on_the_command_line_names_the_household_but_no_secret(home: Home) -> None:
    home.give()
    home.daemon.store.close()
    config = str(home.directory / "gateway.toml")
    ran = CliRunner().invoke(app, ["export", "--config", config, "--json"])
    told = json.loads(ran.stdout)
    assert told["pinned"]["household"] == "h-0001"
    assert home.secret not in ran.stdout
    assert "PRIVATE" not in ran.stdout


def test_a_wrong_claim_code_pairs_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with pytest.raises(PairingRefused, match="no such claim code"):
        asyncio.run(home.daemon.uplink.pair("0000-0000-0000"))
    with pytest.raises(NotPaired):
        asyncio.run(home.daemon.uplink.sync())


def test_a_grant_that_ran_out_lets_nothing_out_and_leaves_no_counter_behind(tmp_path: Path) -> None:
    clock = FakeClock()
    coop = FakeCoop(offers=(offer(valid_to=clock.at + timedelta(hours=2)),))
    home = Home(tmp_path, coop=coop, clock=clock)
    home.pair()
    home.give()
    home.sync()
    home.live(4 * 3600)
    home.flush()
    home.sync()
    home.send()
    ends = [end for end, _, _ in coop.readings.values()]
    assert ends
    assert max(ends) <= coop.book.grants["group-tariff"].terms.valid_to
    with home.daemon.store.reading() as connection:
        assert connection.execute("SELECT * FROM counter").fetchall() == []


def test_another_process_that_withdraws_is_noticed_before_the_next_reading(home: Home) -> None:
    home.give()
    home.sync()
    home.live(1800)
    home.flush()
    from gateway.outbox.sqlite import SqliteOutbox

    elsewhere = SqliteOutbox.open(home.state_dir)
    household.withdraw(
        elsewhere, home.daemon.identity, consent_id="group-tariff", now=home.clock.at
    )
    elsewhere.close()
    home.live(10)
    assert list(home.daemon.pipeline.book.live()) == []
    home.live(3600)
    home.flush()
    assert home.daemon.store.waiting() == 0


def test_a_broken_state_file_is_one_clear_line(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.daemon.store.close()
    path = home.state_dir / "gateway.sqlite"
    path.write_bytes(b"not a database, " * 1000)
    with pytest.raises(StateFault, match=r"gateway\.sqlite.*move the file away"):
        home.start()
