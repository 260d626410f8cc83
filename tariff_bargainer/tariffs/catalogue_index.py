"""The tariffs that ship with the package, by name."""

from importlib.resources import files

from tariff_bargainer.errors import TariffFileError
from tariff_bargainer.tariffs.tariff import Tariff
from tariff_bargainer.tariffs.tariff_file import parse_tariff

FOLDER = "tariff_bargainer.tariffs.catalogue"
SUFFIX = ".toml"


def catalogue_names() -> list[str]:
    """Names of all entries, in order."""
    return sorted(
        entry.name.removesuffix(SUFFIX)
        for entry in files(FOLDER).iterdir()
        if entry.name.endswith(SUFFIX)
    )


def catalogue_text(name: str) -> str:
    """Text of one entry, in our TOML form.

    Raises:
        TariffFileError: There is no such entry.
    """
    if name not in catalogue_names():
        raise TariffFileError(
            where="the name",
            problem="is not in the catalogue",
            remedy=f"use one of {', '.join(catalogue_names())}",
        )
    return files(FOLDER).joinpath(name + SUFFIX).read_text(encoding="utf-8")


def catalogue_tariff(name: str) -> Tariff:
    """Read one entry.

    Raises:
        TariffFileError: There is no such entry.
    """
    return parse_tariff(catalogue_text(name))
