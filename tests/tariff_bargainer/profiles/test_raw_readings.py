"""Readings as they come: what can be mended is, with an account; what needs a guess is a reason."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tariff_bargainer.errors import InvalidProfile
from tariff_bargainer.profiles.raw_readings import TidyReadings, tidy_readings
from tariff_bargainer.profiles.sufficiency import Fault

VIENNA = "Europe/Vienna"


def series(values: list[float], times: list[str] | pd.DatetimeIndex) -> "pd.Series[float]":
    return pd.Series(values, index=pd.DatetimeIndex(times))


def hours(count: int, start: str = "2024-05-01", zone: str | None = "UTC") -> pd.DatetimeIndex:
    return pd.date_range(start, periods=count, freq="h", tz=zone)


def fault_of(tidied: TidyReadings) -> tuple[Fault, str]:
    assert tidied.profile is None
    assert tidied.account is None
    (reason,) = tidied.reasons
    return reason.fault, reason.text


@given(st.integers(0, 10_000))
def test_every_kwh_is_accounted_for(seed):
    rng = np.random.default_rng(seed)
    rows = pd.Series(rng.normal(800, 500, size=200).round(), index=hours(200))
    rows = rows[rng.random(200) > 0.1]
    rows[rng.random(rows.size) < 0.05] = np.nan
    drawn = rng.integers(0, rows.size, size=20)
    wrong = rows.iloc[rng.integers(0, rows.size, size=10)] + 1
    mixed = pd.concat([rows, rows.iloc[drawn], wrong]).sample(frac=1, random_state=seed)
    tidied = tidy_readings("h", mixed, unit="wh", net=True)
    account = tidied.account
    assert account is not None
    assert account.given_wh == pytest.approx(
        account.import_wh - account.export_wh + account.repeated_wh + account.conflicting_wh
    )
    assert account.given_wh == pytest.approx(mixed.sum())
    assert tidied.profile is not None
    assert np.nansum(tidied.profile.import_wh) == pytest.approx(account.import_wh)
    assert tidied.profile.missing_mask.sum() == account.missing


def test_unsorted_and_repeated_rows_are_put_right_and_contradictions_are_missing():
    times = ["2024-05-01T02Z", "2024-05-01T00Z", "2024-05-01T01Z", "2024-05-01T01Z"]
    times += ["2024-05-01T03Z", "2024-05-01T03Z"]
    tidied = tidy_readings("h", series([3, 1, 2, 2, 5, 6], times), unit="kwh")
    assert tidied.profile is not None
    np.testing.assert_array_equal(tidied.profile.import_wh, [1000, 2000, 3000, np.nan])
    account = tidied.account
    assert account is not None
    assert (account.repeated_rows, account.repeated_wh) == (1, 2000)
    assert (account.conflicting_rows, account.conflicting_wh) == (2, 11_000)


def test_a_wall_clock_keeps_its_23_and_25_hours():
    for first, count in (("2024-03-31", 23), ("2024-10-27", 25)):
        there = pd.date_range(first, periods=count, freq="h", tz=VIENNA)
        tidied = tidy_readings(
            "h",
            pd.Series(np.arange(1.0, count + 1), index=there.tz_localize(None)),
            unit="wh",
            timezone=VIENNA,
        )
        assert tidied.profile is not None
        assert tidied.profile.import_wh.tolist() == list(range(1, count + 1))
        assert tidied.profile.start == there[0].to_pydatetime()


def test_a_meter_on_winter_time_is_noticed_and_read_with_its_offset():
    rows = pd.Series(1.0, index=hours(24, "2024-03-31", zone=None))
    fault, text = fault_of(tidy_readings("h", rows, unit="wh", timezone=VIENNA))
    assert fault == Fault.CLOCK
    assert "UTC+01:00" in text
    right = tidy_readings("h", rows, unit="wh", timezone="UTC+01:00")
    assert right.profile is not None
    assert right.profile.start.isoformat() == "2024-03-30T23:00:00+00:00"


def test_ten_minutes_of_mean_power_become_energy():
    index = pd.date_range("2024-05-01", periods=6, freq="10min", tz="UTC")
    tidied = tidy_readings("h", pd.Series(6.0, index=index), unit="kw")
    assert tidied.profile is not None
    assert tidied.profile.step_s == 600
    assert tidied.profile.import_wh.sum() == pytest.approx(6000)


def test_a_time_at_the_end_of_its_interval_is_moved_to_the_start():
    tidied = tidy_readings(
        "h", pd.Series(1.0, index=hours(3, "2024-05-01T01:00")), unit="wh", labelled="end"
    )
    assert tidied.profile is not None
    assert tidied.profile.start.isoformat() == "2024-05-01T00:00:00+00:00"


def test_export_mixed_in_is_a_reason_or_gets_its_own_column():
    rows = pd.Series([500.0, -200.0, 0.0, np.nan], index=hours(4))
    fault, text = fault_of(tidy_readings("h7", rows, unit="wh"))
    assert fault == Fault.NEGATIVE
    assert text.startswith("h7: 1 readings are below zero, first at 2024-05-01T01:00:00+00:00")
    profile = tidy_readings("h7", rows, unit="wh", net=True).profile
    assert profile is not None
    np.testing.assert_array_equal(profile.import_wh, [500, 0, 0, np.nan])
    np.testing.assert_array_equal(profile.export_wh, [0, 200, 0, np.nan])


@pytest.mark.parametrize(
    ("rows", "fault", "says"),
    [
        (pd.Series(1.0, index=hours(9, zone=None)), Fault.NO_ZONE, "which zone's clock"),
        (pd.Series(["1,5", "2"], index=hours(2)), Fault.NOT_NUMBERS, "'1,5' is no number"),
        (pd.Series([True, False], index=hours(2)), Fault.NOT_NUMBERS, "true or false"),
        (pd.Series([1.0, np.inf], index=hours(2)), Fault.NOT_NUMBERS, "infinite"),
        (pd.Series([1.0], index=hours(1)), Fault.TOO_SHORT, "1 rows"),
        (pd.Series([], dtype=float, index=hours(0)), Fault.TOO_SHORT, "0 rows"),
        (pd.Series([1.0, 2.0]), Fault.CLOCK, "no times"),
        (series([1, 2, 3], ["2024-05-01T00Z", "NaT", "2024-05-01T01Z"]), Fault.CLOCK, "no time"),
        (
            pd.Series(1.0, index=pd.date_range("2024", periods=9, freq="7min", tz="UTC")),
            Fault.IRREGULAR,
            "420 s does not divide a day",
        ),
        (
            series(
                [1, 2, 3, 4],
                ["2024-05-01T00Z", "2024-05-01T01Z", "2024-05-01T02Z", "2024-05-01T02:20Z"],
            ),
            Fault.IRREGULAR,
            "does not fit the step",
        ),
        (series([1, 2, 3], ["2024-05-01T00Z"] * 3), Fault.IRREGULAR, "all rows have the same"),
        (
            pd.Series(1.0, index=hours(9) + pd.to_timedelta([0, 7, 1, 5, 9, 2, 3, 8, 4], unit="s")),
            Fault.IRREGULAR,
            "no usual step",
        ),
        (
            pd.Series(
                1.0,
                index=[
                    pd.Timestamp("1970-01-01T00:00:00Z"),
                    pd.Timestamp("1970-01-01T00:00:01Z"),
                    pd.Timestamp("1970-01-01T00:00:02Z"),
                    pd.Timestamp("2024-01-01T00:00:00Z"),
                ],
            ),
            Fault.IRREGULAR,
            "check the years",
        ),
    ],
)
def test_what_needs_a_guess_is_a_reason(rows, fault, says):
    found, text = fault_of(tidy_readings("h", rows, unit="wh"))
    assert found == fault
    assert says in text
    assert "\n" not in text


def test_a_wrong_call_is_one_clear_error():
    rows = pd.Series(1.0, index=hours(3))
    with pytest.raises(InvalidProfile, match="one Series"):
        tidy_readings("h", rows.to_frame(), unit="wh")
    with pytest.raises(InvalidProfile, match="'MJ' is not known"):
        tidy_readings("h", rows, unit="MJ")
    with pytest.raises(InvalidProfile, match="labelled"):
        tidy_readings("h", rows, unit="wh", labelled="middle")
    with pytest.raises(InvalidProfile, match="time zone"):
        tidy_readings("h", rows.tz_localize(None), unit="wh", timezone="Mars/Olympus")
