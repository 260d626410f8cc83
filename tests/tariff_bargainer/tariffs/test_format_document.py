"""The page that describes the form: its example parses, and no key is left out of it."""

import re
from pathlib import Path

import pytest

from tariff_bargainer.errors import TariffFileError
from tariff_bargainer.tariffs.tariff_file import parse_tariff

PAGE = Path(__file__).parents[3] / "docs" / "formats" / "tariff.md"
SOURCE = Path(__file__).parents[3] / "tariff_bargainer" / "tariffs" / "tariff_file.py"


def test_the_example_of_the_page_is_a_tariff() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    tariff = parse_tariff(example)
    assert [charge.name for charge in tariff.energy] == ["energy", "green premium"]
    with pytest.raises(TariffFileError):
        parse_tariff(example.replace("[[standing]]", "[[standings]]"))


def test_every_key_the_reader_takes_is_on_the_page() -> None:
    taken = set(
        re.findall(r'(?:table|entry|window|index)\.\w+\(\s*"(\w+)"', SOURCE.read_text())
    ) | set(re.findall(r'_single\(table, "(\w+)"\)', SOURCE.read_text()))
    assert len(taken) > 40
    page = PAGE.read_text()
    missing = sorted(key for key in taken if not re.search(rf"\b{key}\b", page))
    assert missing == []
