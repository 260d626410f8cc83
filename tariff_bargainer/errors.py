"""What can go wrong in the bargainer, as types a caller can tell apart.

```
BargainerError
├── TariffFileError       a tariff text that is not a tariff; path of the key and remedy
├── UnsupportedRate       a true tariff that we cannot price; names the field
├── LoadFileError         a load file that cannot be read; line and remedy
├── IndexFileError        a price-series file that cannot be read; line and remedy
├── InvalidProfile        arrays that do not make a load profile
├── InsufficientProfile   a profile that cannot answer the question; lists the reasons
├── InvalidContract       versions of a tariff that do not follow each other
├── MissingInput          a bill needs a series or register that was not given
├── MissingExtra          something needs a package that is not installed; names the extra
├── OfferFileError        an offer, mandate or other bargaining text breaks its form
├── MismatchedHomes       homes, tariffs and bills that do not belong together
├── NegotiationFault      a move that the state of a negotiation or auction does not allow
└── NoFairSplit           money that cannot be shared under the rule that was asked for
```

Every message says what is wrong, where, and what to do.
"""

from collections.abc import Sequence


class BargainerError(Exception):
    """Base of every error this package raises on purpose."""


class TariffFileError(BargainerError):
    """A tariff text does not follow its format.

    Attributes:
        where: Path of the key inside the file, such as `energy[0].periods[1].rate_per_kwh`.
        problem: What is wrong there.
        remedy: What to write instead.
    """

    def __init__(self, *, where: str, problem: str, remedy: str) -> None:
        self.where = where
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{where}: {problem}; {remedy}")


class UnsupportedRate(BargainerError):
    """A rate is well formed, but cannot be represented here without changing its meaning.

    Attributes:
        field: Name of the field in the source format, such as `coincidentrateunit`.
        problem: Why it cannot be represented.
        remedy: What follows from it, or what to do.
    """

    def __init__(
        self,
        *,
        field: str,
        problem: str,
        remedy: str = "the rate is refused rather than priced without this field",
    ) -> None:
        self.field = field
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{field}: {problem}; {remedy}")


class LoadFileError(BargainerError):
    """A load file cannot be read as one regular series.

    Attributes:
        line: Line of the file, counted from 1, or None when the whole file is meant.
        problem: What is wrong.
        remedy: What to do about it.
    """

    def __init__(self, *, problem: str, remedy: str, line: int | None = None) -> None:
        self.line = line
        self.problem = problem
        self.remedy = remedy
        place = "" if line is None else f"line {line}: "
        super().__init__(f"{place}{problem}; {remedy}")


class IndexFileError(LoadFileError):
    """A price-series file cannot be read as one regular series."""


class InvalidProfile(BargainerError):
    """Arrays given to a constructor do not make a load profile or a price series."""


class InsufficientProfile(BargainerError):
    """A well-formed profile cannot answer the question that was asked.

    Attributes:
        reasons: Every reason found, not only the first.
    """

    def __init__(self, *, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("; ".join(self.reasons))


class InvalidContract(BargainerError):
    """Versions of a tariff overlap, differ in currency, or leave part of the time open."""


class MissingInput(BargainerError):
    """A tariff needs a price series or a second register that the caller did not give.

    Attributes:
        name: Name of the series or register as the tariff writes it.
    """

    def __init__(self, *, name: str, kind: str, remedy: str) -> None:
        self.name = name
        self.kind = kind
        super().__init__(f"the tariff needs the {kind} {name!r}, which was not given; {remedy}")


class MissingExtra(BargainerError):
    """Something needs a package that is not installed here.

    Attributes:
        extra: Name of the extra that brings it.
    """

    def __init__(self, *, extra: str, use: str) -> None:
        self.extra = extra
        super().__init__(f"{use} needs the extra {extra}; install commonwatt[{extra}]")


class OfferFileError(BargainerError):
    """An offer, a mandate, a floor assumption or a negotiation text does not follow its form.

    Attributes:
        where: Path of the key inside the file, such as `tariff.energy[0].periods`.
        problem: What is wrong there.
        remedy: What to write instead.
    """

    def __init__(self, *, where: str, problem: str, remedy: str) -> None:
        self.where = where
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{where}: {problem}; {remedy}")


class MismatchedHomes(BargainerError):
    """Homes, tariffs and bills that should describe the same group do not.

    Attributes:
        home: Name of the first home concerned; empty when the whole group is meant.
        problem: What does not fit.
    """

    def __init__(self, *, home: str, problem: str) -> None:
        self.home = home
        self.problem = problem
        super().__init__(f"{home}: {problem}" if home else problem)


class NegotiationFault(BargainerError):
    """A move comes at the wrong time or breaks the rules that were fixed before."""


class NoFairSplit(BargainerError):
    """Money cannot be shared under the rule that was asked for.

    Attributes:
        short_minor: By how much the money falls short [minor units].
    """

    def __init__(self, *, problem: str, short_minor: int) -> None:
        self.short_minor = short_minor
        super().__init__(problem)
