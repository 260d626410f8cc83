"""Profiles over HTTP, inside the co-op only: the board asks, board and auditors look."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict

from cloud.members.access import require_role
from cloud.members.roles import Person, Role
from cloud.profiles import repository
from cloud.profiles.release import Asked, Released
from cloud.profiles.usecases import release_group_profile, release_typical_day
from cloud.services import ServicesDep
from gateway.wire.reading import Purpose, Quantity

router = APIRouter(prefix="/api/v1/profiles", tags=["profiles"])
BoardDep = Annotated[Person, Depends(require_role(Role.BOARD))]
WatcherDep = Annotated[Person, Depends(require_role(Role.BOARD, Role.AUDITOR))]


class ProfileRequest(BaseModel):
    """Which sum to show."""

    model_config = ConfigDict(extra="forbid")

    purpose: Purpose = Purpose.GROUP_TARIFF
    quantity: Quantity = Quantity.IMPORT_WH
    start: AwareDatetime
    end: AwareDatetime
    step_s: Literal[900, 1800, 3600] = 900
    may_be_coarser: bool = False


class ProfileAnswer(BaseModel):
    """Figures that passed the floor, as columns."""

    release_no: int
    kind: str
    step: str
    homes: int
    cohort_root: str
    made_coarser: list[str]
    output_sha256: str
    log_index: int
    columns: dict[str, list[Any]]


class ReleaseAnswer(BaseModel):
    """A release or a refusal on record."""

    release_no: int
    kind: str
    purpose: Purpose
    quantity: Quantity
    audience: str
    period_start: datetime
    period_end: datetime
    homes: int
    is_released: bool
    step: str
    reasons: list[str]
    output_sha256: str
    at: datetime
    log_index: int


@router.post("/group", operation_id="profile_group")
def post_group(services: ServicesDep, person: BoardDep, wanted: ProfileRequest) -> ProfileAnswer:
    """The sum of the consenting homes per interval; 409 with the reasons if the floor refuses."""
    released = release_group_profile(
        services.database,
        services.store,
        _asked(wanted, person, services.settings.timezone),
        privacy=services.settings.privacy,
        now=services.clock(),
    )
    return _answer(released)


@router.post("/typical-day", operation_id="profile_typical_day")
def post_typical_day(
    services: ServicesDep, person: BoardDep, wanted: ProfileRequest
) -> ProfileAnswer:
    """Typical days of the consenting homes; 409 with the reasons if the floor refuses."""
    released = release_typical_day(
        services.database,
        services.store,
        _asked(wanted, person, services.settings.timezone),
        privacy=services.settings.privacy,
        now=services.clock(),
    )
    return _answer(released)


@router.get("/releases", operation_id="profile_releases")
def get_releases(
    services: ServicesDep,
    _person: WatcherDep,
    count: Annotated[int, Query(ge=1, le=500)] = 50,
) -> list[ReleaseAnswer]:
    """Releases and refusals, newest first."""
    with services.database.reading() as connection:
        rows = repository.newest_releases(connection, count)
    return [ReleaseAnswer.model_validate(row, from_attributes=True) for row in rows]


def _asked(wanted: ProfileRequest, person: Person, timezone: str) -> Asked:
    return Asked(
        purpose=wanted.purpose,
        quantity=wanted.quantity,
        start=wanted.start,
        end=wanted.end,
        step_s=wanted.step_s,
        timezone=timezone,
        asked_by=person.person_id,
        may_be_coarser=wanted.may_be_coarser,
    )


def _answer(released: Released) -> ProfileAnswer:
    frame = released.frame.reset_index()
    for name in ("interval_start", "interval_end"):
        if name in frame.columns:
            frame[name] = frame[name].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return ProfileAnswer(
        release_no=released.release_no,
        kind=released.kind,
        step=released.step,
        homes=released.homes,
        cohort_root=released.cohort_root,
        made_coarser=list(released.made_coarser),
        output_sha256=released.output_sha256,
        log_index=released.log_index,
        columns={str(name): frame[name].tolist() for name in frame.columns},
    )
