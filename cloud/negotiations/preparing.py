"""Opening a tender in two steps, because the load of many homes leaves the co-op with it.

One person of the board prepares it; what is missing is said in numbers of homes, and nothing leaves.
A second person approves: with both names the typical days of exactly the homes in the tender are
released behind the privacy floor, and the tender opens. A window that was released for an earlier
tender is not released anew: the same figures are used again, so that nothing new leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from cloud.database import Database
from cloud.errors import NotAllowed, NotFound, ReleaseRefused, StateConflict
from cloud.members.roles import Person, Role
from cloud.negotiations import draft_record, repository
from cloud.negotiations.draft_record import DROPPED, OPENED, WAITING, PreparedTender
from cloud.negotiations.pricing import TenderPlan
from cloud.negotiations.released_load import load_of
from cloud.negotiations.repository import Tender
from cloud.negotiations.tender_draft import TenderDraft, check_draft, draft_text
from cloud.negotiations.usecases import open_tender
from cloud.profiles.eligibility import consenting_homes
from cloud.profiles.privacy_floor import Audience
from cloud.profiles.release import Asked
from cloud.profiles.usecases import release_typical_day
from cloud.readings.ports import ReadingStore
from cloud.savings.repository import tariff_at
from cloud.savings.usecases import OLD
from cloud.settings import PrivacySettings
from cloud.transparency.usecases import record
from gateway.wire.reading import Purpose, Quantity

RECIPIENT = "supplier"


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """How many homes a tender can count, and what is missing; no home is named.

    Args:
        consenting: Homes whose consent covers the whole window.
        without_tariff: Of them, homes without an old tariff when supply begins.
        without_readings: Of those with one, homes with gaps in the window.
        homes_min: Least homes in a figure that leaves the co-op.
        ready: Homes that can be in it.
    """

    consenting: int
    without_tariff: int
    without_readings: int
    homes_min: int
    ready: int

    def why_not(self, *, leave_out_incomplete: bool) -> tuple[str, ...]:
        """Reasons in words why the tender cannot be opened, and what to do; none if it can."""
        reasons = []
        if self.without_tariff and not leave_out_incomplete:
            reasons.append(
                f"{self.without_tariff} of {self.consenting} homes have no old tariff on record: "
                "ask members to enter it on their page, record paper forms, or leave them out"
            )
        if self.without_readings and not leave_out_incomplete:
            reasons.append(
                f"{self.without_readings} of {self.consenting} homes miss readings in the window: "
                "wait for their gateways, choose another window, or leave them out"
            )
        if self.ready < self.homes_min:
            reasons.append(
                f"{self.ready} homes can be in it, and a load profile that leaves the co-op needs "
                f"{self.homes_min}: more homes have to agree to “Bargain a tariff”, or a window "
                "that more consents cover has to be chosen"
            )
        return tuple(reasons)


def readiness(
    database: Database, store: ReadingStore, draft: TenderDraft, *, privacy: PrivacySettings
) -> Readiness:
    """Count the homes that a tender could have."""
    with database.reading() as connection:
        consenting, with_tariff = _who(connection, draft)
    ready = _complete(store, with_tariff, draft)
    return Readiness(
        consenting=len(consenting),
        without_tariff=len(consenting) - len(with_tariff),
        without_readings=len(with_tariff) - len(ready),
        homes_min=privacy.group_min_outside,
        ready=len(ready),
    )


def prepare_tender(
    database: Database, draft: TenderDraft, *, person: Person, now: datetime
) -> PreparedTender:
    """Keep a tender for a second person to approve; the same draft again adds nothing.

    Raises:
        NotAllowed: The person is not of the board.
        BadInput: The draft makes no sense; every fault is named.
        StateConflict: The name is taken.
    """
    _require_board(person)
    check_draft(draft, now)
    with database.transaction() as connection:
        known = draft_record.prepared_row(connection, draft.tender_id)
        if known is not None and (known.state, draft_text(known.draft)) == (
            WAITING,
            draft_text(draft),
        ):
            return known
        if known is not None or repository.tender_row(connection, draft.tender_id) is not None:
            raise StateConflict(
                f"there is a {draft.tender_id} already; give this one another title"
            )
        prepared = PreparedTender(
            draft=draft, state=WAITING, asked_by=person.person_id, asked_at=now
        )
        draft_record.insert_prepared(connection, prepared)
        record(
            connection,
            kind="tender.prepared",
            facts={"closes_at": draft.closes_at.isoformat(), "tender": draft.tender_id},
            at=now,
        )
    return prepared


def approve_tender(
    database: Database,
    store: ReadingStore,
    tender_id: str,
    *,
    person: Person,
    privacy: PrivacySettings,
    currency: str,
    zone: str,
    now: datetime,
) -> Tender:
    """Approve a prepared tender as the second person: release its load, and open it.

    An approval that was interrupted is done again: the release of the same homes is the same.

    Raises:
        NotAllowed: The person is not of the board, or prepared it.
        NotFound: Nothing of this name is prepared.
        StateConflict: It was opened or dropped, its dates have passed, or homes lack what is
            needed; says how many and what to do.
        ReleaseRefused: The privacy floor refuses; `reasons` say why.
    """
    _require_board(person)
    with database.reading() as connection:
        prepared = _waiting(connection, tender_id)
    if prepared.asked_by == person.person_id:
        raise NotAllowed("you prepared this tender; a second member of the board has to approve it")
    draft = prepared.draft
    check_draft(draft, now)
    try:
        load, homes = _load_and_homes(
            database, store, prepared, person=person, privacy=privacy, zone=zone, now=now
        )
    except ReleaseRefused as refused:
        _note_refusal(database, tender_id, "; ".join(refused.reasons))
        raise
    except StateConflict as fault:
        _note_refusal(database, tender_id, str(fault))
        raise
    plan = TenderPlan(
        tender_id=draft.tender_id,
        title=draft.title,
        households=homes,
        supply_from=draft.supply_from,
        window_start=draft.window_start,
        window_end=draft.window_end,
        closes_at=draft.closes_at,
        step_s=draft.step_s,
        mandate=draft.mandate,
        rounds_max=draft.rounds_max,
        spot_per_mwh=draft.spot_per_mwh,
        assumptions=draft.assumptions,
        load=load,
        power=draft.power,
    )
    opened = open_tender(database, store, plan, currency=currency, zone=zone, now=now)
    with database.transaction() as connection:
        draft_record.decide(
            connection, tender_id, state=OPENED, person_id=person.person_id, now=now
        )
    return opened


def drop_tender(database: Database, tender_id: str, *, person: Person, now: datetime) -> None:
    """Put a prepared tender aside; nothing of it has left.

    Raises:
        NotAllowed: The person is not of the board.
        NotFound: Nothing of this name is prepared.
        StateConflict: It was opened or dropped.
    """
    _require_board(person)
    with database.transaction() as connection:
        _waiting(connection, tender_id)
        draft_record.decide(
            connection, tender_id, state=DROPPED, person_id=person.person_id, now=now
        )
        record(connection, kind="tender.dropped", facts={"tender": tender_id}, at=now)


def _load_and_homes(
    database: Database,
    store: ReadingStore,
    prepared: PreparedTender,
    *,
    person: Person,
    privacy: PrivacySettings,
    zone: str,
    now: datetime,
) -> tuple[dict[str, Any], list[str]]:
    """The released load, and the homes that are in it and can be priced."""
    draft = prepared.draft
    with database.reading() as connection:
        consenting, with_tariff = _who(connection, draft)
        earlier = _released_before(connection, draft)
        known = set(repository.homes_of(connection, earlier.tender_id)) if earlier else set()
    ready = _complete(store, with_tariff, draft)
    found = Readiness(
        consenting=len(consenting),
        without_tariff=len(consenting) - len(with_tariff),
        without_readings=len(with_tariff) - len(ready),
        homes_min=privacy.group_min_outside,
        ready=len(ready),
    )
    reasons = found.why_not(leave_out_incomplete=draft.leave_out_incomplete)
    if reasons:
        raise StateConflict("the tender cannot be opened: " + "; ".join(reasons))
    if earlier is not None:
        return dict(earlier.load), sorted(known & set(ready))
    released = release_typical_day(
        database,
        store,
        Asked(
            purpose=Purpose.GROUP_TARIFF,
            quantity=Quantity.IMPORT_WH,
            start=draft.window_start,
            end=draft.window_end,
            step_s=draft.step_s,
            audience=Audience.OUTSIDE,
            recipient=RECIPIENT,
            timezone=zone,
            asked_by=prepared.asked_by,
            approved_by=(prepared.asked_by, person.person_id),
            may_be_coarser=True,
            only=frozenset(ready),
        ),
        privacy=privacy,
        now=now,
    )
    return load_of(released, timezone=zone), list(released.households)


def _released_before(connection: Connection, draft: TenderDraft) -> Tender | None:
    """An earlier tender on the same window, whose released load is used again."""
    return next(
        (
            tender
            for tender in repository.all_tenders(connection)
            if (tender.window_start, tender.window_end) == (draft.window_start, draft.window_end)
            and tender.load.get("columns")
        ),
        None,
    )


def _who(connection: Connection, draft: TenderDraft) -> tuple[list[str], list[str]]:
    """Homes whose consent covers the window, and those of them with an old tariff."""
    consenting = sorted(
        consenting_homes(
            connection,
            purpose=Purpose.GROUP_TARIFF,
            quantity=Quantity.IMPORT_WH,
            start=draft.window_start,
            end=draft.window_end,
            recipient=RECIPIENT,
        )
    )
    with_tariff = [
        home
        for home in consenting
        if tariff_at(connection, home, OLD, draft.supply_from) is not None
    ]
    return consenting, with_tariff


def _complete(store: ReadingStore, homes: list[str], draft: TenderDraft) -> list[str]:
    """Homes without a gap in the window."""
    if not homes:
        return []
    frame = store.home_matrix(
        homes,
        quantity=Quantity.IMPORT_WH,
        purpose=Purpose.GROUP_TARIFF,
        start=draft.window_start,
        end=draft.window_end,
        step_s=draft.step_s,
    )
    return [home for home in homes if not frame[home].isna().any()]


def _waiting(connection: Connection, tender_id: str) -> PreparedTender:
    prepared = draft_record.prepared_row(connection, tender_id)
    if prepared is None:
        raise NotFound(f"prepared tender {tender_id[:64]}")
    if prepared.state != WAITING:
        raise StateConflict(f"{tender_id} was {prepared.state} already")
    return prepared


def _note_refusal(database: Database, tender_id: str, refusal: str) -> None:
    with database.transaction() as connection:
        draft_record.note_refusal(connection, tender_id, refusal)


def _require_board(person: Person) -> None:
    if not person.has(Role.BOARD):
        raise NotAllowed("only members of the board open a tender")
