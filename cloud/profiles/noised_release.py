"""Releases with noise, charged to each home's yearly budget.

For groups whose exact sums would not pass the floor, or homes that agreed to noised sums only. The
promise is about a home's readings of the whole period: with or without them, the odds of what is
seen are nearly the same. That a home is a member, and how many are, is not hidden.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Connection

from cloud.database import Database
from cloud.errors import BadInput, NotAllowed, ReleaseRefused, StateConflict
from cloud.profiles import repository
from cloud.profiles.coarsening import noised_cuts
from cloud.profiles.eligibility import consenting_homes
from cloud.profiles.noise import epsilon_of, noise_deviation_wh, noised_sum
from cloud.profiles.privacy_floor import Audience
from cloud.profiles.release import Asked, facts_of
from cloud.profiles.repository import NOISED, DatabaseLog
from cloud.readings.ports import ReadingStore
from cloud.settings import PrivacySettings
from gateway.wire.consent import Release
from tariff_bargainer.errors import BargainerError
from tariff_bargainer.profiles.load_profile import typical_day_cells

RHO_PER_YEAR = Fraction(185, 1000)
"""A home's budget for all noised releases that touch a year: epsilon 3 at one in a million."""

APPROVALS_OUTSIDE = 2
_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseWanted:
    """How much noise, and on what.

    Attributes:
        cut: Which figures: a name of `coarsening.noised_cuts`.
        rho: Budget to spend.
        length_max_wh: Euclidean length to which a home's figures are shortened [Wh], from public
            load profiles and never from the members' own.
    """

    cut: str
    rho: Fraction
    length_max_wh: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NoisedRelease:
    """Figures with noise.

    Attributes:
        release_no: Number on record.
        homes: Homes in it.
        frame: Column `energy_wh` [Wh] by cell; small ones may be negative.
        noise_deviation_wh: Standard deviation of the noise on each figure [Wh].
        rho: Budget spent.
        epsilon: The same as epsilon at a delta of one in a million.
        output_sha256: Hash of the figures as CSV, hex.
        log_index: Entry in the transparency log.
    """

    release_no: int
    homes: int
    frame: pd.DataFrame
    noise_deviation_wh: float
    rho: Fraction
    epsilon: float
    output_sha256: str
    log_index: int


Keep = Callable[[Connection, NoisedRelease], None]
"""Writes down what came of a release, in its own transaction."""


def release_noised(
    database: Database,
    store: ReadingStore,
    asked: Asked,
    wanted: NoiseWanted,
    *,
    privacy: PrivacySettings,
    now: datetime,
    keep: Keep | None = None,
) -> NoisedRelease:
    """Release typical-day figures with noise, and charge every home in them.

    Homes whose budget does not last are left out. The noise is drawn in the transaction that
    charges for it, so that nothing is seen that was not paid for, and nothing twice; `keep` writes
    down what came of it in the same transaction.

    Raises:
        ReleaseRefused: Too few homes agreed and still have budget.
        NotAllowed: It would leave the co-op without two people's agreement.
        BadInput: The period, cut or amounts make no sense.
        StateConflict: Consents or budgets kept changing meanwhile.
    """
    _check(asked, wanted, now)
    years = _years(asked)
    for _ in range(_TRIES):
        with database.reading() as connection:
            homes = _homes_with_budget(connection, asked, wanted.rho, years)
        _require_enough(database, asked, wanted, homes, privacy, now)
        figures, index = _figures(store, asked, wanted.cut, homes)
        with database.transaction() as connection:
            if _homes_with_budget(connection, asked, wanted.rho, years) == homes:
                released = _draw_and_charge(
                    connection, asked, wanted, homes=homes, figures=figures, index=index, now=now
                )
                if keep is not None:
                    keep(connection, released)
                return released
    raise StateConflict("consents or budgets keep changing; ask again in a moment")


def _check(asked: Asked, wanted: NoiseWanted, now: datetime) -> None:
    if asked.start >= asked.end or asked.end > now:
        raise BadInput("a release covers a time that is over: give start, end, and end in the past")
    if wanted.cut not in noised_cuts():
        raise BadInput(f"cut {wanted.cut!r}: use one of {', '.join(noised_cuts())}")
    if not 0 < wanted.rho <= RHO_PER_YEAR:
        raise BadInput(f"rho must be above 0 and at most {float(RHO_PER_YEAR)} a year")
    if wanted.length_max_wh <= 0:
        raise BadInput("length_max_wh must be positive; take it from public load profiles")
    if asked.audience is Audience.OUTSIDE and len(set(asked.approved_by)) < APPROVALS_OUTSIDE:
        raise NotAllowed("two people of the board must agree before a sum leaves the co-op")


def _years(asked: Asked) -> tuple[int, ...]:
    """Local calendar years the period touches; each home pays in all of them."""
    try:
        zone = ZoneInfo(asked.timezone)
    except (KeyError, ValueError, OSError) as fault:
        raise BadInput(f"time zone {asked.timezone!r} is not known") from fault
    first = asked.start.astimezone(zone).year
    last = (asked.end - pd.Timedelta(microseconds=1)).astimezone(zone).year
    return tuple(range(first, last + 1))


def _homes_with_budget(
    connection: Connection, asked: Asked, rho: Fraction, years: tuple[int, ...]
) -> tuple[str, ...]:
    consenting = consenting_homes(
        connection,
        purpose=asked.purpose,
        quantity=asked.quantity,
        start=asked.start,
        end=asked.end,
        recipient=asked.recipient,
        release=Release.NOISED,
    )
    spent = repository.spent_by_home(connection, years)
    return tuple(
        sorted(
            home
            for home in consenting
            if (asked.only is None or home in asked.only)
            and spent.get(home, Fraction(0)) + rho <= RHO_PER_YEAR
        )
    )


def _require_enough(
    database: Database,
    asked: Asked,
    wanted: NoiseWanted,
    homes: tuple[str, ...],
    privacy: PrivacySettings,
    now: datetime,
) -> None:
    is_outside = asked.audience is Audience.OUTSIDE
    homes_min = privacy.group_min_outside if is_outside else privacy.group_min_inside
    if len(homes) >= homes_min:
        return
    reason = (
        f"{len(homes)} homes agreed and have budget left for this year, and at least {homes_min} "
        "are needed"
    )
    with database.transaction() as connection:
        log_index = DatabaseLog(connection, now).record(
            "release.refused",
            facts_of(NOISED, asked) | {"homes": len(homes), "reasons": ["too_few_homes"]},
        )
        _insert(connection, asked, wanted, homes, reasons=(reason,), now=now, log_index=log_index)
    raise ReleaseRefused(reasons=(reason,))


def _figures(
    store: ReadingStore, asked: Asked, cut: str, homes: tuple[str, ...]
) -> tuple[NDArray[np.int64], pd.MultiIndex]:
    """Each home's own figures; a missing reading adds nothing."""
    frame = store.home_matrix(
        homes,
        quantity=asked.quantity,
        purpose=asked.purpose,
        start=asked.start,
        end=asked.end,
        step_s=asked.step_s,
    )
    try:
        cells = typical_day_cells(
            start=asked.start,
            step_s=asked.step_s,
            count=len(frame),
            timezone=asked.timezone,
            holidays=asked.holidays,
        )
    except BargainerError as fault:
        raise BadInput(f"the profile cannot be made: {fault}") from fault
    chosen = noised_cuts()[cut]
    labels = chosen.labels[cells]
    touched, position = np.unique(labels, return_inverse=True)
    figures = np.zeros((len(homes), len(touched)), dtype=np.int64)
    energy = np.rint(np.nan_to_num(frame.to_numpy().T)).astype(np.int64)
    for home, energy_wh in enumerate(energy):
        np.add.at(figures[home], position, energy_wh)
    return figures, chosen.index[touched]


def _draw_and_charge(
    connection: Connection,
    asked: Asked,
    wanted: NoiseWanted,
    *,
    homes: tuple[str, ...],
    figures: NDArray[np.int64],
    index: pd.MultiIndex,
    now: datetime,
) -> NoisedRelease:
    drawn = noised_sum(figures, length_max_wh=wanted.length_max_wh, rho=wanted.rho)
    frame = pd.DataFrame({"energy_wh": drawn}, index=index)
    output_sha256 = hashlib.sha256(frame.to_csv().encode()).hexdigest()
    log_index = DatabaseLog(connection, now).record(
        "release.made",
        facts_of(NOISED, asked)
        | {
            "approvals": len(set(asked.approved_by)),
            "cells": len(frame),
            "homes": len(homes),
            "length_max_wh": wanted.length_max_wh,
            "output": output_sha256,
            "rho": str(wanted.rho),
            "step": wanted.cut,
        },
    )
    number = _insert(
        connection,
        asked,
        wanted,
        homes,
        output_sha256=output_sha256,
        now=now,
        log_index=log_index,
    )
    repository.insert_spends(
        connection, households=homes, years=_years(asked), release_no=number, rho=wanted.rho
    )
    return NoisedRelease(
        release_no=number,
        homes=len(homes),
        frame=frame,
        noise_deviation_wh=noise_deviation_wh(wanted.length_max_wh, wanted.rho),
        rho=wanted.rho,
        epsilon=epsilon_of(wanted.rho),
        output_sha256=output_sha256,
        log_index=log_index,
    )


def _insert(
    connection: Connection,
    asked: Asked,
    wanted: NoiseWanted,
    homes: tuple[str, ...],
    *,
    now: datetime,
    log_index: int,
    output_sha256: str = "",
    reasons: tuple[str, ...] = (),
) -> int:
    return repository.insert_release(
        connection,
        kind=NOISED,
        purpose=asked.purpose,
        quantity=asked.quantity,
        audience=asked.audience.value,
        period_start=asked.start,
        period_end=asked.end,
        cohort_id=None,
        homes=len(homes),
        step=wanted.cut if output_sha256 else "",
        reasons=reasons,
        output_sha256=output_sha256,
        step_s=asked.step_s,
        presence=b"",
        asked_by=asked.asked_by,
        at=now,
        log_index=log_index,
    )
