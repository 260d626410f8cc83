"""Offer and mandate files: read exactly, refused with the key and the remedy."""

import json
import tomllib
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tariff_bargainer.bargaining.offer_file import (
    mandate_from_table,
    parse_offer,
    read_floor_assumptions,
    read_mandate,
    read_offer,
)
from tariff_bargainer.errors import OfferFileError
from tests.tariff_bargainer.bargaining.offer_texts import offer_text


def test_an_offer_is_read_whole():
    offer = parse_offer(
        offer_text(
            0.279,
            id='"nordwind-24"',
            valid_until="2026-12-01T17:00:00+01:00",
            conditions='["at least 300 homes"]',
        )
    )
    assert (offer.offer_id, offer.supplier, offer.term_months) == ("nordwind-24", "Nordwind", 24)
    assert offer.green_share == 1
    assert offer.valid_until == datetime(2026, 12, 1, 16, tzinfo=UTC)
    assert offer.conditions == ("at least 300 homes",)
    assert offer.tariff.energy[0].periods[0].tiers[0].rate == Decimal("0.279")
    assert offer.tariff.supplier == "Nordwind"


def test_json_and_toml_say_the_same():
    text = offer_text(0.279, valid_until='"2026-12-01T17:00:00+01:00"')
    as_json = json.dumps(tomllib.loads(text))
    assert parse_offer(as_json, form="json") == parse_offer(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (offer_text(0.3, term_months="0"), "term_months: is 0; write 1 to 240"),
        (offer_text(0.3, green_share="1.2"), "green_share: is 1.2; write a share"),
        (offer_text(0.3, green_shar="1.0"), "did you mean green_share"),
        (offer_text(0.3, valid_until="2026-12-01T17:00:00"), "valid_until: has no time"),
        (offer_text(0.3, valid_until='"soon"'), "valid_until: is 'soon'"),
        (offer_text(0.3, format='"commonwatt-offer/9"'), "format: is 'commonwatt-offer/9'"),
        (offer_text(0.3, conditions="[7]"), r"conditions\[0\]"),
        (offer_text(0.3).replace("rate_per_kwh = 0.3", "rate_per_kwh = true"), "tariff.energy"),
        (offer_text(0.3).split("[tariff]")[0], "tariff: is missing"),
        ("format = ", "is not TOML"),
        ("", "format: is missing"),
    ],
)
def test_a_broken_offer_names_the_place_and_the_remedy(text, says):
    with pytest.raises(OfferFileError, match=says):
        parse_offer(text)


@pytest.mark.parametrize("text", ["[1]", '{"format": NaN}', "{", "[" * 100_000])
def test_broken_json_is_refused(text):
    with pytest.raises(OfferFileError):
        parse_offer(text, form="json")


def test_a_mandate_is_read_in_minor_units():
    mandate = mandate_from_table(
        {
            "format": "commonwatt-mandate/1",
            "currency": "EUR",
            "saving_share_min": Decimal("0.04"),
            "losers_share_max": Decimal("0.03"),
            "loss_limit": 40,
        }
    )
    assert mandate.loss_limit_minor == 4000
    assert mandate.losers_share_max == Decimal("0.03")
    with pytest.raises(OfferFileError, match="loss_limit: is -1"):
        mandate_from_table({"format": "commonwatt-mandate/1", "currency": "EUR", "loss_limit": -1})


def test_files_are_read_by_their_ending_and_faults_name_the_file_or_the_key(tmp_path):
    good = tmp_path / "offer.toml"
    good.write_text(offer_text(0.3))
    assert read_offer(good).supplier == "Nordwind"
    latin = tmp_path / "latin.toml"
    latin.write_bytes("supplier = 'Stra\xdfe'".encode("latin-1"))
    with pytest.raises(OfferFileError, match="UTF-8"):
        read_offer(latin)
    with pytest.raises(OfferFileError, match="No such file"):
        read_mandate(tmp_path / "absent.toml")
    floor = tmp_path / "floor.toml"
    floor.write_text('format = "commonwatt-floor/1"\nrisk_weight = 0.5\nscenarios = 100\n')
    assert read_floor_assumptions(floor)[0].risk_weight == 0.5
    floor.write_text('format = "commonwatt-floor/1"\nrisk_weight = -0.5\n')
    with pytest.raises(OfferFileError, match="risk_weight"):
        read_floor_assumptions(floor)
