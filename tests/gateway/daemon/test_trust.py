"""Clocks, logs, keys and crossed changes: what the gateway believes, and what it does if it must not."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from gateway import household
from gateway.cli import app
from gateway.clock import off_by
from gateway.daemon import HELD_SAMPLES_MAX
from gateway.errors import (
    CloudRefused,
    ConsentNotPossible,
    NoAlarm,
    NotPaired,
    PairingRefused,
    StateFault,
    WrongSecret,
)
from gateway.local_page.view import lamp
from gateway.outbox import consents
from gateway.outbox.explaining import explain, explain_batch
from gateway.outbox.figures import export, figures, notable
from gateway.outbox.sqlite import SqliteOutbox
from gateway.wire.consent import EventType
from gateway.wire.log_proof import leaf_hash
from gateway.wire.reading import Purpose, Quantity, Resolution
from tests.gateway.fake_coop import FakeClock, FakeCoop, offer
from tests.gateway.home import Home, run


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
    home.live(3600)
    home.flush()
    assert counted(home).readings_read == 0

    home.pair()
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


@pytest.mark.parametrize("years", [-1, 1])
def test_a_clock_that_jumps_a_year_is_not_believed_until_the_co_op_agrees(
    home: Home, years: int
) -> None:
    home.give()
    home.sync()
    home.live(3600)
    home.flush()
    right_now = home.clock.at
    home.clock.step(years * 365 * 86_400)
    home.live(1200)
    home.send()
    home.flush()
    assert home.coop.readings == {}

    # The co-op contradicts it, although the kernel calls it right: it is still held.
    home.coop.now = right_now + timedelta(seconds=1200)
    run(home.daemon.uplink.sync())
    home.live(600)
    home.flush()
    home.send()
    assert home.coop.readings == {}

    home.clock.step(-years * 365 * 86_400)
    home.sync()
    home.live(3600)
    home.flush()
    home.send()
    starts = sorted(start for _, _, start in home.coop.readings)
    assert abs(starts[0] - right_now) < timedelta(hours=2)
    assert abs(starts[-1] - right_now) < timedelta(hours=2)
    assert all(later - earlier == timedelta(minutes=15) for earlier, later in pairwise(starts))


@pytest.mark.parametrize("into_the_minute_s", [0, 30])
def test_streams_go_on_after_a_clock_that_was_believed_far_ahead_is_set_back(
    home: Home, into_the_minute_s: int
) -> None:
    home.give()
    home.sync()
    home.clock.step(200 * 86_400)
    home.sync()
    home.live(3600 + into_the_minute_s)
    home.flush()
    home.clock.step(-200 * 86_400)
    home.sync()
    home.live(7200)
    home.flush()
    ahead = home.clock.at + timedelta(days=100)
    with home.daemon.store.reading() as connection:
        starts = [row.start for _, row in consents.waiting_rows(connection)]
    assert len([start for start in starts if start < ahead]) >= 6


def test_a_confirmation_from_the_future_confirms_nothing(home: Home) -> None:
    home.give()
    home.sync()
    home.clock.at -= timedelta(days=365)
    home.daemon.watch.compare(home.clock.at, took_s=0.0)
    assert home.daemon.watch.is_synchronised()
    assert home.daemon.uplink.purposes_now() == [Purpose.BILLING]


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


def test_explain_tells_what_is_being_added_up_and_what_was_erased_or_refused(home: Home) -> None:
    home.give(resolution=Resolution.HOUR)
    home.sync()
    home.live(9000)
    home.flush()
    at = home.clock.at - timedelta(minutes=2)

    def states(moment: datetime) -> list[str]:
        with home.daemon.store.reading() as connection:
            found = explain(connection, meter="main", quantity=Quantity.IMPORT_WH, at=moment)
        return [str(entry["state"]) for entry in found]

    assert states(at) == ["being added up"]
    waited = at - timedelta(hours=1)
    assert states(waited) == ["waiting"]
    home.withdraw()
    assert states(waited) == ["never left: consent_withdrawn"]
    assert states(at) == []


def test_a_message_is_explained_by_its_number_and_a_hole_is_not_called_sent(home: Home) -> None:
    home.give()
    home.sync()
    home.live(3600)
    home.flush()
    home.send()
    home.live(7200, silent=("main",))
    home.live(3600)
    home.flush()
    home.send()
    home.sync()
    with home.daemon.store.reading() as connection:
        first = explain_batch(connection, 1)
        none = explain_batch(connection, 99)
        (whole,) = explain(
            connection,
            meter="main",
            quantity=Quantity.IMPORT_WH,
            at=home.clock.at - timedelta(hours=2),
        )
    assert [(entry["grant"], entry["quantity"]) for entry in first] == [
        ("group-tariff@1", "import_wh")
    ]
    assert none == []
    assert whole["state"] in ("sent", "sent in part")
    assert (whole["state"] == "sent") == (whole["intervals"] == whole["intervals_of"])


def test_explain_on_the_command_line_names_what_keeps_a_reading_at_home(home: Home) -> None:
    home.give()
    home.sync()
    home.live(3600)
    home.flush()
    home.daemon.store.close()
    config = ["--config", str(home.directory / "gateway.toml")]
    moment = (home.clock.at - timedelta(minutes=40)).isoformat()

    def said(*arguments: str) -> str:
        ran = CliRunner().invoke(app, ["explain", *arguments, *config])
        return ran.stdout + ran.stderr

    assert "under group-tariff@1" in said("main", "import_wh", moment)
    assert "no consent names ev_wh of main" in said("main", "ev_wh", moment)
    long_ago = "2020-01-01T00:00:00Z"
    assert "group-tariff@1 does not let it out: not_yet_valid" in said(
        "main", "import_wh", long_ago
    )
    assert "there is no meter 'grid'; there is: main" in said("grid", "import_wh", moment)
    assert "or --batch NUMBER" in said("main")
    assert "no message 7 is here" in said("--batch", "7")


def test_a_receipt_in_the_export_is_checked_with_nothing_but_the_public_key(home: Home) -> None:
    home.give()
    home.sync()
    home.live(3600)
    home.flush()
    home.withdraw()
    with home.daemon.store.reading() as connection:
        (kept,) = export(connection)["receipts"]
    home.daemon.identity.key.public_key().verify(
        base64.b64decode(kept["signature"]),
        b"commonwatt/receipt/1\x00" + kept["signed"].encode(),
    )
    home.daemon.store.close()
    config = str(home.directory / "gateway.toml")
    ran = CliRunner().invoke(app, ["consent", "receipts", "--config", config])
    assert ran.exit_code == 0
    assert "group-tariff@2" in ran.stdout
    assert "fits" in ran.stdout


def test_a_withdrawal_cut_short_after_its_commit_leaves_no_erased_row_in_the_log(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.give()
    home.sync()
    home.live(3600, power_w=46_000.0)
    home.flush()
    with home.daemon.store.reading() as connection:
        (energy_wh,) = connection.execute("SELECT energy_wh FROM waiting LIMIT 1").fetchone()
    in_log = int(energy_wh).to_bytes(2, "big")
    log = home.daemon.store.path.with_name("gateway.sqlite-wal")
    with monkeypatch.context() as cut:
        cut.setattr(type(home.daemon.store), "truncate_log", lambda _store: None)
        home.withdraw()
        assert in_log in log.read_bytes()
    again = SqliteOutbox.open(home.daemon.store.path.parent)
    assert not log.read_bytes()
    again.close()


def test_a_gateway_that_the_co_op_turned_away_says_so_until_it_is_taken_again(home: Home) -> None:
    home.give()
    home.sync()
    home.live(3600)
    home.flush()
    assert lamp(home.daemon).kind == "totals"

    home.coop.refuse_syncs_with = 403
    with pytest.raises(CloudRefused):
        home.sync()
    assert lamp(home.daemon).kind == "off"
    assert "takes nothing from this gateway" in lamp(home.daemon).says
    assert home.daemon.uplink.purposes_now() == []
    ran = CliRunner().invoke(app, ["status", "--config", str(home.directory / "gateway.toml")])
    assert "ALARM, the co-op takes nothing from this gateway" in ran.stdout

    home.coop.refuse_syncs_with = None
    home.sync()
    assert lamp(home.daemon).kind == "totals"
    home.send()
    assert home.coop.readings


def test_an_alarm_is_said_once_and_ends_when_the_household_accepts_the_log(home: Home) -> None:
    home.give()
    home.coop.leaves += [leaf_hash(b"second")]
    home.sync()
    home.live(3600)
    home.flush()
    home.coop.leaves = [leaf_hash(b"from a backup")]
    for _ in range(3):
        home.sync()
    home.send()
    with home.daemon.store.reading() as connection:
        alarms = [entry for entry in notable(connection) if entry["kind"] == "fork"]
    assert len(alarms) == 1
    assert home.coop.readings == {}

    parts = home.daemon.store, home.daemon.identity
    with pytest.raises(WrongSecret):
        household.accept_log(*parts, secret="2222-2222-2222", now=home.clock.at)
    household.accept_log(*parts, secret=home.secret, now=home.clock.at)
    home.sync()
    home.send()
    assert home.coop.readings
    with pytest.raises(NoAlarm):
        household.accept_log(*parts, secret=home.secret, now=home.clock.at)


def test_a_household_hears_that_another_device_speaks_with_its_key(home: Home) -> None:
    home.coop.refuse_syncs_with = 409
    for _ in range(3):
        with pytest.raises(CloudRefused):
            home.sync()
    with home.daemon.store.reading() as connection:
        said = [str(entry["said"]) for entry in notable(connection) if entry["kind"] == "identity"]
    assert len(said) == 1
    assert "another device uses its key" in said[0]


def test_narrowing_to_the_same_terms_is_refused(home: Home) -> None:
    home.give()
    with pytest.raises(ConsentNotPossible, match="nothing would change"):
        household.narrow(
            home.daemon.store,
            home.daemon.identity,
            consent_id="group-tariff",
            now=home.clock.at,
        )


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
    with pytest.raises(StateFault, match=r"gateway\.sqlite.*saves what can be read"):
        home.start()


@pytest.mark.parametrize(
    ("offset_s", "words"),
    [
        (-100_000, "1 day 3 h behind"),
        (2 * 365 * 86_400, "730 days ahead of"),
        (400, "7 min ahead of"),
        (-7_500, "2 h 5 min behind"),
    ],
)
def test_how_far_a_clock_is_off_is_said_in_words(offset_s: float, words: str) -> None:
    assert off_by(offset_s) == words
