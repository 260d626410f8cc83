"""Savings: exact, explained in three terms, and the same on every rerun."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tariff_bargainer.errors import InsufficientProfile, MismatchedHomes
from tariff_bargainer.profiles.intervals import LoadProfile
from tariff_bargainer.savings import (
    HighWater,
    above_high_water,
    engine_hash,
    monthly_savings,
    readings_hash,
    saving_terms,
    statement_json,
    true_up,
)
from tariff_bargainer.tariffs.tariff_file import parse_tariff
from tests.tariff_bargainer.bargaining.offer_texts import flat_tariff

JANUARY = datetime(2024, 12, 31, 23, tzinfo=UTC)


def january(wh_per_hour: int) -> LoadProfile:
    return LoadProfile(start=JANUARY, step_s=3600, import_wh=np.full(744, wh_per_hour))


USAGE = {"b": january(500), "a": january(1000)}
OLD = {"a": flat_tariff(0.35), "b": flat_tariff(0.25)}
NEW = {"a": flat_tariff(0.30), "b": flat_tariff(0.30)}


def statement(**changes):
    given_values = {"usage": USAGE, "old_tariffs": OLD, "actual": NEW, **changes}
    return monthly_savings(
        "2025-01",
        given_values.pop("usage"),
        given_values.pop("old_tariffs"),
        given_values.pop("actual"),
        currency="EUR",
        **given_values,
    )


def test_a_saving_is_the_old_tariff_on_actual_use_less_the_actual_bill():
    made = statement()
    # a: 744 kWh x 0.05 = 37.20 saved; b: 372 kWh x -0.05 = 18.60 more.
    assert [(m.member, m.saving_minor) for m in made.members] == [("a", 3720), ("b", -1860)]
    assert made.saving_minor == 1860


def test_an_actual_bill_in_minor_units_is_taken_as_it_is():
    made = statement(actual={"a": 20_000, "b": NEW["b"]})
    assert made.members[0].actual_minor == 20_000
    assert made.members[0].evidence.actual_tariff == ""


def test_a_rerun_gives_the_same_money_and_hashes_bit_for_bit():
    again = {member: replace(profile) for member, profile in USAGE.items()}
    assert statement() == statement(usage=again)
    as_floats = {
        member: replace(profile, import_wh=profile.import_wh.astype(float))
        for member, profile in USAGE.items()
    }
    assert statement().root == statement(usage=as_floats).root


def test_any_change_of_readings_tariff_or_period_changes_the_hash():
    wh = np.array(USAGE["a"].import_wh)
    wh[[3, 4]] += [1, -1]  # The same sum, other readings.
    moved = {**USAGE, "a": replace(USAGE["a"], import_wh=wh)}
    roots = {
        statement().root,
        statement(usage=moved).root,
        statement(old_tariffs={**OLD, "a": flat_tariff(0.3501)}).root,
        monthly_savings("2025-02", USAGE, OLD, NEW, currency="EUR").root,
    }
    assert len(roots) == 4


def test_the_engine_hash_is_stable_within_one_source():
    assert engine_hash() == engine_hash()
    assert statement().members[0].evidence.engine == engine_hash()


def test_export_and_gaps_are_part_of_the_readings():
    plain = january(5)
    assert readings_hash(plain) != readings_hash(replace(plain, export_wh=np.zeros(744)))
    gap = np.zeros(744, dtype=bool)
    gap[0] = True
    assert readings_hash(plain) != readings_hash(replace(plain, missing=gap))


@given(*[st.integers(-(10**7), 10**7)] * 4)
def test_three_terms_sum_exactly_and_the_paid_saving_is_price_plus_interaction(q0o, q0n, q1o, q1n):
    terms = saving_terms(
        reference_old_minor=q0o,
        reference_new_minor=q0n,
        actual_old_minor=q1o,
        actual_new_minor=q1n,
    )
    assert terms.total_minor == q0o - q1n
    assert terms.price_minor + terms.interaction_minor == q1o - q1n


def test_terms_explain_a_known_change():
    made = statement(reference={"a": january(800)})
    terms = made.members[0].terms
    # Reference 595.2 kWh, actual 744 kWh, 0.35 -> 0.30.
    assert (terms.price_minor, terms.usage_minor) == (2976, -5208)
    assert terms.interaction_minor == 744
    assert made.members[1].terms is None


def test_estimated_intervals_are_flagged():
    assert statement(estimated_intervals={"a": 12}).members[0].estimated_intervals == 12


def test_missing_pieces_are_refused():
    with pytest.raises(MismatchedHomes, match="a: has no frozen old tariff"):
        statement(old_tariffs={"b": OLD["b"]})
    with pytest.raises(MismatchedHomes, match="billed in EUR, not in CHF"):
        monthly_savings("2025-01", USAGE, OLD, NEW, currency="CHF")
    wh = np.full(744, 5.0)
    wh[3] = np.nan
    with pytest.raises(InsufficientProfile):
        statement(usage={**USAGE, "a": replace(USAGE["a"], import_wh=wh)})


def test_the_statement_as_json_holds_whole_minor_units():
    found = statement_json(statement())
    assert found["saving_minor"] == 1860
    assert all(isinstance(member["saving_minor"], int) for member in found["members"])
    assert Decimal(found["members"][0]["saving_minor"]) == 3720


@given(st.lists(st.integers(-5000, 5000), max_size=40))
def test_the_fund_shares_only_in_savings_above_the_highest_so_far(months):
    state, shared = HighWater(), []
    for saving in months:
        part, state = above_high_water(state, saving)
        shared.append(part)
        assert 0 <= part <= max(0, saving)
    running = [sum(months[:count]) for count in range(len(months) + 1)]
    assert sum(shared) == max(running)
    assert state.cumulative_minor == running[-1]


def test_a_true_up_is_a_new_entry_that_cites_both_results():
    wh = np.array(USAGE["a"].import_wh)
    wh[0] += 100_000  # 100 kWh more than estimated, at 0.05 saved each.
    later = statement(usage={**USAGE, "a": replace(USAGE["a"], import_wh=wh)})
    (change,) = true_up(statement(), later)
    assert (change.member, change.change_minor) == ("a", 500)
    assert change.later_result == later.members[0].evidence.result
    assert true_up(later, later) == ()
    with pytest.raises(MismatchedHomes):
        true_up(statement(), monthly_savings("2025-02", USAGE, OLD, NEW, currency="EUR"))


def test_a_price_change_in_mid_month_counts_from_its_day():
    change = date(2025, 1, 11)
    before = replace(flat_tariff(0.20, standing=0), effective_to=change)
    after = replace(flat_tariff(0.30, standing=0), effective_from=change)
    made = statement(old_tariffs={**OLD, "a": (before, after)})
    # 10 days at 0.20 and 21 at 0.30, 24 kWh a day.
    assert made.members[0].counterfactual_minor == 4800 + 15_120
    gap = replace(after, effective_from=date(2025, 1, 12))
    with pytest.raises(MismatchedHomes, match="no version follows"):
        statement(old_tariffs={**OLD, "a": (before, gap)})
    twice = replace(after, effective_from=date(2025, 1, 10))
    with pytest.raises(MismatchedHomes, match="overlap"):
        statement(old_tariffs={**OLD, "a": (before, twice)})


def test_equal_versions_bill_like_one_tariff_standing_charge_included():
    parts = (
        replace(OLD["a"], effective_to=date(2025, 1, 8)),
        replace(OLD["a"], effective_from=date(2025, 1, 8)),
    )
    split = statement(old_tariffs={**OLD, "a": parts}).members[0]
    whole = statement().members[0]
    assert split.counterfactual_minor == whole.counterfactual_minor


def test_a_change_in_mid_month_gives_nobody_the_cheap_block_twice():
    blocks = parse_tariff(
        """
format = "commonwatt-tariff/1"
name = "blocks"
currency = "EUR"
timezone = "Europe/Vienna"
[[energy]]
name = "energy"
tiers = [{ upto_kwh = 310, rate_per_kwh = 0.10 }, { rate_per_kwh = 0.40 }]
"""
    )
    change = date(2025, 1, 11)
    parts = (replace(blocks, effective_to=change), replace(blocks, effective_from=change))
    split = statement(old_tariffs={**OLD, "a": parts}).members[0]
    # 24 kWh a day, 744 in January: 310 kWh at 0.10 and 434 at 0.40, however it is cut.
    assert split.counterfactual_minor == 3100 + 17_360
    assert statement(old_tariffs={**OLD, "a": blocks}).members[0].counterfactual_minor == 20_460
