"""Tariffs and offers as their files would say them, built from a few numbers."""

from tariff_bargainer.bargaining.offer_file import parse_offer
from tariff_bargainer.bargaining.offers import Offer
from tariff_bargainer.tariffs.tariff import Tariff
from tariff_bargainer.tariffs.tariff_file import parse_tariff


def flat_tariff(rate: float, *, standing: float = 8, name: str = "flat") -> Tariff:
    return parse_tariff(
        'format = "commonwatt-tariff/1"\n' + _body(rate, standing=standing, name=name, at="")
    )


def offer_text(rate: float, *, standing: float = 8, supplier: str = "Nordwind", **keys: str) -> str:
    head = {
        "format": '"commonwatt-offer/1"',
        "supplier": f'"{supplier}"',
        "term_months": "24",
        "green_share": "1.0",
        **keys,
    }
    lines = [f"{key} = {text}" for key, text in head.items()]
    return "\n".join(
        [*lines, "[tariff]", _body(rate, standing=standing, name="Fixed", at="tariff.")]
    )


def flat_offer(rate: float, *, standing: float = 8, supplier: str = "Nordwind") -> Offer:
    return parse_offer(offer_text(rate, standing=standing, supplier=supplier))


def _body(rate: float, *, standing: float, name: str, at: str) -> str:
    return f"""
name = "{name}"
currency = "EUR"
timezone = "Europe/Vienna"
[[{at}energy]]
name = "energy"
rate_per_kwh = {rate}
[[{at}standing]]
name = "standing charge"
amount = {standing}
per = "month"
"""
