"""The tender pack: complete, consistent, and impossible below the privacy floor."""

import csv
import json
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO

import numpy as np
import pytest

from tariff_bargainer.bargaining.auction_rules import AuctionRules, Lot, Weights
from tariff_bargainer.bargaining.offer_file import parse_offer
from tariff_bargainer.bargaining.tender_pack import OFFER_SCHEMA, make_tender_pack
from tariff_bargainer.errors import NegotiationFault, OfferFileError
from tariff_bargainer.profiles.load_profile import typical_day_profile
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
