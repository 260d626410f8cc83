"""From a sample to an acknowledged reading, with everything real but the wires."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.errors import CloudUnreachable, WrongSecret
from gateway.outbox.figures import figures
from gateway.wire.consent import EventType, Withheld
from gateway.wire.reading import Purpose, Quantity, Reading, Resolution
from tests.gateway.fake_coop import FakeCoop, offer
from tests.gateway.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def counted(home: Home):
    with home.daemon.store.reading() as connection:
        return figures(connection)


def test_nothing_is_kept_or_sent_before_anyone_says_yes(home: Home) -> None:
    home.pair()
    home.sync()
    home.live(3600)
    home.flush()
    home.send()

    assert home.coop.readings == {}
    assert home.daemon.store.waiting() == 0
    assert counted(home).readings_read > 0
    assert counted(home).readings_withheld == counted(home).readings_read


def test_consented_quarter_hours_arrive_with_their_energy(home: Home) -> None:
    home.pair()
    home.sync()
    home.give(quantities=[Quantity.IMPORT_WH])
    home.sync()
    home.live(4 * 3600, power_w=600)
    home.flush()
    home.send()

    starts = sorted(start for _, _, start in home.coop.readings)
    assert len(starts) >= 15
    assert {energy_wh for _, energy_wh, _ in home.coop.readings.values()} <= {149, 150, 151}
    assert home.daemon.store.waiting() == 0
    assert home.coop.broken_chains == []


def test_a_lost_answer_is_sent_again_as_the_same_bytes_and_counted_once(home: Home) -> None:
    home.pair()
    home.sync()
    home.give()
    home.sync()
    home.live(3600)
    home.flush()
    home.coop.lose_answers = 1
    with pytest.raises(CloudUnreachable):
        home.send()
    home.send()

    assert home.coop.payloads[0] == home.coop.payloads[1]
    assert home.daemon.store.waiting() == 0
    assert counted(home).duplicate == len(home.coop.readings)


def test_a_wrong_secret_widens_nothing(home: Home) -> None:
    home.pair()
    home.sync()
    home.secret = "2222-2222-2222"
    with pytest.raises(WrongSecret):
        home.give()
    assert list(home.daemon.pipeline.book.live()) == []


def test_withdrawal_offline_withholds_the_very_next_reading_and_erases_what_waits(
    home: Home,
) -> None:
    home.pair()
    home.sync()
    home.give()
    home.sync()
    home.live(3600)
    home.flush()
    waiting = home.daemon.store.waiting()
    home.coop.online = False
    home.withdraw()
    home.live(3600)
    home.flush()
    home.coop.online = True
    home.sync()
    home.send()

    assert waiting > 0
    assert home.coop.readings == {}
    (receipt,) = home.coop.receipts
    assert receipt.erased == waiting
    assert counted(home).withheld_by_reason[Withheld.WITHDRAWN] > 0


def test_withdrawal_on_the_web_is_obeyed_at_the_next_sync_before_anything_is_sent(
    home: Home,
) -> None:
    home.pair()
    home.sync()
    home.give()
    home.sync()
    home.live(3600)
    home.flush()
    home.coop.narrow_on_the_web("group-tariff", EventType.WITHDRAWN)
    home.sync()
    home.send()

    assert home.coop.readings == {}
    assert home.daemon.store.waiting() == 0


def test_the_co_op_cannot_forge_a_yes(home: Home) -> None:
    home.pair()
    home.sync()
    home.give()
    home.sync()
    terms = home.coop.book.grants["group-tariff"].terms
    grant = home.coop.book.grants["group-tariff"]
    finer = type(terms)(
        **{name: getattr(terms, name) for name in terms.__struct_fields__}
        | {"resolution": Resolution.MINUTE}
    )
    from gateway.wire.consent import ConsentEvent, encode_event
    from gateway.wire.signing import DOMAIN_CONSENT, sign_message

    forged = encode_event(
        ConsentEvent(
            consent_id="group-tariff",
            version=grant.version + 1,
            prev=grant.head,
            household=grant.household,
            event=EventType.RENEWED,
            at=home.clock.at,
            actor="member at home",
            terms=finer,
        )
    )
    home.coop.events.append(sign_message(home.coop.key, DOMAIN_CONSENT, forged))
    home.sync()

    held = home.daemon.pipeline.book.grants["group-tariff"]
    assert held.terms.resolution is Resolution.QUARTER_HOUR


def test_a_month_of_one_purpose_and_minutes_of_another_leave_as_two_streams(
    tmp_path: Path,
) -> None:
    coop = FakeCoop(
        offers=(
            offer("own", purpose=Purpose.OWN_INSIGHT, resolution=Resolution.MINUTE),
            offer("study", purpose=Purpose.RESEARCH, resolution=Resolution.HOUR),
        )
    )
    home = Home(tmp_path, coop=coop)
    home.pair()
    home.give("own")
    home.give("study")
    home.sync()
    home.live(3 * 3600)
    home.flush()
    home.send()

    steps = {
        (stream.purpose, (end - start).total_seconds())
        for (stream, _, start), (end, *_) in coop.readings.items()
    }
    assert steps == {(Purpose.OWN_INSIGHT, 60.0), (Purpose.RESEARCH, 3600.0)}


def test_a_cut_of_power_loses_no_energy_of_a_counter(home: Home) -> None:
    home.pair()
    home.sync()
    home.give(resolution=Resolution.HOUR, quantities=[Quantity.IMPORT_WH])
    home.sync()
    home.live(2 * 3600 + 600)
    home.flush()
    home.live(300)
    home.cut_power()
    home.sync()
    home.live(3 * 3600)
    home.flush()
    home.send()

    energies = [energy_wh for _, energy_wh, _ in home.coop.readings.values()]
    assert len(energies) >= 4
    assert all(abs(energy_wh - 600) <= 1 for energy_wh in energies)


def test_the_daemon_runs_and_stops_cleanly(home: Home) -> None:
    async def short() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, stop.set)
        await home.daemon.run(stop)

    home.pair()
    asyncio.run(short())
    assert home.coop.syncs == 1


def test_periods_that_will_never_come_are_said_openly(home: Home) -> None:
    home.pair()
    home.sync()
    home.give(quantities=[Quantity.IMPORT_WH])
    home.sync()
    begun = home.clock.at
    minute = timedelta(minutes=1)
    # From noon, with a quarter of an hour that misses a minute and an hour that is not there.
    missing = {37, *range(75, 135)}
    for place in range(180):
        if place not in missing:
            home.daemon.pipeline.take_reading(
                Reading(
                    meter="main",
                    quantity=Quantity.IMPORT_WH,
                    start=begun + place * minute,
                    end=begun + (place + 1) * minute,
                    energy_wh=10,
                )
            )
    home.flush()
    home.send()

    assert {energy_wh for _, energy_wh, _ in home.coop.readings.values()} == {150}
    gaps = [((gap.start - begun) / minute, (gap.end - begun) / minute) for gap in home.coop.gaps]
    assert gaps == [(30, 45), (75, 135)]
    assert {gap.reason for gap in home.coop.gaps} == {"meter_silent"}
    assert len(home.coop.readings) + sum(gap.intervals for gap in home.coop.gaps) == 12
