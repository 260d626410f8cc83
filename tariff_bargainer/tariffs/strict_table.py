"""Reading a table of a TOML or JSON file strictly: every key is known, every value has its type."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any, TypeVar

from tariff_bargainer.errors import TariffFileError

Choice = TypeVar("Choice", bound=str)
ENTRIES_MAX = 4_096
TEXT_CHARS_MAX = 2_000
NUMBER_MAX = Decimal("1e12")
PLACES_MAX = 30


class StrictTable:
    """One table, whose keys are taken one by one; whatever is left at the end is refused."""

    def __init__(self, table: Any, where: str) -> None:
        if not isinstance(table, dict):
            raise TariffFileError(
                where=where or "the file", problem="is not a table", remedy="write keys and values"
            )
        self._left: dict[str, Any] = dict(table)
        self._asked: list[str] = []
        self._where = where

    def path(self, key: str) -> str:
        """Where a key stands in the file."""
        return f"{self._where}.{key}" if self._where else key

    def fault(self, key: str, problem: str, remedy: str) -> TariffFileError:
        """Make the error for a key of this table."""
        return TariffFileError(where=self.path(key), problem=problem, remedy=remedy)

    def missing(self, key: str, expected: str) -> TariffFileError:
        """Make the error for an absent key, with the misspelling that may stand in its place."""
        close = get_close_matches(key, [str(left) for left in self._left], n=1)
        meant = f" instead of {close[0]}" if close else ""
        return self.fault(key, "is missing", f"write {key} as {expected}{meant}")

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def keys(self) -> set[str]:
        """Keys that were not taken yet."""
        return set(self._left)

    def take(self, key: str) -> Any:
        """Take a value of any type, or None when the key is absent."""
        self._asked.append(key)
        return self._left.pop(key, None)

    def look(self, key: str) -> Any:
        """Look at a value without taking it; None when the key is absent."""
        return self._left.get(key)

    def text(self, key: str, default: str | None = None) -> str:
        """Take a text; without a default the key must be there."""
        found = self.take(key)
        if found is None and default is not None:
            return default
        if found is None:
            raise self.missing(key, "text")
        if not isinstance(found, str) or len(found) > TEXT_CHARS_MAX:
            raise self.fault(
                key,
                "is no text, or too long",
                f"write {key} as text of at most {TEXT_CHARS_MAX} characters",
            )
        return found

    def choice(self, key: str, choices: Sequence[Choice], default: Choice) -> Choice:
        """Take one of a few words."""
        found = self.text(key, default)
        for word in choices:
            if word == found:
                return word
        raise self.fault(key, f"is {found!r}", f"write one of {', '.join(choices)}")

    def choice_or_none(self, key: str, choices: Sequence[Choice]) -> Choice | None:
        """Take one of a few words, or None when the key is absent or null."""
        if self._left.get(key) is None:
            self.take(key)
            return None
        return self.choice(key, choices, choices[0])

    def flag(self, key: str) -> bool:
        """Take true or false; false when absent."""
        found = self.take(key)
        if found is None or isinstance(found, bool):
            return bool(found)
        raise self.fault(key, "is neither true nor false", "write true or false")

    def optional_decimal(self, key: str) -> Decimal | None:
        """Take a number, or None when the key is absent."""
        found = self.take(key)
        return None if found is None else self._decimal(key, found)

    def decimal(self, key: str, default: Decimal | None = None) -> Decimal:
        """Take a number; without a default the key must be there."""
        found = self.optional_decimal(key)
        if found is not None:
            return found
        if default is None:
            raise self.missing(key, "a number")
        return default

    def optional_limit(self, key: str, open_from: Decimal) -> Decimal | None:
        """Take an upper end; absent, and as large as `open_from`, both mean none."""
        found = self._left.get(key)
        if isinstance(found, (int, float, Decimal)) and found >= open_from:
            self.take(key)
            return None
        return self.optional_decimal(key)

    def _decimal(self, key: str, found: Any) -> Decimal:
        usable = isinstance(found, (int, float, str, Decimal)) and not isinstance(found, bool)
        try:
            number = Decimal(str(found)) if usable else None
        except InvalidOperation:
            number = None
        if number is None or not number.is_finite():
            raise self.fault(key, f"is {found!r}, no number", "write a decimal number")
        exponent = number.as_tuple().exponent
        if abs(number) > NUMBER_MAX or (isinstance(exponent, int) and -exponent > PLACES_MAX):
            raise self.fault(
                key,
                f"is {found}, too large or too long",
                f"write at most {NUMBER_MAX:g} with {PLACES_MAX} decimal places",
            )
        return number or Decimal(0)

    def whole(self, key: str, default: int | None = None) -> int:
        """Take a whole number; without a default the key must be there."""
        found = self.optional_whole(key)
        if found is not None:
            return found
        if default is None:
            raise self.missing(key, "a whole number")
        return default

    def optional_whole(self, key: str) -> int | None:
        """Take a whole number, or None when the key is absent."""
        found = self.optional_decimal(key)
        if found is not None and found != found.to_integral_value():
            raise self.fault(key, f"is {found}", "write a whole number")
        return None if found is None else int(found)

    def optional_day(self, key: str) -> date | None:
        """Take a date, or None when the key is absent."""
        found = self.take(key)
        if found is None:
            return None
        if isinstance(found, str):
            try:
                return date.fromisoformat(found)
            except ValueError:
                found = None
        if isinstance(found, date) and not isinstance(found, datetime):
            return found
        raise self.fault(key, "is no date", "write it as 2024-12-31")

    def items(self, key: str) -> list[Any]:
        """Take a list; empty when absent."""
        found = self.take(key)
        if found is None:
            return []
        if not isinstance(found, list) or len(found) > ENTRIES_MAX:
            raise self.fault(
                key, "is no list, or too long", f"write a list of at most {ENTRIES_MAX} entries"
            )
        return found

    def tables(self, key: str) -> Iterator["StrictTable"]:
        """Take a list of tables, each to be read and closed by the caller."""
        for index, entry in enumerate(self.items(key)):
            yield StrictTable(entry, f"{self.path(key)}[{index}]")

    def words(self, key: str, choices: Sequence[Choice], default: Sequence[Choice]) -> list[Choice]:
        """Take a list of words out of a choice."""
        if key not in self._left:
            self._asked.append(key)
            return list(default)
        return self.each(key, lambda found: _pick(found, choices), f"some of {', '.join(choices)}")

    def each(self, key: str, parse: Callable[[Any], Any], expected: str) -> list[Any]:
        """Take a list and parse every entry; `parse` raises ValueError or TypeError to refuse one."""
        parsed = []
        for index, entry in enumerate(self.items(key)):
            try:
                parsed.append(parse(entry))
            except (ValueError, TypeError):
                raise self.fault(f"{key}[{index}]", f"is {entry!r}", f"write {expected}") from None
        return parsed

    def close(self) -> None:
        """Refuse the first key nobody asked for."""
        for key in self._left:
            close = get_close_matches(str(key), self._asked, n=1)
            hint = f"did you mean {close[0]}?" if close else f"use {', '.join(self._asked)}"
            raise self.fault(str(key), "is not a known key", hint)


def _pick(found: Any, choices: Sequence[Choice]) -> Choice:
    for word in choices:
        if word == found:
            return word
    raise ValueError(found)
