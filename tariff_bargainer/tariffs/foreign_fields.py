"""Faults of a tariff read from a foreign form, told by the names of that form."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tariff_bargainer.errors import TariffFileError, UnsupportedRate


@contextmanager
def told_by(fields: Mapping[str, str]) -> Iterator[None]:
    """Tell a fault of the tariff that is being made by the field it was read from.

    Args:
        fields: Fields of the foreign form by the beginning of our own key.

    Raises:
        UnsupportedRate: The tariff contradicts itself in one of these.
    """
    try:
        yield
    except TariffFileError as fault:
        for own, foreign in fields.items():
            if fault.where.startswith(own):
                raise UnsupportedRate(
                    field=foreign,
                    problem=fault.problem,
                    remedy="each time of the year needs one price",
                ) from None
        raise
