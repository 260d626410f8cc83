from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from tariff_bargainer.errors import TariffFileError
from tariff_bargainer.tariffs.tariff_file import FILE_BYTES_MAX, parse_tariff, read_tariff

HEAD = 'format = "commonwatt-tariff/1"\nname = "t"\ncurrency = "EUR"\ntimezone = "Europe/Paris"\n'
FLAT = "[[energy]]\nrate_per_kwh = 0.25\n"


def test_rates_are_exact_decimals() -> None:
    tariff = parse_tariff(HEAD + FLAT)
    assert tariff.energy[0].periods[0].tiers[0].rate == Decimal("0.25")
    assert tariff.metering == "none"


def test_equal_rules_have_equal_hashes_and_other_rules_have_others() -> None:
    tariff = parse_tariff(HEAD + FLAT)
    assert tariff.content_hash == parse_tariff(HEAD + FLAT.replace("0.25", "0.2500")).content_hash
    assert tariff.content_hash != parse_tariff(HEAD + FLAT.replace("0.25", "0.26")).content_hash
    assert tariff.content_hash != replace(tariff, effective_from=date(2024, 1, 1)).content_hash


def test_an_export_section_makes_net_billing_the_default() -> None:
    assert parse_tariff(HEAD + FLAT + "[[export]]\nrate_per_kwh = 0.1\n").metering == "net-billing"


FAULTS = {
    "not TOML": ("name = ", "the file: is not TOML"),
    "no format": ("", "format: is missing"),
    "other format": ('format = "x"', "format: is 'x'"),
    "unknown key": (HEAD + "rate = 1\n", "rate: is not a known key"),
    "misspelt key": (HEAD + "[[energy]]\nrate_per_khw = 1\n", "instead of rate_per_khw"),
    "misspelt table": (HEAD + "[[enery]]\nrate_per_kwh = 1\n", "did you mean energy"),
    "no number": (HEAD + '[[energy]]\nrate_per_kwh = "dear"\n', r"energy\[0\].rate_per_kwh"),
    "huge number": (HEAD + "[[energy]]\nrate_per_kwh = 1e99\n", "too large"),
    "tiny exponent": (HEAD + "[[energy]]\nrate_per_kwh = 1e-999999\n", "too long"),
    "flag as number": (HEAD + "[[energy]]\nrate_per_kwh = true\n", "no number"),
    "currency": (HEAD.replace("EUR", "Euro") + FLAT, "currency: 'Euro'"),
    "zone": (HEAD.replace("Europe/Paris", "Paris") + FLAT, "timezone: time zone 'Paris'"),
    "gap": (
        HEAD + '[[energy]]\n[[energy.periods]]\nname = "a"\nrate_per_kwh = 1\n'
        'windows = [{ from = "06:00", to = "22:00" }]\n',
        r"energy\[0\].periods: no period covers mon 00:00",
    ),
    "overlap": (
        HEAD + '[[energy]]\n[[energy.periods]]\nname = "a"\nrate_per_kwh = 1\n'
        'windows = [{ from = "06:00", to = "22:00" }]\n'
        '[[energy.periods]]\nname = "b"\nrate_per_kwh = 1\nwindows = [{ to = "07:00" }]\n',
        "two periods claim mon 06:00",
    ),
    "two rests": (
        HEAD + '[[energy]]\n[[energy.periods]]\nname = "a"\nrate_per_kwh = 1\n'
        '[[energy.periods]]\nname = "b"\nrate_per_kwh = 1\n',
        "only one may hold at all other times",
    ),
    "falling blocks": (
        HEAD + "[[energy]]\ntiers = [{ upto_kwh = 9, rate_per_kwh = 1 }, "
        "{ upto_kwh = 8, rate_per_kwh = 1 }, { rate_per_kwh = 2 }]\n",
        "below the one before it",
    ),
    "open block first": (
        HEAD + "[[energy]]\ntiers = [{ rate_per_kwh = 1 }, { rate_per_kwh = 2 }]\n",
        "has an open block before the last",
    ),
    "ratchet by month and for all": (
        HEAD + "[[demand]]\nrate_per_kw = 1\nratchet = { percent = 5, percent_by_month = [5] }\n",
        "stands beside percent_by_month",
    ),
    "ratchet of eleven months": (
        HEAD + f"[[demand]]\nrate_per_kw = 1\nratchet = {{ percent_by_month = {[5] * 11} }}\n",
        "has 11 entries",
    ),
    "rate beside tiers": (
        HEAD + "[[energy]]\nrate_per_kwh = 1\ntiers = [{ rate_per_kwh = 1 }]\n",
        "stands beside tiers",
    ),
    "clock": (
        HEAD + '[[energy]]\n[[energy.periods]]\nname = "a"\nrate_per_kwh = 1\n'
        'windows = [{ from = "25:00" }]\n',
        r"windows\[0\].from: is '25:00'",
    ),
    "season": (
        HEAD + '[[energy]]\n[[energy.periods]]\nname = "a"\nrate_per_kwh = 1\n'
        'windows = [{ season = "02-30..03-01" }]\n',
        "no day 02-30",
    ),
    "holiday": (HEAD + 'holidays = ["13-01"]\n' + FLAT, r"holidays\[0\]"),
    "window": (HEAD + "[[demand]]\nrate_per_kw = 1\nwindow_min = 7\n", "window_min: is 7"),
    "dates": (
        HEAD + "effective_from = 2024-01-01\neffective_to = 2024-01-01\n" + FLAT,
        "effective_to: is not after",
    ),
    "peaks": (HEAD + 'system_peaks = ["2024-01-01T10:00:00"]\n' + FLAT, r"system_peaks\[0\]"),
    "cap": (
        HEAD + '[[energy]]\n[energy.index]\nseries = "s"\ncap_per_kwh = 0\nfloor_per_kwh = 1\n',
        "floor above its cap",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_name_the_key_and_the_remedy(fault: str) -> None:
    text, message = FAULTS[fault]
    with pytest.raises(TariffFileError, match=message) as caught:
        parse_tariff(text)
    assert caught.value.where
    assert caught.value.remedy


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TariffFileError, match="cannot be read"):
        read_tariff(tmp_path / "absent.toml")
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    with pytest.raises(TariffFileError, match="bytes"):
        read_tariff(large)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xff")
    with pytest.raises(TariffFileError, match="UTF-8"):
        read_tariff(binary)
