"""What is asked for, what was released, and how both are kept and logged."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

import pandas as pd
from sqlalchemy import Connection

from cloud.profiles import presence, repository
from cloud.profiles.coarsening import Shape
from cloud.profiles.ports import TransparencyLog
from cloud.profiles.privacy_floor import Audience, Reason, cohort_root
from cloud.profiles.repository import Cohort
from cloud.transparency.usecases import Fact
from gateway.wire.reading import Purpose, Quantity
from tariff_bargainer.profiles.load_profile import GroupProfile, TypicalDayProfile

GROUP = "group"
TYPICAL_DAY = "typical_day"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody asks to see.

    Attributes:
        purpose: Under which purpose; only readings that left for it are used.
        quantity: Of what.
        start: Start of the period, aware.
        end: End of the period, aware; a whole number of steps later.
        step_s: Step of the readings [s].
        audience: Who will see it.
        recipient: The recipient as consents name it, such as `coop` or `supplier:nordwind`.
        timezone: IANA zone of the local calendar.
        asked_by: Person who asks.
        approved_by: People who agreed; two different ones for a release to the outside.
        may_be_coarser: Whether to show a coarser figure where the finest fails.
        holidays: Local dates that count as weekend in typical days.
        only: Homes beyond which none may be in it, such as a cohort frozen for a proposal; None
            sets no such limit.
    """

    purpose: Purpose
    quantity: Quantity
    start: datetime
    end: datetime
    step_s: int = 900
    audience: Audience = Audience.INSIDE
    recipient: str = "coop"
    timezone: str = "UTC"
    asked_by: str = ""
    approved_by: tuple[str, ...] = ()
    may_be_coarser: bool = False
    holidays: Collection[date] = ()
    only: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Released:
    """What passed the floor.

    Attributes:
        release_no: Number on record.
        kind: `group` or `typical_day`.
        homes: Homes in it.
        cohort_root: Root over the salted commitments of the homes, hex.
        step: At which step it passed.
        made_coarser: Why finer steps did not, in words; empty if the finest did.
        frame: The figures.
        profile: The same as the bargainer's type, if the finest step passed. It holds each cell's
            largest share and must stay inside the co-op's own calculations.
        output_sha256: Hash of the figures as CSV, hex.
        log_index: Entry in the transparency log.
        households: The homes in it, sorted; for the co-op's own calculations.
    """

    release_no: int
    kind: str
    homes: int
    cohort_root: str
    step: str
    made_coarser: tuple[str, ...]
    frame: pd.DataFrame
    profile: GroupProfile | TypicalDayProfile | None
    output_sha256: str
    log_index: int
    households: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Passed:
    """What the floor let through, before it is kept.

    Attributes:
        homes: The homes in it, sorted.
        shape: The figures.
        failed: Why finer steps did not pass.
        there: Which readings are in it.
    """

    homes: tuple[str, ...]
    shape: Shape
    failed: tuple[Reason, ...]
    there: presence.Presence


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """What the floor did not let through.

    Attributes:
        homes: How many homes agreed.
        reasons: Why.
    """

    homes: int
    reasons: tuple[Reason, ...]


def keep_release(
    connection: Connection,
    log: TransparencyLog,
    kind: str,
    asked: Asked,
    passed: Passed,
    now: datetime,
) -> Released:
    """Freeze the cohort if it was not yet, and put the release on record and in the log."""
    cohort = _freeze(connection, log, asked, passed.homes, now)
    shape = passed.shape
    output_sha256 = hashlib.sha256(shape.frame.to_csv().encode()).hexdigest()
    why_coarser = tuple(reason.text for reason in passed.failed)
    facts = facts_of(kind, asked) | {
        "approvals": len(set(asked.approved_by)),
        "cells": int(shape.cells.homes.size),
        "cohort": cohort.root,
        "homes": len(cohort.households),
        "output": output_sha256,
        "step": shape.step,
    }
    log_index = log.record("release.made", facts)
    number = repository.insert_release(
        connection,
        kind=kind,
        purpose=asked.purpose,
        quantity=asked.quantity,
        audience=asked.audience.value,
        period_start=asked.start,
        period_end=asked.end,
        cohort_id=cohort.cohort_id,
        homes=len(cohort.households),
        step=shape.step,
        reasons=why_coarser,
        output_sha256=output_sha256,
        step_s=asked.step_s,
        presence=presence.pack(passed.there),
        asked_by=asked.asked_by,
        at=now,
        log_index=log_index,
    )
    return Released(
        release_no=number,
        kind=kind,
        homes=len(cohort.households),
        cohort_root=cohort.root,
        step=shape.step,
        made_coarser=why_coarser,
        frame=shape.frame,
        profile=shape.profile,
        output_sha256=output_sha256,
        log_index=log_index,
        households=cohort.households,
    )


def keep_refusal(
    connection: Connection,
    log: TransparencyLog,
    kind: str,
    asked: Asked,
    refused: Failed,
    now: datetime,
) -> tuple[str, ...]:
    """Put a refusal on record and in the log; returns the reasons in words."""
    texts = tuple(reason.text for reason in refused.reasons)
    facts = facts_of(kind, asked) | {
        "homes": refused.homes,
        "reasons": sorted({reason.shortfall.value for reason in refused.reasons}),
    }
    log_index = log.record("release.refused", facts)
    repository.insert_release(
        connection,
        kind=kind,
        purpose=asked.purpose,
        quantity=asked.quantity,
        audience=asked.audience.value,
        period_start=asked.start,
        period_end=asked.end,
        cohort_id=None,
        homes=refused.homes,
        step="",
        reasons=texts,
        output_sha256="",
        step_s=asked.step_s,
        presence=b"",
        asked_by=asked.asked_by,
        at=now,
        log_index=log_index,
    )
    return texts


def cohort_for(connection: Connection, asked: Asked) -> list[Cohort]:
    """Cohorts frozen for the period that is asked for, the first one first."""
    return repository.cohorts_of_period(
        connection,
        purpose=asked.purpose,
        quantity=asked.quantity,
        period_start=asked.start,
        period_end=asked.end,
    )


def _freeze(
    connection: Connection,
    log: TransparencyLog,
    asked: Asked,
    homes: tuple[str, ...],
    now: datetime,
) -> Cohort:
    """The cohort of exactly these homes for the period, frozen now if it was not before."""
    known = [cohort for cohort in cohort_for(connection, asked) if cohort.households == homes]
    if known:
        return known[0]
    salts = {home: secrets.token_hex(32) for home in homes}
    cohort = repository.insert_cohort(
        connection,
        purpose=asked.purpose,
        quantity=asked.quantity,
        period_start=asked.start,
        period_end=asked.end,
        root=cohort_root(salts),
        salts=salts,
        now=now,
    )
    log.record(
        "cohort.frozen",
        {
            "homes": len(homes),
            "period_end": asked.end.isoformat(),
            "period_start": asked.start.isoformat(),
            "purpose": asked.purpose.value,
            "quantity": asked.quantity.value,
            "root": cohort.root,
        },
    )
    return cohort


def facts_of(kind: str, asked: Asked) -> dict[str, Fact]:
    """What the log says of every release and refusal."""
    return {
        "audience": asked.audience.value,
        "kind": kind,
        "period_end": asked.end.isoformat(),
        "period_start": asked.start.isoformat(),
        "purpose": asked.purpose.value,
        "quantity": asked.quantity.value,
        "recipient": asked.recipient,
    }
