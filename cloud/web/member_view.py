"""What a member's home page shows, gathered from the stores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd
from sqlalchemy import Connection

from cloud.consents import usecases as consents
from cloud.fund.usecases import MemberHolding, holding_of
from cloud.readings.chain import Chain
from cloud.readings.ports import ReadingStore
from cloud.savings.repository import HomeSaving, savings_of_home, tariffs_of_home
from cloud.savings.usecases import OLD
from cloud.transparency.repository import newest_entries
from cloud.votes import repository as votes
from cloud.votes.repository import ElectionRow
from gateway.wire.batch import GapReason
from gateway.wire.consent import Grant
from gateway.wire.reading import Purpose, Quantity, Resolution, StreamKey
from gateway.wire.session import ConsentOffer

SLOTS_PER_DAY = 96
SLOT_S = 900
CARPET_DAYS = 365
MISSING_W = -32_768

RESOLUTION_WORDS = {
    Resolution.MONTH: "monthly totals",
    Resolution.DAY: "daily totals",
    Resolution.HOUR: "hourly totals",
    Resolution.QUARTER_HOUR: "15-minute totals",
    Resolution.MINUTE: "1-minute totals",
}
USES_SHOWN = 8
SHORTFALLS_SHOWN = 8
GAP_WORDS = {
    GapReason.OVERFLOW: "Your gateway had no room left while it could not send.",
    GapReason.CONSENT_WITHDRAWN: "You turned it off or erased it before it was sent.",
    GapReason.METER_SILENT: "The meter did not answer.",
    GapReason.REFUSED: "It was refused here, because no consent covered it.",
}
USE_KINDS = ("release.made", "release.refused", "tender.opened")


@dataclass(frozen=True, slots=True, kw_only=True)
class Carpet:
    """Net power of a home, a column per local day.

    Args:
        first_day: The first column.
        days: Number of columns.
        watts: Average net power [W], shape (days, 96); `MISSING_W` where nothing is known.
    """

    first_day: date
    days: int
    watts: npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthLine:
    """A line of the table under the carpet [Wh]."""

    label: str
    bought_wh: int
    sold_wh: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFigures:
    """The last whole day [Wh].

    Args:
        day: Which.
        bought_wh: Bought.
        sold_wh: Sold.
        usual_wh: Bought on the average of the same weekday over the eight weeks before.
    """

    day: date
    bought_wh: int
    sold_wh: int
    usual_wh: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRow:
    """A purpose with its switch.

    Args:
        consent_id: Which consent.
        title: As the offer is called.
        sentence: First sentence of the text shown.
        chips: Resolution, end date and the like.
        is_on: Whether it is granted now.
        note: What a dead or missing consent says.
    """

    consent_id: str
    title: str
    sentence: str
    chips: tuple[str, ...]
    is_on: bool
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UseLine:
    """A use of group data, or a refusal, from the log."""

    at: datetime
    what: str
    saw: str
    homes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortfallLine:
    """Something that did not come from the home.

    Args:
        since: First moment missing, or when a break was noticed.
        until: First moment that is not missing; None for a break.
        stream: Which readings, in words.
        why: Why, and what to do if anything.
    """

    since: datetime
    until: datetime | None
    stream: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeView:
    """Everything on the page."""

    has_picture: bool
    day: DayFigures | None
    months: tuple[MonthLine, ...]
    first_day: date | None
    days: int
    consents: tuple[ConsentRow, ...]
    uses: tuple[UseLine, ...]
    shortfalls: tuple[ShortfallLine, ...]
    savings: tuple[HomeSaving, ...]
    saving_minor: int
    holding: MemberHolding
    election: ElectionRow | None
    turnout: int
    other_votes: tuple[ElectionRow, ...]
    has_old_tariff: bool


def net_by_interval(
    store: ReadingStore, household: str, *, zone: str, now: datetime, days: int = CARPET_DAYS
) -> pd.DataFrame:
    """Bought and sold per quarter hour over the last whole days, for the member's own insight.

    Returns:
        Columns import_wh and export_wh (NaN = unknown), aware local index.
    """
    local_midnight = now.astimezone(ZoneInfo(zone)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    first = (local_midnight - timedelta(days=days)).astimezone(ZoneInfo("UTC"))
    last = local_midnight.astimezone(ZoneInfo("UTC"))
    columns = {}
    for name, quantity in (
        ("import_wh", Quantity.IMPORT_WH),
        ("export_wh", Quantity.EXPORT_WH),
    ):
        matrix = store.home_matrix(
            [household],
            quantity=quantity,
            purpose=Purpose.OWN_INSIGHT,
            start=first,
            end=last,
            step_s=SLOT_S,
        )
        columns[name] = matrix[household]
    frame = pd.DataFrame(columns)
    if frame["export_wh"].isna().all():
        frame["export_wh"] = frame["export_wh"].where(frame["import_wh"].isna(), 0.0)
    return frame.tz_convert(zone)


def carpet_of(frame: pd.DataFrame) -> Carpet:
    """Lay intervals out by local day and local clock.

    The hour that does not exist in spring stays missing; of the hour that comes twice in autumn
    the second is shown.
    """
    index = pd.DatetimeIndex(frame.index)
    first = index[0].date()
    column = np.array([(moment - first).days for moment in index.date])
    slot = np.asarray(index.hour) * 4 + np.asarray(index.minute) // 15
    watts = np.full((int(column.max()) + 1, SLOTS_PER_DAY), MISSING_W, dtype=np.int16)
    net_w = (frame["import_wh"] - frame["export_wh"]).to_numpy() * 3600 / SLOT_S
    known = ~np.isnan(net_w)
    watts[column[known], slot[known]] = np.clip(net_w[known], -32_000, 32_000).astype(np.int16)
    return Carpet(first_day=first, days=watts.shape[0], watts=watts)


def gather_home(
    connection: Connection,
    store: ReadingStore,
    *,
    household: str,
    zone: str,
    currency: str,
    now: datetime,
) -> HomeView:
    """Gather the page of one member's home."""
    grants = consents.grants_of(connection, household)
    offers = consents.offers_today(connection, now)
    has_picture = any(
        grant.terms.purpose is Purpose.OWN_INSIGHT and not grant.is_dead
        for grant in grants.values()
    )
    frame = net_by_interval(store, household, zone=zone, now=now) if has_picture else None
    known = frame is not None and bool(frame["import_wh"].notna().any())
    savings = tuple(savings_of_home(connection, household))
    running = [
        one
        for one in votes.all_elections(connection)
        if one.closed_at is None and one.opens_at <= now < one.closes_at
    ]
    election = next((one for one in running if one.kind == votes.PROJECTS), None)
    return HomeView(
        has_picture=has_picture and known,
        day=_last_day(frame) if frame is not None and known else None,
        months=_months(frame) if frame is not None and known else (),
        first_day=pd.DatetimeIndex(frame.index)[0].date() if frame is not None else None,
        days=CARPET_DAYS,
        consents=consent_rows(offers, grants, zone, now),
        uses=_uses(connection),
        shortfalls=shortfall_lines(store, household),
        savings=savings,
        saving_minor=sum(saving.saving_minor for saving in savings),
        holding=holding_of(connection, household, currency, now),
        election=election,
        turnout=votes.turnout(connection, election.election_id) if election else 0,
        other_votes=tuple(one for one in running if one is not election),
        has_old_tariff=bool(tariffs_of_home(connection, household, OLD)),
    )


def consent_rows(
    offers: Sequence[ConsentOffer], grants: dict[str, Grant], zone: str, now: datetime
) -> tuple[ConsentRow, ...]:
    """One row per offer on the table, and per consent whose offer is gone."""
    rows = []
    for offer in offers:
        grant = grants.get(offer.offer_id)
        is_on = grant is not None and not grant.is_dead and now < grant.terms.valid_to
        terms = grant.terms if is_on and grant is not None else offer.terms
        until = terms.valid_to.astimezone(ZoneInfo(zone))
        note = ""
        if grant is not None and not is_on:
            since = grant.since.astimezone(ZoneInfo(zone))
            note = f"Withdrawn on {since.day} {since:%b %Y}." if grant.is_withdrawn else "Ran out."
        rows.append(
            ConsentRow(
                consent_id=offer.offer_id,
                title=offer.title,
                sentence=offer.notice_text.split(". ")[0].rstrip(".") + ".",
                chips=(
                    RESOLUTION_WORDS[terms.resolution],
                    f"until {until.day} {until:%b %Y}" if is_on else "12 months",
                    "never below " + f"{terms.group_min} homes"
                    if terms.group_min > 1
                    else "for you alone",
                ),
                is_on=is_on,
                note=note,
            )
        )
    return tuple(rows)


def shortfall_lines(store: ReadingStore, household: str) -> tuple[ShortfallLine, ...]:
    """Say in words what did not come: breaks of a chain first, then the newest gaps."""
    lines = [
        ShortfallLine(
            since=found.noticed_at,
            until=None,
            stream=_in_words(found.stream),
            why=_why(found.chain),
        )
        for found in store.broken_chains(household)
    ]
    lines += [
        ShortfallLine(
            since=gap.start,
            until=gap.end,
            stream=_in_words(
                StreamKey(meter=gap.meter, quantity=gap.quantity, purpose=gap.purpose)
            ),
            why=GAP_WORDS[gap.reason],
        )
        for gap in store.gaps(household)
    ]
    return tuple(lines[:SHORTFALLS_SHOWN])


def _in_words(stream: StreamKey) -> str:
    quantity = str(stream.quantity).removesuffix("_wh")
    return f"{stream.meter}, {quantity} for {str(stream.purpose).replace('_', ' ')}"


def _missing(count: int) -> str:
    if count == 1:
        return "One message is missing; it may still come"
    return f"{count} messages are missing; they may still come"


def _why(chain: Chain) -> str:
    told = []
    if chain.missing:
        told.append(_missing(chain.parts_missing))
    if chain.forked or chain.reused:
        told.append(
            "your gateway sent as if there were two of it. Was it set up again from an old copy?"
            " If not, revoke its key"
        )
    return ". ".join(told) + "."


def _last_day(frame: pd.DataFrame) -> DayFigures | None:
    whole = frame.dropna(subset=["import_wh"])
    if whole.empty:
        return None
    daily = whole.groupby(pd.DatetimeIndex(whole.index).date).sum()
    last = list(daily.index)[-1]
    same_weekday = [last - timedelta(weeks=week) for week in range(1, 9)]
    before = daily["import_wh"].reindex(same_weekday).dropna()
    return DayFigures(
        day=last,
        bought_wh=int(daily["import_wh"].to_numpy(dtype=float)[-1]),
        sold_wh=int(daily["export_wh"].to_numpy(dtype=float)[-1]),
        usual_wh=int(before.mean()) if len(before) else 0,
    )


def _months(frame: pd.DataFrame) -> tuple[MonthLine, ...]:
    index = pd.DatetimeIndex(frame.index)
    totals = frame.fillna(0.0).groupby([index.year, index.month]).sum()
    return tuple(
        MonthLine(
            label=f"{date(year, month, 1):%B %Y}",
            bought_wh=int(bought_wh),
            sold_wh=int(sold_wh),
        )
        for (year, month), (bought_wh, sold_wh) in zip(
            totals.index, totals.to_numpy(dtype=float), strict=True
        )
    )


def _uses(connection: Connection) -> tuple[UseLine, ...]:
    entries = [entry for kind in USE_KINDS for entry in newest_entries(connection, kind=kind)]
    entries.sort(key=lambda entry: entry.index, reverse=True)
    return tuple(
        use_line(entry.kind, entry.at, json.loads(entry.entry)["facts"])
        for entry in entries[:USES_SHOWN]
    )


def use_line(kind: str, at: datetime, facts: dict[str, object]) -> UseLine:
    """Say a log entry about group data in words."""
    homes = facts.get("homes", 0)
    count = homes if isinstance(homes, int) else 0
    shape = str(facts.get("template", facts.get("shape", "load profile"))).replace("_", " ")
    if kind == "release.refused":
        return UseLine(
            at=at,
            what=f"Asked and refused: {shape}",
            saw="Nothing. The privacy floor held.",
            homes=0,
        )
    if kind == "tender.opened":
        return UseLine(
            at=at,
            what="Board: tender opened",
            saw="The released sum of all homes in it",
            homes=count,
        )
    if facts.get("kind") == "noised":
        return UseLine(
            at=at,
            what="A request that members voted for",
            saw="Sums with noise, never one home",
            homes=count,
        )
    return UseLine(at=at, what=f"Board: {shape}", saw="A sum, never one home", homes=count)
