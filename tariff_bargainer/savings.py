"""What each member really saved: the old tariff on the actual use, less the actual bill.

Both sides are exact bills, so the saving is a fact about prices that anyone with the readings can
recompute to the last cent. Beside it stands an explanation in three terms, price, usage and
interaction, against some reference use; it is a report and never the basis of a payment.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any, TypeVar

import numpy as np

from tariff_bargainer.bargaining.dated_bill import bill_by_dates_minor
from tariff_bargainer.bargaining.minor_units import money_text
from tariff_bargainer.bargaining.offers import naming_home
from tariff_bargainer.billing.index_cost import IndexSeries
from tariff_bargainer.errors import MismatchedHomes
from tariff_bargainer.profiles.intervals import LoadProfile
from tariff_bargainer.tariffs.tariff import Tariff

Found = TypeVar("Found")

ENGINE_SOURCES = (
    "profiles/intervals.py",
    "profiles/calendar.py",
    "tariffs",
    "billing",
    "bargaining/dated_bill.py",
    "bargaining/minor_units.py",
)
"""Files and folders whose source decides a bill in minor units: the engine that is hashed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavingTerms:
    """Why a bill changed from reference use on the old tariff to actual use on the new one.

    Attributes:
        price_minor: Saved by the price change alone, at reference use [minor units].
        usage_minor: Saved by the change of use alone, at the old tariff [minor units].
        interaction_minor: The rest, where both changed together [minor units].
    """

    price_minor: int
    usage_minor: int
    interaction_minor: int

    @property
    def total_minor(self) -> int:
        """Reference bill on the old tariff less the actual bill [minor units]."""
        return self.price_minor + self.usage_minor + self.interaction_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Content hashes (SHA-256, hex) of everything a saving was computed from.

    Attributes:
        readings: Start, step and every interval of the actual use.
        old_tariff: Rules of the tariff before joining.
        actual_tariff: Rules of the tariff that was billed; empty when the bill came as a sum.
        engine: Source text of the bill engine.
        result: All of the above and the money.
    """

    readings: str
    old_tariff: str
    actual_tariff: str
    engine: str
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSaving:
    """One member's saving over one period.

    Attributes:
        member: Name of the member or home.
        currency: ISO 4217 code.
        counterfactual_minor: Bill the old tariff would have made of the actual use [minor units].
        actual_minor: The actual bill [minor units].
        terms: Explanation against a reference use, or None without one.
        estimated_intervals: Intervals that were estimated and will be trued up.
        evidence: Hashes for a rerun.
    """

    member: str
    currency: str
    counterfactual_minor: int
    actual_minor: int
    terms: SavingTerms | None
    estimated_intervals: int
    evidence: Evidence

    @property
    def saving_minor(self) -> int:
        """What the member saved; negative when the new tariff cost more [minor units]."""
        return self.counterfactual_minor - self.actual_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class SavingsStatement:
    """All members' savings over one period.

    Attributes:
        period: Name of the period, such as `2026-03`.
        currency: ISO 4217 code.
        members: One entry per member, sorted by name.
        root: Hash over every member's result, in order.
    """

    period: str
    currency: str
    members: tuple[MemberSaving, ...]
    root: str

    @property
    def saving_minor(self) -> int:
        """What all members saved together [minor units]."""
        return sum(member.saving_minor for member in self.members)

    def _repr_html_(self) -> str:
        return (
            f"<p><b>Savings {self.period}</b>: {len(self.members)} members, "
            f"{money_text(self.saving_minor, self.currency)} together</p>"
        )


def monthly_savings(
    period: str,
    usage: Mapping[str, LoadProfile],
    old_tariffs: Mapping[str, Tariff | Sequence[Tariff]],
    actual: Mapping[str, Tariff | Sequence[Tariff] | int],
    *,
    currency: str,
    reference: Mapping[str, LoadProfile] | None = None,
    estimated_intervals: Mapping[str, int] | None = None,
    index: Mapping[str, IndexSeries] | None = None,
) -> SavingsStatement:
    """Compute every member's saving over one period.

    Args:
        period: Name of the period, such as `2026-03`; goes into the hashes.
        usage: Each member's metered use over the period, without gaps.
        old_tariffs: Each member's tariff as frozen when joining, or its versions by effective
            dates, such as published changes of a default tariff.
        actual: What was billed: the new tariff or its versions, or the bill itself in whole
            minor units.
        currency: ISO 4217 code of every tariff and bill.
        reference: Use to explain the change against, such as last year's month; members without
            one, or billed by a sum, get no three terms.
        estimated_intervals: How many of each member's intervals are estimates.
        index: Price series by the name that tariffs use.

    Raises:
        MismatchedHomes: A member misses a tariff or a bill, or uses another currency.
        InsufficientProfile: A member's readings have gaps.
    """
    engine = engine_hash()
    members = []
    for member in sorted(usage):
        old = _versions(_of(old_tariffs, member, "has no frozen old tariff"))
        given = _of(actual, member, "has neither a new tariff nor an actual bill")
        billed = given if isinstance(given, int) else _versions(given)
        for tariff in (*old, *(() if isinstance(billed, int) else billed)):
            if tariff.currency != currency:
                raise MismatchedHomes(
                    home=member, problem=f"is billed in {tariff.currency}, not in {currency}"
                )
        with naming_home(member):
            counterfactual_minor = bill_by_dates_minor(usage[member], old, index=index)
            actual_minor = (
                billed
                if isinstance(billed, int)
                else bill_by_dates_minor(usage[member], billed, index=index)
            )
        terms = None
        if reference and member in reference and not isinstance(billed, int):
            # Reference use lies in another year, so it is priced by today's versions.
            terms = saving_terms(
                reference_old_minor=bill_by_dates_minor(reference[member], old[-1:], index=index),
                reference_new_minor=bill_by_dates_minor(
                    reference[member], billed[-1:], index=index
                ),
                actual_old_minor=counterfactual_minor,
                actual_new_minor=actual_minor,
            )
        members.append(
            MemberSaving(
                member=member,
                currency=currency,
                counterfactual_minor=counterfactual_minor,
                actual_minor=actual_minor,
                terms=terms,
                estimated_intervals=(estimated_intervals or {}).get(member, 0),
                evidence=_evidence(
                    [period, member, currency, counterfactual_minor, actual_minor],
                    readings=readings_hash(usage[member]),
                    old=_tariffs_hash(old),
                    billed="" if isinstance(billed, int) else _tariffs_hash(billed),
                    engine=engine,
                ),
            )
        )
    root = statement_root(period, currency, [member.evidence.result for member in members])
    return SavingsStatement(period=period, currency=currency, members=tuple(members), root=root)


def statement_root(period: str, currency: str, results: Sequence[str]) -> str:
    """Hash over every member's result hash, in order of the members' names."""
    return _sha256([period, currency, *results])


def statement_json(statement: SavingsStatement) -> dict[str, Any]:
    """Give a statement as JSON values, money in whole minor units."""
    return {
        "period": statement.period,
        "currency": statement.currency,
        "saving_minor": statement.saving_minor,
        "root": statement.root,
        "members": [
            {"saving_minor": member.saving_minor, **asdict(member)} for member in statement.members
        ],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class HighWater:
    """How far a member's savings have come, and up to where the fund has taken its share.

    Attributes:
        cumulative_minor: All savings so far, losses included [minor units].
        mark_minor: The highest cumulative saving so far, at least zero [minor units].
    """

    cumulative_minor: int = 0
    mark_minor: int = 0


def above_high_water(state: HighWater, saving_minor: int) -> tuple[int, HighWater]:
    """Return the part of a saving that the fund may share in, and the new state.

    A month that cost more is carried forward: later savings first make up for it.

    Args:
        state: The member's state before the month.
        saving_minor: The month's saving or, when negative, loss [minor units].
    """
    cumulative = state.cumulative_minor + saving_minor
    shared_minor = max(0, cumulative - state.mark_minor)
    mark = max(state.mark_minor, cumulative)
    return shared_minor, HighWater(cumulative_minor=cumulative, mark_minor=mark)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueUp:
    """A later, better saving for a period that was settled before; posted as a new entry.

    Attributes:
        member: Name of the member or home.
        currency: ISO 4217 code.
        change_minor: Later saving less earlier saving [minor units].
        earlier_result: Result hash of what was settled.
        later_result: Result hash of what holds now.
    """

    member: str
    currency: str
    change_minor: int
    earlier_result: str
    later_result: str


def true_up(earlier: SavingsStatement, later: SavingsStatement) -> tuple[TrueUp, ...]:
    """List what changes when estimated readings of a settled period have been replaced.

    Members whose result is the same, to the hash, are left out; nothing settled is rewritten.

    Raises:
        MismatchedHomes: The statements are of different periods, currencies or members.
    """
    before = {member.member: member for member in earlier.members}
    after = {member.member: member for member in later.members}
    if (earlier.period, earlier.currency, set(before)) != (
        later.period,
        later.currency,
        set(after),
    ):
        raise MismatchedHomes(
            home="", problem="two statements can be trued up for one period and one set of members"
        )
    return tuple(
        TrueUp(
            member=name,
            currency=later.currency,
            change_minor=now.saving_minor - before[name].saving_minor,
            earlier_result=before[name].evidence.result,
            later_result=now.evidence.result,
        )
        for name, now in after.items()
        if now.evidence.result != before[name].evidence.result
    )


def saving_terms(
    *,
    reference_old_minor: int,
    reference_new_minor: int,
    actual_old_minor: int,
    actual_new_minor: int,
) -> SavingTerms:
    """Explain a change of bill by price, usage and interaction; the three sum to it exactly.

    With B the bill, q0 reference use and q1 actual use:
    price = B_old(q0) - B_new(q0); usage = B_old(q0) - B_old(q1); interaction is the rest of
    B_old(q0) - B_new(q1). The paid saving B_old(q1) - B_new(q1) is price + interaction.

    Args:
        reference_old_minor: B_old(q0) [minor units].
        reference_new_minor: B_new(q0).
        actual_old_minor: B_old(q1).
        actual_new_minor: B_new(q1).
    """
    price = reference_old_minor - reference_new_minor
    usage = reference_old_minor - actual_old_minor
    total = reference_old_minor - actual_new_minor
    return SavingTerms(
        price_minor=price, usage_minor=usage, interaction_minor=total - price - usage
    )


def readings_hash(profile: LoadProfile) -> str:
    """Hash a profile's start, step and every interval; the same numbers give the same hash."""
    digest = hashlib.sha256()
    digest.update(f"{profile.start.isoformat()}|{profile.step_s}|{len(profile)}|".encode())
    for energy in (profile.import_wh, profile.export_wh):
        # Whole Wh kept as floats and as integers are the same readings.
        values = np.zeros(0) if energy is None else np.asarray(energy, dtype="<f8")
        digest.update(f"{values.size}|".encode() + values.tobytes())
    digest.update(np.packbits(profile.missing_mask).tobytes())
    return digest.hexdigest()


def engine_hash() -> str:
    """Hash the source text of the bill engine, so that a rerun can tell whether it has changed."""
    package = files("tariff_bargainer")
    sources = {}
    for name in ENGINE_SOURCES:
        place = package / name
        entries = place.iterdir() if place.is_dir() else (place,)
        for entry in entries:
            if entry.name.endswith(".py"):
                sources[f"{name}:{entry.name}"] = entry.read_text(encoding="utf-8")
    return _sha256(sorted(sources.items()))


def _evidence(
    facts: list[str | int], *, readings: str, old: str, billed: str, engine: str
) -> Evidence:
    return Evidence(
        readings=readings,
        old_tariff=old,
        actual_tariff=billed,
        engine=engine,
        result=_sha256([*facts, readings, old, billed, engine]),
    )


def _versions(given: Tariff | Sequence[Tariff]) -> tuple[Tariff, ...]:
    return (given,) if isinstance(given, Tariff) else tuple(given)


def _tariffs_hash(versions: Sequence[Tariff]) -> str:
    if len(versions) == 1:
        return versions[0].content_hash
    return _sha256([version.content_hash for version in versions])


def _of(table: Mapping[str, Found], member: str, problem: str) -> Found:
    if member not in table:
        raise MismatchedHomes(home=member, problem=problem)
    return table[member]


def _sha256(thing: object) -> str:
    text = json.dumps(thing, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
