"""The tender pack: complete, consistent, and impossible below the privacy floor."""

import csv
import json
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO

import numpy as np
import pandas as pd
import pytest

from tariff_bargainer.bargaining.auction_rules import AuctionRules, Lot, Weights
from tariff_bargainer.bargaining.offer_file import parse_offer
from tariff_bargainer.bargaining.tender_pack import OFFER_SCHEMA, make_tender_pack
from tariff_bargainer.errors import NegotiationFault, OfferFileError
from tariff_bargainer.profiles.load_profile import home_cells, typical_day_profile
from tests.tariff_bargainer.bargaining.offer_texts import offer_text
from tests.tariff_bargainer.bargaining.street import START

RULES = AuctionRules(
    tender="2027-A <b>",
    currency="EUR",
    lots=(Lot(lot_id="fixed-24", term_months=24),),
    weights=Weights(green_minor_per_year=900_000),
    reserve_minor=51_200_000,
    rule="second-score",
    opens_at=datetime(2026, 11, 2, 8, tzinfo=UTC),
    closes_at=datetime(2026, 11, 16, 17, tzinfo=UTC),
)


def released(homes: int):
    rng = np.random.default_rng(2)
    return typical_day_profile(
        rng.integers(300, 600, size=(homes, 24 * 60)),
        start=START,
        step_s=3600,
        timezone="Europe/Vienna",
    )


def test_json_csv_and_html_say_the_same():
    load = released(120)
    pack = make_tender_pack(RULES, load, issuer="Harbour Lane Energy")
    facts = json.loads(pack.json_text)
    rows = list(csv.DictReader(StringIO(pack.csv_text)))
    assert len(rows) == len(facts["load"]) == int((load.hours > 0).sum())
    total_kwh = sum(float(row["energy_kwh"]) for row in rows)
    assert total_kwh == pytest.approx(load.energy_wh.sum() / 1000)
    assert f"{total_kwh / 1000:,.1f} MWh" in pack.html_text
    assert facts["closes_at"] == "2026-11-16T17:00:00+00:00"
    assert "16 November 2026" in pack.html_text
    assert "EUR 512,000.00" in pack.html_text


def test_the_pack_names_the_hash_that_the_result_repeats():
    pack = make_tender_pack(RULES, released(120), issuer="x", fixed_hash="ab12")
    assert json.loads(pack.json_text)["rules_hash"] == "ab12"
    assert "<code>ab12</code>" in pack.html_text
    assert "Hash of these rules" not in make_tender_pack(RULES, released(120), issuer="x").html_text


def test_names_are_escaped_in_the_page():
    pack = make_tender_pack(RULES, released(120), issuer="<script>")
    assert "<script" not in pack.html_text
    assert "2027-A &lt;b&gt;" in pack.html_text


def test_no_single_home_can_be_read_from_the_pack():
    pack = make_tender_pack(RULES, released(120), issuer="Harbour Lane Energy")
    assert set(json.loads(pack.json_text)["load"][0]) == {
        "month", "day_type", "hour", "energy_kwh", "hours",
    }  # fmt: skip


def test_too_few_homes_or_a_dominant_one_make_no_pack():
    with pytest.raises(NegotiationFault, match="99 homes"):
        make_tender_pack(RULES, released(99), issuer="x")
    load = released(120)
    share = load.top_share.copy()
    share[0, 0, 5] = 0.16
    with pytest.raises(NegotiationFault, match="16% of a cell"):
        make_tender_pack(RULES, replace(load, top_share=share), issuer="x")


def test_the_schema_names_exactly_the_keys_that_are_read():
    parse_offer(offer_text(0.3, id='"a"', valid_until='"2026-12-01T00:00:00Z"', conditions='["b"]'))
    for key in OFFER_SCHEMA["required"]:
        text = "\n".join(
            line
            for line in offer_text(0.3).split("\n")
            if not line.startswith((f"{key} ", f"[{key}]"))
        )
        with pytest.raises(OfferFileError):
            parse_offer(text)
    used = {"format", "id", "supplier", "term_months", "green_share", "valid_until", "conditions"}
    assert set(OFFER_SCHEMA["properties"]) == used | {"tariff"}


@pytest.mark.parametrize(
    ("evening_share", "step", "rows"),
    [(0.0, "month-hour", 576), (0.4, "season-hour", 192), (2.0, "season-block", 32)],
)
def test_the_pack_gives_the_finest_step_at_which_no_home_stands_out(evening_share, step, rows):
    """One home uses much in one hour of January evenings, as a share of what all use then."""
    rng = np.random.default_rng(5)
    use = rng.integers(300, 600, size=(120, 24 * 365)).astype(float)
    local = pd.date_range(START, periods=24 * 365, freq="h").tz_convert("Europe/Vienna")
    peak = (local.month == 1) & (local.hour == 18)
    use[0, peak] += evening_share * use[:, peak].sum(axis=0)
    given = {"start": START, "step_s": 3600, "timezone": "Europe/Vienna"}
    load = typical_day_profile(use, **given)
    pack = make_tender_pack(RULES, load, issuer="x", home_cells_wh=home_cells(use, **given))
    facts = json.loads(pack.json_text)
    assert facts["load_step"] == step
    assert len(facts["load"]) == len(pack.csv_text.splitlines()) - 1 == rows
    assert sum(row["energy_kwh"] for row in facts["load"]) == pytest.approx(use.sum() / 1000)
    assert ("Finer steps do not pass" in pack.html_text) == (step != "month-hour")
    assert "makes" not in pack.json_text, "how far a home stands out is not told"


def test_a_group_that_is_too_small_at_every_step_makes_no_pack():
    rng = np.random.default_rng(5)
    use = rng.integers(300, 600, size=(60, 24 * 60)).astype(float)
    given = {"start": START, "step_s": 3600, "timezone": "Europe/Vienna"}
    with pytest.raises(NegotiationFault, match="year-daytype: a cell of the load holds 60 homes"):
        make_tender_pack(
            RULES,
            typical_day_profile(use, **given),
            issuer="x",
            home_cells_wh=home_cells(use, **given),
        )
