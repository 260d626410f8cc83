"""A bill in whole minor units over a span in which a tariff may have changed."""

from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise

from tariff_bargainer.bargaining.minor_units import to_minor
from tariff_bargainer.billing.bill import bill
from tariff_bargainer.billing.contract import bill_versions
from tariff_bargainer.billing.index_cost import IndexSeries
from tariff_bargainer.errors import InvalidContract, MismatchedHomes
from tariff_bargainer.profiles.intervals import LoadProfile
from tariff_bargainer.tariffs.tariff import Tariff


def bill_by_dates_minor(
    profile: LoadProfile,
    versions: Sequence[Tariff],
    *,
    index: Mapping[str, IndexSeries] | None = None,
) -> int:
    """Bill a profile under the version of a tariff that held on each day [minor units].

    It is the bill that `tariff-bargainer bill` makes of the same versions: monthly charges and blocks
    are shared out over the parts of a month. It is rounded once.

    Args:
        profile: The use, without gaps.
        versions: Versions by effective dates; a single one holds at all times.
        index: Price series by the name that tariffs use.

    Raises:
        MismatchedHomes: A day has no version, or two.
        InsufficientProfile: A version changes inside an interval, or the profile has gaps.
        UnsupportedRate: A net-metered surplus would have to be carried over the change.
    """
    if len(versions) == 1:
        found = bill(profile, versions[0], index=index)
    else:
        if _overlap(versions):
            raise MismatchedHomes(
                home="",
                problem=f"the versions of {versions[0].name!r} overlap: give each an effective_from "
                "and an effective_to that meet",
            )
        try:
            found = bill_versions(profile, versions, index=index)
        except InvalidContract as wrong:
            raise MismatchedHomes(home="", problem=str(wrong)) from None
    return to_minor(found.annual.total, found.currency)


def _overlap(versions: Sequence[Tariff]) -> bool:
    spans = sorted(
        (version.effective_from or date.min, version.effective_to or date.max)
        for version in versions
    )
    return any(earlier[1] > later[0] for earlier, later in pairwise(spans))
