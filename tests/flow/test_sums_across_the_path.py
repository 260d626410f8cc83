"""The two sums that must hold whatever happens: energy in is energy stored or withheld, and cents
in are cents out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

from cloud.consents.standing import Standing
from cloud.ingest.checks import check_parts
from cloud.readings.memory import MemoryStore
from cloud.readings.ports import CheckedBatch
from gateway.consent.coarsen import add_reading
from gateway.outbox.rows import Permit, WaitingRow, parts_of
from gateway.wire.batch import Batch
from gateway.wire.codec import compress, decode_batch, decompress, encode
from gateway.wire.consent import EventType, Grant, Notice, Release, Terms, why_withheld
from gateway.wire.reading import Purpose, Quantity, Reading, Resolution, StreamKey
from solar_fund.ledger.sql import SqlLedger
from solar_fund.settlement_entries import accounts_of_split, settlement_drafts
from solar_fund.waterfall import MemberSaving, Settlement, split_savings

MINUTE = timedelta(minutes=1)
BEGIN = datetime(2026, 10, 24, 22, tzinfo=UTC)
NOW = BEGIN + timedelta(days=2)
GATEWAY = "ab" * 16
HOME = "h-1"
VIENNA = ZoneInfo("Europe/Vienna")
STREAM = StreamKey(meter="main", quantity=Quantity.IMPORT_WH, purpose=Purpose.GROUP_TARIFF)


def grant_of(valid_from: datetime, valid_to: datetime, resolution: Resolution) -> Grant:
    terms = Terms(
        purpose=Purpose.GROUP_TARIFF,
        meters=("main",),
        quantities=(Quantity.IMPORT_WH,),
        resolution=resolution,
        recipients=("coop",),
        release=Release.GROUP,
        group_min=15,
        valid_from=valid_from,
        valid_to=valid_to,
        retention_days=400,
        notice=Notice(notice_id="n", version="1", language="en", sha256="ab" * 32),
    )
    return Grant(
        consent_id="group-tariff",
        version=1,
        household=HOME,
        state=EventType.GIVEN,
        since=BEGIN,
        terms=terms,
        head="",
    )


def store_batch(store: MemoryStore, batch: Batch, grant: Grant) -> None:
    """Through the wire and the cloud's own checks, as bytes."""
    payload = decompress(compress(encode(batch)))
    standing = Standing(versions={"group-tariff": (grant,)})
    store.append(
        CheckedBatch(
            household=HOME,
            gateway=GATEWAY,
            seq=batch.seq,
            payload=payload,
            signature="",
            received_at=NOW,
            parts=check_parts(decode_batch(payload), standing, NOW),
        )
    ).result(10)


@settings(max_examples=60, deadline=None)
@given(
    energies=st.lists(st.none() | st.integers(0, 5_000), min_size=1, max_size=240),
    resolution=st.sampled_from([Resolution.MINUTE, Resolution.QUARTER_HOUR, Resolution.HOUR]),
    from_minute=st.integers(0, 120),
    lasts_minutes=st.integers(1, 240),
    cut=st.integers(1, 50),
    send_twice=st.booleans(),
)
def test_energy_in_is_energy_stored_plus_energy_withheld(
    energies: list[int | None],
    resolution: Resolution,
    from_minute: int,
    lasts_minutes: int,
    cut: int,
    send_twice: bool,
) -> None:
    grant = grant_of(
        BEGIN + from_minute * MINUTE, BEGIN + (from_minute + lasts_minutes) * MINUTE, resolution
    )
    period, rows, energy_in, withheld = None, [], 0, 0
    for place, energy_wh in enumerate(energies):
        if energy_wh is None:
            continue
        energy_in += energy_wh
        reading = Reading(
            meter="main",
            quantity=Quantity.IMPORT_WH,
            start=BEGIN + place * MINUTE,
            end=BEGIN + (place + 1) * MINUTE,
            energy_wh=energy_wh,
        )
        added = add_reading(period, reading, resolution, VIENNA)
        period = added.open_period
        withheld += sum(each.energy_wh for each in added.withheld)
        for each in added.closed:
            reason = why_withheld(
                grant, stream=STREAM, resolution=resolution, start=each.start, end=each.end
            )
            if reason is not None:
                withheld += each.energy_wh
                continue
            rows.append(
                WaitingRow(
                    stream=STREAM,
                    permit=Permit(consent_id="group-tariff", version=1, resolution=resolution),
                    epoch=0,
                    start=each.start,
                    end=each.end,
                    energy_wh=each.energy_wh,
                )
            )
    still_open = 0 if period is None else period.energy_wh

    store, heads = MemoryStore(), {}
    for seq, begin in enumerate(range(0, len(rows), cut), start=1):
        parts, heads = parts_of(rows[begin : begin + cut], heads)
        batch = Batch(gateway=GATEWAY, seq=seq, made_at=NOW, parts=tuple(parts))
        store_batch(store, batch, grant)
        if send_twice:
            store_batch(store, batch, grant)

    counts = store.counts()
    stored = sum(counts.energy_wh.values())
    assert energy_in == stored + withheld + still_open
    assert counts.intervals_distinct == len(rows)


@settings(max_examples=40, deadline=None)
@given(
    savings=st.lists(st.integers(-50_000, 200_000), min_size=1, max_size=25),
    costs_minor=st.integers(0, 20_000),
    sigma_minor=st.integers(0, 5_000),
)
def test_cents_in_are_cents_out_in_the_split_and_in_the_books(
    savings: list[int], costs_minor: int, sigma_minor: int
) -> None:
    split = split_savings(
        Settlement(
            period="2026-10",
            currency="EUR",
            savings=tuple(
                MemberSaving(member_id=f"h-{number}", saving_minor=saving_minor)
                for number, saving_minor in enumerate(savings)
            ),
            evidence="cd" * 32,
            costs_minor=costs_minor,
            sigma_minor=sigma_minor,
            monthly_costs_minor=costs_minor,
        )
    )
    assert split.total_in_minor == split.total_out_minor

    engine = create_engine("sqlite://")
    with engine.connect() as connection, connection.begin():
        ledger = SqlLedger(connection)
        ledger.create_tables()
        ledger.open_accounts(accounts_of_split(split))
        ledger.post_entries(settlement_drafts(split))
        assert sum(line.balance.posted_minor for line in ledger.trial_balance()) == 0
        assert ledger.verify_chain().is_whole
    engine.dispose()
