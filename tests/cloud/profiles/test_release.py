"""Releasing profiles: consent, cohort, floor, log, over a real database and store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from cloud.consents.repository import StoredEvent, insert_event
from cloud.database import Database
from cloud.errors import BadInput, NotAllowed, ReleaseRefused
from cloud.members.repository import insert_household
from cloud.migrations.run import migrate_empty
from cloud.profiles import repository
from cloud.profiles.coarsening import typical_day_shapes
from cloud.profiles.privacy_floor import Audience
from cloud.profiles.release import Asked
from cloud.profiles.usecases import release_group_profile, release_typical_day
from cloud.readings.memory import MemoryStore
from cloud.settings import PrivacySettings
from cloud.transparency.repository import newest_entries
from gateway.wire.consent import (
    Authority,
    ConsentEvent,
    EventType,
    Notice,
    Release,
    Terms,
    encode_event,
    event_hash,
)
from gateway.wire.reading import Purpose, Quantity, Resolution
from gateway.wire.signing import SignedMessage
from tests.cloud.readings.batches import batch, part

DAY = datetime(2026, 3, 2, tzinfo=UTC)
NOW = datetime(2026, 4, 1, tzinfo=UTC)
PRIVACY = PrivacySettings()
ASKED = Asked(
    purpose=Purpose.GROUP_TARIFF,
    quantity=Quantity.IMPORT_WH,
    start=DAY,
    end=DAY + timedelta(days=1),
    step_s=3600,
    asked_by="board-1",
)


class Street:
    """Homes with consents and readings."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(f"sqlite:///{folder / 'cloud.sqlite'}")
        migrate_empty(self.database)
        self.store = MemoryStore()
        self.heads: dict[str, tuple[int, str]] = {}

    def add_home(self, number: int, *, hours: int = 24, wh: int = 1000, **changes) -> str:
        name = f"home-{number:03d}"
        with self.database.transaction() as connection:
            insert_household(connection, household=name, label=name, now=DAY)
        self.consent(name, EventType.GIVEN, **changes)
        self.read(name, [wh + number % 7] * hours)
        return name

    def consent(self, household: str, event: EventType, **changes) -> None:
        version, prev = self.heads.get(household, (0, ""))
        terms = Terms(
            **{
                "purpose": Purpose.GROUP_TARIFF,
                "meters": ("main",),
                "quantities": (Quantity.IMPORT_WH,),
                "resolution": Resolution.QUARTER_HOUR,
                "recipients": ("coop",),
                "release": Release.GROUP,
                "group_min": 15,
                "valid_from": DAY - timedelta(days=30),
                "valid_to": DAY + timedelta(days=365),
                "retention_days": 400,
                "notice": Notice(notice_id="n", version="1", language="en", sha256="0" * 64),
            }
            | changes
        )
        payload = encode_event(
            ConsentEvent(
                consent_id="group-tariff",
                version=version + 1,
                prev=prev,
                household=household,
                event=event,
                at=DAY,
                actor="member at home",
                terms=None if event is EventType.WITHDRAWN else terms,
            )
        )
        self.heads[household] = (version + 1, event_hash(payload))
        with self.database.transaction() as connection:
            insert_event(
                connection,
                household=household,
                event=StoredEvent(
                    consent_id="group-tariff",
                    version=version + 1,
                    message=SignedMessage(payload=payload.decode(), key="0" * 16, sig="x"),
                    authority=Authority.HOME,
                    received_at=DAY,
                    log_index=0,
                    commitment="",
                ),
            )

    def read(self, household: str, wh: list[int | None], *, start: datetime = DAY) -> None:
        checked = batch(part(wh, start=start, step_s=3600), household=household)
        self.store.append(checked).result()

    def group(self, asked: Asked = ASKED, *, privacy: PrivacySettings = PRIVACY):
        return release_group_profile(self.database, self.store, asked, privacy=privacy, now=NOW)

    def typical(self, asked: Asked = ASKED):
        return release_typical_day(self.database, self.store, asked, privacy=PRIVACY, now=NOW)

    def log(self, kind: str) -> list[dict]:
        with self.database.reading() as connection:
            return [
                json.loads(item.entry)["facts"] for item in newest_entries(connection, kind=kind)
            ]


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    opened = Street(tmp_path)
    for number in range(20):
        opened.add_home(number)
    yield opened
    opened.database.close()


def test_a_group_that_passes_is_released_with_its_sum_and_nothing_of_one_home(
    street: Street,
) -> None:
    released = street.group()
    expected = sum(1000 + number % 7 for number in range(20))
    assert released.frame["energy_wh"].tolist() == [expected] * 24
    assert released.frame["homes"].tolist() == [20] * 24
    assert set(released.frame.columns) == {"interval_end", "energy_wh", "homes"}
    assert (released.homes, released.step) == (20, "PT1H")
    (facts,) = street.log("release.made")
    assert facts["output"] == released.output_sha256
    assert facts["cohort"] == released.cohort_root == street.log("cohort.frozen")[0]["root"]


def test_fourteen_homes_are_refused_in_words_and_the_refusal_is_logged(tmp_path: Path) -> None:
    street = Street(tmp_path)
    for number in range(14):
        street.add_home(number, group_min=2)
    with pytest.raises(ReleaseRefused, match="14 homes that agreed, and at least 15"):
        street.group()
    (facts,) = street.log("release.refused")
    assert facts["reasons"] == ["too_few_homes"]
    with street.database.reading() as connection:
        (row,) = repository.newest_releases(connection)
    assert not row.is_released
    assert "14 homes" in row.reasons[0]
    street.database.close()


def test_one_car_in_one_hour_refuses_the_release_or_makes_it_coarser(street: Street) -> None:
    street.add_home(90, hours=3)
    street.read("home-090", [11_000], start=DAY + timedelta(hours=3))
    street.read("home-090", [10] * 20, start=DAY + timedelta(hours=4))
    with pytest.raises(ReleaseRefused, match="in 1 of 24 figures one home makes up more than 15%"):
        street.group()
    released = street.group(replace(ASKED, may_be_coarser=True))
    assert released.step == "P1D"
    assert "PT1H: in 1 of 24 figures" in released.made_coarser[0]
    rest = 24 * sum(1000 + number % 7 for number in range(20))
    assert released.frame["energy_wh"].tolist() == [rest + 3 * 1006 + 11_000 + 200]


def test_only_homes_whose_consent_fits_are_in_the_sum(street: Street) -> None:
    street.add_home(50, release=Release.OWN_ONLY)
    street.add_home(51, recipients=("supplier:nordwind",))
    street.add_home(52, valid_from=DAY + timedelta(hours=1))
    street.add_home(53, valid_to=DAY + timedelta(hours=1))
    street.add_home(54, quantities=(Quantity.EXPORT_WH,))
    street.add_home(55, purpose=Purpose.RESEARCH)
    street.add_home(56)
    street.consent("home-056", EventType.WITHDRAWN)
    assert street.group().homes == 20


def test_a_home_that_asked_for_a_larger_group_stays_out(street: Street) -> None:
    street.add_home(60, group_min=50)
    assert street.group().homes == 20


def test_leaving_after_a_release_refuses_the_next_one_over_that_time(street: Street) -> None:
    street.group()
    street.consent("home-003", EventType.WITHDRAWN)
    with pytest.raises(ReleaseRefused, match=r"differ from those of release 1 .* by 1"):
        street.group()
    longer = replace(ASKED, start=DAY - timedelta(days=1), step_s=3600)
    with pytest.raises(ReleaseRefused, match="differ"):
        street.group(longer)


def test_another_kind_or_purpose_over_the_same_time_is_the_same_time(street: Street) -> None:
    street.group()
    street.consent("home-003", EventType.WITHDRAWN)
    with pytest.raises(ReleaseRefused, match="differ"):
        street.typical()


def test_a_home_that_joins_late_waits_for_the_next_period(street: Street) -> None:
    first = street.group()
    street.add_home(70)
    again = street.group()
    assert again.homes == 20
    assert again.cohort_root == first.cohort_root
    assert again.output_sha256 == first.output_sha256


def test_a_reading_that_comes_late_changes_nothing_that_was_released(street: Street) -> None:
    late = street.add_home(71, hours=0)
    street.read(late, [None] * 24)
    street.read(late, [1000] * 23, start=DAY + timedelta(hours=1))
    first = street.group()
    street.read(late, [777], start=DAY)
    again = street.group()
    assert first.frame["homes"].tolist() == [20] + [21] * 23
    assert again.output_sha256 == first.output_sha256


def test_erased_readings_stand_out_and_refuse_the_next_release(street: Street) -> None:
    street.group()
    street.store.erase("home-003")
    with pytest.raises(ReleaseRefused, match="by 1"):
        street.group()


def test_forgetting_a_home_leaves_no_name_but_still_protects_it(street: Street) -> None:
    street.group()
    street.consent("home-003", EventType.WITHDRAWN)
    with street.database.transaction() as connection:
        assert repository.forget_home(connection, "home-003") == 1
        releases = repository.exact_releases_over(
            connection, quantity=Quantity.IMPORT_WH, start=ASKED.start, end=ASKED.end
        )
    assert "home-003" not in releases[0].households
    with pytest.raises(ReleaseRefused, match="by 1"):
        street.group()


def test_the_outside_needs_a_hundred_homes_and_two_people(street: Street) -> None:
    outside = replace(ASKED, audience=Audience.OUTSIDE)
    with pytest.raises(NotAllowed, match="two people"):
        street.group(replace(outside, approved_by=("a", "a")))
    with pytest.raises(ReleaseRefused, match="at least 100"):
        street.group(replace(outside, approved_by=("a", "b")))
    low = PrivacySettings(group_min_outside=20)
    assert street.group(replace(outside, approved_by=("a", "b")), privacy=low).homes == 20
    assert street.log("release.made")[0]["approvals"] == 2


def test_a_time_that_is_not_over_cannot_be_released(street: Street) -> None:
    with pytest.raises(BadInput, match="over"):
        street.group(replace(ASKED, end=NOW + timedelta(hours=1)))
    with pytest.raises(BadInput, match="over"):
        street.group(replace(ASKED, end=ASKED.start))


def test_typical_days_follow_the_local_clock(street: Street) -> None:
    released = street.typical(replace(ASKED, timezone="Europe/Berlin"))
    assert released.step == "month-hour"
    hours = released.frame.reset_index()
    assert set(zip(hours["month"], hours["day_type"], strict=True)) == {(3, "weekday")}
    assert hours["hour"].tolist() == list(range(24))
    assert hours["hours"].tolist() == [1.0] * 24
    assert "top_share" not in released.frame.columns


def test_an_unknown_zone_or_a_step_that_does_not_fit_is_said(street: Street) -> None:
    with pytest.raises(BadInput, match="Mars"):
        street.typical(replace(ASKED, timezone="Mars/Olympus"))


def test_every_coarser_step_keeps_the_energy() -> None:
    import pandas as pd

    index = pd.date_range("2026-01-01", "2027-01-01", freq="h", tz="UTC", inclusive="left")
    random = np.random.default_rng(4)
    frame = pd.DataFrame(
        random.integers(0, 900, (len(index), 3)).astype(float), index=index, columns=list("abc")
    )
    steps = [make() for make in typical_day_shapes(frame, timezone="Europe/Berlin")]
    assert [len(shape.frame) for shape in steps] == [576, 192, 32, 2]
    for shape in steps:
        assert shape.frame["energy_wh"].sum() == frame.to_numpy().sum()
        assert shape.frame["hours"].sum() == 8760
        assert (shape.cells.homes == 3).all()
    winter = steps[1].frame.loc[("winter", "weekday", 7)]
    months = steps[0].frame["energy_wh"]
    by_month = sum(months.loc[(month, "weekday", 7)] for month in (12, 1, 2))
    assert winter["energy_wh"] == by_month
