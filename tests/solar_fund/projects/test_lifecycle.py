from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solar_fund.errors import ProjectInvalid
from solar_fund.projects.lifecycle import (
    MILESTONE_SHARES,
    NEXT,
    advance,
    forecast_versus_metered,
    milestone_amounts,
    propose,
    release_milestone,
)

START = datetime(2026, 3, 1, tzinfo=UTC)
HASH = "ab" * 32


def lived_until(state: str, grant_minor: int = 1001):
    life = propose("roof", START, HASH)
    for day, step in enumerate(
        ("screened", "appraised", "voted", "granted", "built", "operating", "closed"), start=1
    ):
        if life.state == state:
            break
        grant = grant_minor if step == "granted" else 0
        life = advance(life, step, START + timedelta(days=day), HASH, grant)
    return life


def test_the_whole_life_in_order() -> None:
    life = lived_until("closed")
    assert [event.state for event in life.events][-1] == "closed"
    assert not NEXT[life.state]


def test_no_step_may_be_left_out() -> None:
    with pytest.raises(ProjectInvalid, match="only rejected, screened"):
        advance(propose("roof", START, HASH), "granted", START, HASH, 5)


def test_a_project_that_lost_a_vote_may_be_appraised_again() -> None:
    life = advance(lived_until("voted"), "appraised", START + timedelta(days=9), HASH)
    assert life.state == "appraised"


def test_milestones_come_in_order_and_only_once_earned() -> None:
    life = lived_until("granted")
    with pytest.raises(ProjectInvalid, match="next milestone is contract signed"):
        release_milestone(life, "installed", START + timedelta(days=9), HASH)
    life = release_milestone(life, "contract signed", START + timedelta(days=9), HASH)
    assert life.paid_minor == 300
    with pytest.raises(ProjectInvalid, match="once it is built"):
        release_milestone(life, "installed", START + timedelta(days=9), HASH)


def test_a_lapsed_project_returns_what_was_not_paid() -> None:
    life = release_milestone(lived_until("granted"), "contract signed", START + timedelta(9), HASH)
    lapsed = advance(life, "lapsed", START + timedelta(days=10), HASH)
    assert (lapsed.returned_minor, lapsed.open_minor) == (701, 0)
    with pytest.raises(ProjectInvalid, match="lapsed"):
        release_milestone(lapsed, "installed", START + timedelta(days=11), HASH)


@given(st.integers(1, 10**12))
@settings(deadline=None)
def test_all_milestones_add_up_to_the_grant(grant_minor) -> None:
    life = lived_until("operating", grant_minor)
    for milestone in MILESTONE_SHARES:
        life = release_milestone(life, milestone, START + timedelta(days=99), HASH)
    assert life.paid_minor == grant_minor
    assert life.open_minor == 0
    assert sum(milestone_amounts(grant_minor).values()) == grant_minor


def test_steps_need_evidence_a_zone_and_the_right_order_of_time() -> None:
    life = propose("roof", START, HASH)
    with pytest.raises(ProjectInvalid, match="SHA-256"):
        advance(life, "screened", START, "looks fine")
    with pytest.raises(ProjectInvalid, match="before the last step"):
        advance(life, "screened", START - timedelta(days=1), HASH)
    with pytest.raises(ProjectInvalid, match="no zone"):
        advance(life, "screened", START.replace(tzinfo=None), HASH)
    with pytest.raises(ProjectInvalid, match="granted sum"):
        advance(lived_until("voted"), "granted", START + timedelta(days=9), HASH)


def test_the_meter_is_set_beside_the_worn_forecast() -> None:
    forecast = [100_000 * month for month in range(1, 13)]
    checks = forecast_versus_metered(
        forecast, {"2027-03": 310_000, "2026-03": 300_000, "2026-04": None}, "2026-03", 0.01
    )
    assert [check.month for check in checks] == ["2026-03", "2026-04", "2027-03"]
    assert (checks[0].ratio, checks[0].difference_wh) == (1.0, 0)
    assert (checks[1].metered_wh, checks[1].ratio) == (None, None)
    assert checks[2].forecast_wh == 297_000


def test_months_before_commissioning_are_refused() -> None:
    with pytest.raises(ProjectInvalid, match="before commissioning"):
        forecast_versus_metered([1] * 12, {"2026-02": 5}, "2026-03")
    with pytest.raises(ProjectInvalid, match="YYYY-MM"):
        forecast_versus_metered([1] * 12, {"spring": 5}, "2026-03")
