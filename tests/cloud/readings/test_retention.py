"""Readings go when the time the home agreed to is over."""

from __future__ import annotations

from datetime import timedelta

from cloud.readings.retention import expire_readings
from gateway.wire.consent import Terms
from tests.cloud.coop_builder import Coop, HomeGateway
from tests.cloud.readings.batches import batch, part


def test_a_stream_is_kept_as_long_as_its_consent_says_and_others_are_left(
    coop: Coop, home: HomeGateway, terms: Terms
) -> None:
    home.give(terms)
    start = coop.clock() - timedelta(days=terms.retention_days, hours=2)
    store, database = coop.services.store, coop.services.database
    sent = part(
        [1, 2, 3, 4],
        start=start,
        step_s=3600,
        meter=terms.meters[0],
        quantity=terms.quantities[0],
        purpose=terms.purpose,
    )
    store.append(batch(sent, household=home.household)).result()
    store.append(batch(sent, household="a home without any consent")).result()
    assert expire_readings(database, store, coop.clock()).intervals == 2
    listed = store.home_readings(home.household, start=start, end=start + timedelta(hours=4))
    assert listed["energy_wh"].tolist() == [3, 4]
    assert store.counts().intervals_distinct == 6
