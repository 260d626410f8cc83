"""JSON text of a tariff file to values, with exact decimals."""

import json
from decimal import Decimal
from typing import Any

from tariff_bargainer.errors import TariffFileError


def parse_json(text: str) -> Any:
    """Parse JSON text; numbers with a point become `Decimal`.

    Raises:
        TariffFileError: The text is not JSON, or holds NaN or infinities.
    """
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError) as broken:
        raise TariffFileError(
            where="the file", problem=f"is not JSON: {broken}", remedy="save the rate as JSON"
        ) from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of a rate")
