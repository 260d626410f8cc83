"""Releasing what a group has in common, and nothing else.

A release goes through the whole privacy floor; what fails is refused with the reasons in words.
Both are kept and written to the transparency log. The readings are looked at without holding a
transaction; what was decided is kept in a short one that first checks that nothing has moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from sqlalchemy import Connection

from cloud.database import Database
from cloud.errors import BadInput, NotAllowed, ReleaseRefused, StateConflict
from cloud.profiles import presence, repository
from cloud.profiles.coarsening import Shape, ShapeStep, group_shapes, typical_day_shapes
from cloud.profiles.eligibility import consenting_homes
from cloud.profiles.privacy_floor import (
    Audience,
    EarlierRelease,
    Floor,
    Reason,
    check_cells,
    check_differences,
    check_size,
)
from cloud.profiles.release import (
    GROUP,
    TYPICAL_DAY,
    Asked,
    Failed,
    Passed,
    Released,
    cohort_for,
    keep_refusal,
    keep_release,
)
from cloud.profiles.repository import DatabaseLog, ExactRelease
from cloud.readings.ports import ReadingStore
from cloud.settings import PrivacySettings
from tariff_bargainer.errors import BargainerError

APPROVALS_OUTSIDE = 2
"""People who must agree before a sum leaves the co-op."""

_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Basis:
    """What a decision rests on; if it moves, the decision is made anew.

    Attributes:
        homes: The homes that may be in it, sorted.
        floor: The rule.
        earlier: Exact releases over the same time.
    """

    homes: tuple[str, ...]
    floor: Floor
    earlier: tuple[ExactRelease, ...]


def release_group_profile(
    database: Database,
    store: ReadingStore,
    asked: Asked,
    *,
    privacy: PrivacySettings,
    now: datetime,
) -> Released:
    """Release the sum of the consenting homes per interval.

    Raises:
        ReleaseRefused: It would break the floor; `reasons` say how.
        NotAllowed: It would leave the co-op without two people's agreement.
        BadInput: The period or step makes no sense.
        StateConflict: Consents or releases kept changing meanwhile.
    """
    return _release(database, store, GROUP, asked, privacy=privacy, now=now)


def release_typical_day(
    database: Database,
    store: ReadingStore,
    asked: Asked,
    *,
    privacy: PrivacySettings,
    now: datetime,
) -> Released:
    """Release typical days of the consenting homes: by month, day type and local hour.

    Raises:
        ReleaseRefused: It would break the floor; `reasons` say how.
        NotAllowed: It would leave the co-op without two people's agreement.
        BadInput: The period or step makes no sense.
        StateConflict: Consents or releases kept changing meanwhile.
    """
    return _release(database, store, TYPICAL_DAY, asked, privacy=privacy, now=now)


def _release(
    database: Database,
    store: ReadingStore,
    kind: str,
    asked: Asked,
    *,
    privacy: PrivacySettings,
    now: datetime,
) -> Released:
    if asked.start >= asked.end or asked.end > now:
        raise BadInput("a release covers a time that is over: give start, end, and end in the past")
    if asked.audience is Audience.OUTSIDE and len(set(asked.approved_by)) < APPROVALS_OUTSIDE:
        raise NotAllowed("two people of the board must agree before a sum leaves the co-op")
    for _ in range(_TRIES):
        with database.reading() as connection:
            basis = _basis(connection, asked, privacy)
        verdict = _judge(store, kind, asked, basis)
        with database.transaction() as connection:
            if _basis(connection, asked, privacy) != basis:
                continue
            log = DatabaseLog(connection, now)
            if isinstance(verdict, Passed):
                return keep_release(connection, log, kind, asked, verdict, now)
            reasons = keep_refusal(connection, log, kind, asked, verdict, now)
        raise ReleaseRefused(reasons=reasons)
    raise StateConflict("consents or releases keep changing; ask again in a moment")


def _basis(connection: Connection, asked: Asked, privacy: PrivacySettings) -> _Basis:
    """The homes that may be in it: of those frozen for the period, if it was frozen before."""
    consenting = consenting_homes(
        connection,
        purpose=asked.purpose,
        quantity=asked.quantity,
        start=asked.start,
        end=asked.end,
        recipient=asked.recipient,
    )
    if asked.only is not None:
        consenting = {home: least for home, least in consenting.items() if home in asked.only}
    frozen = cohort_for(connection, asked)
    if frozen:
        first = set(frozen[0].households)
        consenting = {home: least for home, least in consenting.items() if home in first}
    is_outside = asked.audience is Audience.OUTSIDE
    homes_min = privacy.group_min_outside if is_outside else privacy.group_min_inside
    fitting = _in_groups_they_accept(consenting)
    return _Basis(
        homes=tuple(sorted(fitting)),
        floor=Floor(
            homes_min=max([homes_min, *fitting.values()]),
            top_share_max=float(privacy.dominance_share_max),
        ),
        earlier=tuple(
            repository.exact_releases_over(
                connection, quantity=asked.quantity, start=asked.start, end=asked.end
            )
        ),
    )


def _in_groups_they_accept(least_by_home: dict[str, int]) -> dict[str, int]:
    """Leave out homes that asked for a larger group than there is, until all are content."""
    content = least_by_home
    while True:
        fitting = {home: least for home, least in content.items() if least <= len(content)}
        if len(fitting) == len(content):
            return fitting
        content = fitting


def _judge(store: ReadingStore, kind: str, asked: Asked, basis: _Basis) -> Passed | Failed:
    """Put the figures together and hold them to the floor."""
    homes = len(basis.homes)
    reasons = check_size(homes, basis.floor)
    if reasons:
        return Failed(homes=homes, reasons=reasons)
    frame = store.home_matrix(
        basis.homes,
        quantity=asked.quantity,
        purpose=asked.purpose,
        start=asked.start,
        end=asked.end,
        step_s=asked.step_s,
    )
    there = presence.presence_of(frame, asked.start, asked.step_s)
    there, earlier = _against_earlier(there, basis.earlier)
    reasons = check_differences(frozenset(basis.homes), earlier, basis.floor)
    if reasons:
        return Failed(homes=homes, reasons=reasons)
    try:
        steps = _steps(kind, frame.where(there.is_there.T, np.nan), asked)
        shape, reasons = _first_that_passes(steps, basis.floor)
    except BargainerError as fault:
        raise BadInput(f"the profile cannot be made: {fault}") from fault
    if shape is None:
        return Failed(homes=homes, reasons=reasons)
    return Passed(homes=basis.homes, shape=shape, failed=reasons, there=there)


def _against_earlier(
    there: presence.Presence, releases: tuple[ExactRelease, ...]
) -> tuple[presence.Presence, list[EarlierRelease]]:
    """Leave out readings that came after earlier releases; say what still differs from them."""
    on_record = [
        presence.unpack(
            release.presence,
            households=release.households,
            start=release.period_start,
            step_s=release.step_s,
        )
        for release in releases
    ]
    for known in on_record:
        there, _ = presence.leave_out_late(there, known)
    earlier = [
        EarlierRelease(
            name=str(release.release_no),
            homes=frozenset(known.households),
            changed=presence.leave_out_late(there, known)[1],
        )
        for release, known in zip(releases, on_record, strict=True)
    ]
    return there, earlier


def _steps(kind: str, frame: pd.DataFrame, asked: Asked) -> list[ShapeStep]:
    if kind == GROUP:
        steps = group_shapes(frame, timezone=asked.timezone)
    else:
        steps = typical_day_shapes(frame, timezone=asked.timezone, holidays=asked.holidays)
    return steps if asked.may_be_coarser else steps[:1]


def _first_that_passes(
    steps: list[ShapeStep], floor: Floor
) -> tuple[Shape | None, tuple[Reason, ...]]:
    """The finest shape that passes, and why finer ones did not."""
    failed: tuple[Reason, ...] = ()
    for make in steps:
        shape = make()
        reasons = check_cells(shape.cells, floor)
        if not reasons:
            return shape, failed
        failed += tuple(
            Reason(shortfall=reason.shortfall, text=f"{shape.step}: {reason.text}")
            for reason in reasons
        )
    return None, failed
