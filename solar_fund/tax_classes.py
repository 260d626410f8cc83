"""Tax classes as data: what is withheld from which kind of income, where. No advice."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from solar_fund.errors import InputFileInvalid

SHIPPED = Path(__file__).with_name("tax_classes.toml")
FILE_BYTES_MAX = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxClass:
    """One rule.

    Attributes:
        jurisdiction: Code of ISO 3166, maybe with a subdivision.
        income: Kind of income, such as `interest` or `in-kind-saving`.
        withholding_rate: Share withheld, from 0 to 1.
        source: Where the rule was read.
    """

    jurisdiction: str
    income: str
    withholding_rate: Decimal
    source: str


def read_tax_classes(path: Path = SHIPPED) -> tuple[TaxClass, ...]:
    """Read rules from a TOML file.

    Raises:
        InputFileInvalid: The file is missing or a rule is incomplete; it names the rule.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InputFileInvalid(str(path), "", f"it is larger than {FILE_BYTES_MAX} bytes")
        rules = tomllib.loads(path.read_text(encoding="utf-8")).get("class", [])
    except OSError as error:
        raise InputFileInvalid(str(path), "", f"cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputFileInvalid(str(path), "", f"the file is no TOML: {error}") from None
    return tuple(_class(path, number, rule) for number, rule in enumerate(rules, start=1))


def withholding_rate(classes: Sequence[TaxClass], jurisdiction: str, income: str) -> Decimal | None:
    """The share withheld; None when no rule is listed, which the statement must say."""
    for tax_class in classes:
        if (tax_class.jurisdiction, tax_class.income) == (jurisdiction, income):
            return tax_class.withholding_rate
    return None


def _class(path: Path, number: int, rule: object) -> TaxClass:
    place = f"class {number}"
    names = ("jurisdiction", "income", "withholding_rate", "source")
    if not isinstance(rule, dict) or set(rule) != set(names):
        raise InputFileInvalid(str(path), place, f"it must have exactly {', '.join(names)}")
    if not all(isinstance(rule[name], str) and rule[name] for name in names):
        raise InputFileInvalid(str(path), place, 'write every value as text, such as "0.19"')
    try:
        rate = Decimal(rule["withholding_rate"])
    except InvalidOperation:
        rate = Decimal("NaN")
    if not (rate.is_finite() and 0 <= rate <= 1):
        raise InputFileInvalid(str(path), place, "withholding_rate must be from 0 to 1")
    return TaxClass(
        jurisdiction=rule["jurisdiction"],
        income=rule["income"],
        withholding_rate=rate,
        source=rule["source"],
    )
