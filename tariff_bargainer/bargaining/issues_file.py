"""Issues of a package negotiation as TOML or JSON, read strictly."""

from pathlib import Path

from tariff_bargainer.bargaining.minor_units import to_minor
from tariff_bargainer.bargaining.offer_file import load_table, read_form, read_text, strictly
from tariff_bargainer.bargaining.packages import Issue, Level
from tariff_bargainer.tariffs.strict_table import StrictTable

FORMAT = "commonwatt-issues/1"
ISSUES_MAX = 12
LEVELS_MAX = 50


def read_issues(path: Path, *, currency: str) -> tuple[Issue, ...]:
    """Read issues from a `.toml` or `.json` file.

    Args:
        path: The file.
        currency: ISO 4217 code of the negotiation they belong to.

    Raises:
        OfferFileError: The file cannot be read, breaks the form, or is in another currency.
    """
    parsed = load_table(read_text(path), form=read_form(path))
    return strictly(lambda table: _issues(table, currency), parsed)


def _issues(table: StrictTable, expected: str) -> tuple[Issue, ...]:
    found = table.text("format")
    if found != FORMAT:
        raise table.fault("format", f"is {found!r}", f"write {FORMAT!r}")
    currency = table.text("currency")
    if currency != expected:
        raise table.fault("currency", f"is {currency!r}", f"the negotiation is in {expected}")
    issues = []
    for entry in table.tables("issues"):
        name = entry.text("name")
        levels = []
        for level in entry.tables("levels"):
            levels.append(
                Level(
                    label=level.text("label"),
                    worth_minor=to_minor(level.decimal("worth_per_year"), currency),
                    cost_minor=to_minor(level.decimal("cost_per_year"), currency),
                )
            )
            level.close()
        if not 1 <= len(levels) <= LEVELS_MAX:
            raise entry.fault("levels", f"has {len(levels)}", f"give 1 to {LEVELS_MAX}")
        entry.close()
        issues.append(Issue(name=name, levels=tuple(levels)))
    names = {issue.name for issue in issues}
    if len(issues) > ISSUES_MAX or len(names) != len(issues):
        raise table.fault("issues", "are too many, or share a name", f"give at most {ISSUES_MAX}")
    return tuple(issues)
