from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from cloud.errors import BadInput, StateConflict
from cloud.savings.months import Month, work_out_month, write_month
from cloud.savings.repository import all_settlements, savings_of_home
from cloud.savings.usecases import set_tariff
from gateway.wire.reading import Purpose
from tests.cloud.coop_builder import Coop
from tests.cloud.group_builder import (
    WINDOW_START,
    ZONE,
    group_of,
    put_on_group_tariff,
    put_use,
    tariff_text,
)

JANUARY = Month.named("2026-01", ZONE)
HOURS = 31 * 24


def settle(coop: Coop, **how: bool):
    """Settle January; returns the newest revision, and whether it was added."""
    worked = work_out_month(
        coop.services.database, coop.services.store, month=JANUARY, currency="EUR", **how
    )
    with coop.services.database.transaction() as connection:
        return write_month(connection, worked, now=coop.clock())


def test_a_saving_is_the_old_tariff_on_metered_use_minus_the_bill(coop: Coop) -> None:
    homes = group_of(coop, 3, purpose=Purpose.BILLING)
    put_on_group_tariff(coop, homes, "0.25", WINDOW_START)

    settlement, _ = settle(coop)

    expected = {home.household: home.wh_per_hour * HOURS * 5 // 1000 for home in homes}
    with coop.services.database.reading() as connection:
        found = {
            home.household: savings_of_home(connection, home.household)[0].saving_minor
            for home in homes
        }
    assert found == expected
    assert settlement.saving_minor == sum(expected.values())


def test_a_rerun_on_the_same_evidence_adds_no_revision_and_says_so(coop: Coop) -> None:
    homes = group_of(coop, 2, purpose=Purpose.BILLING)
    put_on_group_tariff(coop, homes, "0.25", WINDOW_START)

    first, was_added = settle(coop)
    second, again = settle(coop)

    assert (was_added, again) == (True, False)
    assert first == second
    assert first.revision == 1


def test_a_changed_tariff_makes_a_new_revision_and_keeps_the_old_one(coop: Coop) -> None:
    homes = group_of(coop, 2, purpose=Purpose.BILLING)
    put_on_group_tariff(coop, homes, "0.25", WINDOW_START)
    first, _ = settle(coop)

    put_on_group_tariff(coop, homes[:1], "0.26", WINDOW_START)
    second, was_added = settle(coop)

    assert was_added
    assert second.revision == 2
    hours_wh = homes[0].wh_per_hour * HOURS
    assert first.saving_minor - second.saving_minor == hours_wh // 1000
    with coop.services.database.reading() as connection:
        assert [one.revision for one in all_settlements(connection, "2026-01")] == [2, 1]


def test_a_month_with_missing_readings_is_not_settled(coop: Coop) -> None:
    homes = group_of(coop, 1, purpose=Purpose.BILLING)
    late = coop.member("late@example.org")[0]
    assert late.household is not None
    put_use(
        coop,
        late.household,
        Purpose.BILLING,
        start=JANUARY.start,
        end=JANUARY.end,
        wh_per_hour=100,
        leave_out=5,
    )
    with coop.services.database.transaction() as connection:
        for kind in ("old", "group"):
            set_tariff(
                connection,
                household=late.household,
                kind=kind,
                text=tariff_text("0.3"),
                form="json",
                valid_from=WINDOW_START,
                now=coop.clock(),
            )
    put_on_group_tariff(coop, homes, "0.25", WINDOW_START)

    with pytest.raises(StateConflict, match="1 of 2 homes miss billing readings"):
        settle(coop)
    with coop.services.database.reading() as connection:
        assert connection.scalar(text("SELECT count(*) FROM settlements")) == 0
    assert settle(coop, leave_out_incomplete=True)[0].homes == 1


def test_nobody_on_the_group_tariff_means_nothing_to_settle(coop: Coop) -> None:
    group_of(coop, 1, purpose=Purpose.BILLING)

    with pytest.raises(StateConflict, match="no home was on the group tariff"):
        settle(coop)


def test_a_frozen_tariff_and_a_settlement_cannot_be_changed_in_the_database(coop: Coop) -> None:
    homes = group_of(coop, 1, purpose=Purpose.BILLING)
    put_on_group_tariff(coop, homes, "0.25", WINDOW_START)
    settle(coop)

    for statement in (
        "UPDATE home_tariffs SET tariff_hash = 'x'",
        "DELETE FROM home_savings",
        "UPDATE settlements SET saving_minor = 1",
    ):
        with (
            pytest.raises(DatabaseError, match="never changed or deleted"),
            coop.services.database.transaction() as connection,
        ):
            connection.execute(text(statement))


def test_a_tariff_that_cannot_be_read_is_refused_with_key_and_remedy(coop: Coop) -> None:
    person, _ = coop.member()
    assert person.household is not None

    with (
        pytest.raises(BadInput) as refused,
        coop.services.database.transaction() as connection,
    ):
        set_tariff(
            connection,
            household=person.household,
            kind="old",
            text='{"format": "commonwatt-tariff/1", "nmae": "typo"}',
            form="json",
            valid_from=WINDOW_START,
            now=coop.clock(),
        )
    assert "name" in refused.value.faults[0].problem


@pytest.mark.parametrize("name", ["2026", "2026-13", "October", ""])
def test_a_month_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="2026-10"):
        Month.named(name, ZONE)


def test_october_has_an_hour_more_and_march_one_less() -> None:
    october, march = Month.named("2026-10", ZONE), Month.named("2026-03", ZONE)
    assert (october.end - october.start).total_seconds() == (31 * 24 + 1) * 3600
    assert (march.end - march.start).total_seconds() == (31 * 24 - 1) * 3600
