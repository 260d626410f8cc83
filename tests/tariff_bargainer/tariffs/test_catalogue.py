import pytest

from tariff_bargainer.errors import TariffFileError
from tariff_bargainer.tariffs.catalogue_index import catalogue_names, catalogue_tariff


@pytest.mark.parametrize("name", catalogue_names())
def test_every_entry_says_where_and_when_it_is_from(name: str) -> None:
    entry = catalogue_tariff(name)
    assert entry.source
    assert entry.source_date
    assert name.endswith("_example") == entry.source.startswith("made up for examples")


def test_unknown_entry_names_the_known_ones() -> None:
    with pytest.raises(TariffFileError, match="flat_example"):
        catalogue_tariff("../../secrets")
