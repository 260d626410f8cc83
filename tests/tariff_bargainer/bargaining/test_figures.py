"""Figures: well-formed SVG whose marks agree with the numbers."""

from xml.etree import ElementTree as ET

import numpy as np
import pytest

from tariff_bargainer.bargaining.offers import Mandate, evaluate_offer
from tariff_bargainer.bargaining.supplier_cost import FloorAssumptions, estimate_floor
from tariff_bargainer.errors import InvalidProfile
from tariff_bargainer.figures import (
    GAIN,
    LINE,
    LOSS,
    carpet_figure,
    load_duration_figure,
    waterfall_figure,
    winners_and_losers_figure,
)
from tariff_bargainer.profiles.intervals import LoadProfile
from tests.tariff_bargainer.bargaining.offer_texts import flat_offer, flat_tariff
from tests.tariff_bargainer.bargaining.street import START, hourly_homes, pool, spot_per_mwh

SVG = "{http://www.w3.org/2000/svg}"


def marks(figure, kind: str) -> list[ET.Element]:
    root = ET.fromstring(figure._repr_svg_())  # noqa: S314 - made by ourselves
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text == figure.text
    return root.findall(f"{SVG}{kind}")


def test_the_waterfall_has_a_bar_per_line_and_one_for_the_total():
    homes = hourly_homes(10, days=60)
    floor = estimate_floor(
        pool(homes),
        spot_per_mwh(60 * 24),
        currency="EUR",
        timezone="UTC",
        meters=10,
        assumptions=FloorAssumptions(margin_per_kwh=0.01),
    )
    shown = [line for line in floor.lines if line.amount]
    assert len(marks(waterfall_figure(floor), "rect")) == len(shown) + 1


def test_winners_and_losers_are_coloured_by_their_side_of_zero():
    homes = hourly_homes(30, days=60)
    own = {home: flat_tariff(0.24 + 0.004 * place) for place, home in enumerate(homes)}
    made = evaluate_offer(flat_offer(0.28), homes, own, Mandate())
    assert made.winners
    assert made.losers
    bars = marks(winners_and_losers_figure(made), "rect")
    counts = [int(bar.find(f"{SVG}title").text.split()[0]) for bar in bars]
    losing = [bar.get("fill") != bars[0].get("fill") for bar in bars]
    assert sum(counts) == 30
    assert sum(c for c, loses in zip(counts, losing, strict=True) if loses) == made.losers


def test_the_carpet_has_a_cell_per_hour_and_gaps_stay_blank():
    energy = np.full(24 * 10, 500.0)
    energy[30:35] = np.nan
    carpet = carpet_figure(LoadProfile(start=START, step_s=3600, import_wh=energy), "UTC")
    assert len(marks(carpet, "rect")) == 24 * 10 - 5


def test_the_load_duration_falls_from_left_to_right():
    home = hourly_homes(1, days=30)["home-000"]
    (line,) = marks(load_duration_figure(home), "polyline")
    heights = [float(point.split(",")[1]) for point in line.get("points").split()]
    assert heights == sorted(heights)
    with pytest.raises(InvalidProfile, match="nothing to draw"):
        load_duration_figure(LoadProfile(start=START, step_s=3600, import_wh=np.full(3, np.nan)))


def test_names_from_suppliers_cannot_break_out_of_the_figure():
    homes = hourly_homes(2, days=30)
    own = dict.fromkeys(homes, flat_tariff(0.3))
    offer = flat_offer(0.2, supplier="<script>alert(1)</script>")
    figure = winners_and_losers_figure(evaluate_offer(offer, homes, own, Mandate()))
    assert "<script" not in figure.svg


def lightness(colour: str) -> float:
    """CIE L* of an sRGB colour."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    luminance = float(np.dot([0.2126, 0.7152, 0.0722], linear))
    return 116 * luminance ** (1 / 3) - 16


def test_a_gain_and_a_loss_differ_in_grey_too():
    assert lightness(GAIN) - lightness(LOSS) > 25
    assert max(lightness(LINE), lightness(LOSS)) < 50, "words on white need dark colours"


def test_axes_carry_their_units():
    homes = hourly_homes(3, days=70)
    load = load_duration_figure(pool(homes))
    words = [mark.text for mark in marks(load, "text")]
    assert any(word.endswith(" kW") for word in words)
    assert "100% of the time" in words
    months = [mark.text for mark in marks(carpet_figure(pool(homes), "UTC"), "text")]
    assert "02" in months


def test_a_waterfalls_small_amounts_add_up_as_they_are_read():
    floor = estimate_floor(
        pool(hourly_homes(2, days=40)),
        spot_per_mwh(40 * 24),
        currency="EUR",
        timezone="UTC",
        meters=2,
        assumptions=FloorAssumptions(margin_per_kwh=0.01),
    )
    words = [mark.text.replace(",", "") for mark in marks(waterfall_figure(floor), "text")]
    amounts = [float(word) for word in words if word.replace(".", "").lstrip("-").isdigit()]
    assert sum(amounts[:-1]) == pytest.approx(amounts[-1], abs=0.005 * len(amounts))
