"""What the page says, worked out from the running gateway. No markup here, no numbers there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gateway.clock import DOUBT_S_MIN, off_by
from gateway.consent.book import ConsentBook
from gateway.consent.coarsen import period_of
from gateway.health import LiveMeter, power_of
from gateway.household import offers
from gateway.meters.source import MeterCondition, SourceHealth
from gateway.outbox.figures import Figures, departures, figures, notable
from gateway.troubles import troubles
from gateway.wire.consent import Grant, Withheld
from gateway.wire.reading import Purpose, Quantity, Resolution
from gateway.wire.session import ConsentOffer

if TYPE_CHECKING:
    from gateway.daemon import Daemon

PURPOSE_WORDS = {
    Purpose.BILLING: "your bill",
    Purpose.GROUP_TARIFF: "tariff talks",
    Purpose.OWN_INSIGHT: "your own page",
    Purpose.GRID_SERVICE: "grid service",
    Purpose.RESEARCH: "research",
    Purpose.OPEN_STATISTICS: "open statistics",
}
QUANTITY_WORDS = {
    Quantity.IMPORT_WH: "Bought",
    Quantity.EXPORT_WH: "Sold",
    Quantity.GENERATION_WH: "Generated",
    Quantity.EV_WH: "Car charging",
    Quantity.HEAT_PUMP_WH: "Heat pump",
}
STEP_WORDS = {
    Resolution.MONTH: "per month",
    Resolution.DAY: "per day",
    Resolution.HOUR: "per hour",
    Resolution.QUARTER_HOUR: "per 15 min",
    Resolution.MINUTE: "per minute",
}
STEP_TOTALS = {
    Resolution.MONTH: "monthly totals",
    Resolution.DAY: "daily totals",
    Resolution.HOUR: "hourly totals",
    Resolution.QUARTER_HOUR: "15-minute totals",
    Resolution.MINUTE: "minute by minute",
}
HOLD_WORDS = {
    Withheld.CLOCK_NOT_SYNCHRONISED: "The clock is not known to be right yet, so readings wait here.",
    Withheld.POLICY_NOT_CONFIRMED: (
        "The co-op has not confirmed your consents for a while, so readings wait here."
    ),
    Withheld.PAUSED: "Paused by you. Readings wait here until you choose what becomes of them.",
}
SPARK_WIDTH, SPARK_HEIGHT = 240, 56
_MESSAGE_CHARS_MAX = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lamp:
    """The privacy light: `off`, `totals` or `detail`, with what it means."""

    kind: str
    title: str
    says: str
    paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterTile:
    """A meter as last heard."""

    name: str
    label: str
    power_w: int | None
    spark: str
    says: str
    quiet: bool
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRow:
    """A consent or an offer, ready to be shown."""

    consent_id: str
    title: str
    purpose: str
    what: str
    step: str
    meters: str
    recipients: str
    release: str
    until: str
    notice: str
    state: str
    reference: str
    in_force: bool
    coarser: tuple[tuple[str, str], ...]
    offered: bool


def lamp(daemon: Daemon) -> Lamp:
    """Work out the privacy light."""
    paused = daemon.store.fact("paused") is not None
    stays = _why_nothing_leaves(daemon, paused=paused)
    finest = daemon.pipeline.book.finest()
    if stays is not None or finest is None:
        says = stays or "You have not agreed to anything. Everything stays in this house."
        return Lamp(kind="off", title="Nothing leaves this house", says=says, paused=paused)
    says = _last_sent(daemon, finest)
    if finest is Resolution.MINUTE:
        return Lamp(kind="detail", title="Detail leaves this house", says=says, paused=False)
    return Lamp(kind="totals", title="Only totals leave this house", says=says, paused=False)


def tiles(daemon: Daemon) -> list[MeterTile]:
    """All meters as last heard."""
    now = daemon.watch.now()
    health = _health_by_meter(daemon)
    return [_tile(name, live, health.get(name), now) for name, live in daemon.live.meters.items()]


def consent_rows(daemon: Daemon) -> list[ConsentRow]:
    """Consents in the book, and what else the co-op asks for."""
    book = daemon.pipeline.book
    asked = {offer.offer_id: offer for offer in offers(daemon.store)}
    rows = [_consent_row(daemon, grant, asked.get(name)) for name, grant in book.grants.items()]
    rows += [_offer_row(daemon, offer) for name, offer in asked.items() if name not in book.grants]
    return sorted(rows, key=lambda row: (not row.in_force, row.title))


def leaves(book: ConsentBook) -> list[tuple[str, str]]:
    """What leaves, in words, and for what."""
    return [
        (
            f"{_what(grant.terms.quantities)}, {STEP_WORDS[grant.terms.resolution]}",
            PURPOSE_WORDS[grant.terms.purpose],
        )
        for grant in book.live()
    ]


def stays(daemon: Daemon) -> list[tuple[str, str]]:
    """What never leaves, and how long it is kept here."""
    book = daemon.pipeline.book
    granted = {(stream.meter, stream.quantity) for stream in book.streams()}
    rows = [
        ("Power each second, every meter", "minutes, in memory"),
        ("Voltage, current and frequency", "minutes, in memory"),
        ("Names and serial numbers of devices", "only here"),
    ]
    for meter in daemon.settings.meters:
        followed = (Quantity.IMPORT_WH, Quantity.EXPORT_WH)
        names = tuple(meter.counts) or followed
        closed = [name for name in names if (meter.name, name) not in granted]
        if closed:
            words = _what(closed).lower()
            rows.append((f"{label_of(meter.name)}: energy {words}", "never written down"))
    return rows


def last_message(daemon: Daemon) -> str:
    """The last message as sent, laid out for reading."""
    payload = daemon.store.fact("last_message")
    if payload is None:
        return ""
    text = msgspec.json.format(payload, indent=1).decode()
    if len(text) > _MESSAGE_CHARS_MAX:
        text = payload.decode()[:_MESSAGE_CHARS_MAX] + " …"
    return text


def counts(daemon: Daemon) -> Figures:
    """Figures over the gateway's life."""
    with daemon.store.reading() as connection:
        return figures(connection)


def log_of_departures(daemon: Daemon) -> list[dict[str, object]]:
    """What left, by day."""
    with daemon.store.reading() as connection:
        return departures(connection)


def events(daemon: Daemon) -> list[tuple[str, str]]:
    """What the household should know of, newest first."""
    with daemon.store.reading() as connection:
        found = notable(connection, newest=20)
    return [
        (local(daemon, datetime.fromisoformat(str(entry["at"]))), str(entry["said"]))
        for entry in found
    ]


def room(daemon: Daemon) -> tuple[int, int, int]:
    """Intervals that wait, how many may, and for how many days that lasts at the present rate."""
    waiting = daemon.store.waiting() + daemon.pipeline.waiting_in_memory
    most = daemon.settings.outbox.intervals_max
    per_day = 0.0
    for grant in daemon.pipeline.book.streams().values():
        step_s = grant.terms.resolution.step_s or 86_400
        per_day += 86_400 / step_s
    return waiting, most, int(most / per_day) if per_day else 0


def health_facts(daemon: Daemon) -> list[tuple[str, str]]:
    """How the gateway is, in words."""
    watch = daemon.watch
    # What the page says elsewhere: the clock above, meters in their tiles, the log in its alarm.
    elsewhere = ("clock", "log", "key", "send", "page")
    wrong = {
        place: said
        for place, said in troubles(daemon).items()
        if place not in elsewhere and not place.startswith("meter ")
    }
    clock = "right" if watch.is_synchronised() else "not confirmed yet"
    if watch.offset_s is not None and watch.is_synchronised():
        clock = f"{abs(watch.offset_s):.1f} s from the co-op's"
    elif watch.offset_s is not None and abs(watch.offset_s) > DOUBT_S_MIN:
        clock = f"{off_by(watch.offset_s)} the co-op's; readings wait"
    rows = [("Clock", clock)]
    heat = _temperature_c()
    if heat is not None:
        rows.append(("Processor", f"{heat:.0f} °C"))
    rows += [
        ("Card", wrong.pop("disk", "") or wrong.pop("room", "") or "writes fine"),
        ("Link to the co-op", "down" if wrong.pop("sync", "") else "up"),
        ("Work", wrong.pop("work", "") or "all loops turn"),
        *((place.replace("_", " ").capitalize(), said) for place, said in wrong.items()),
        ("Key", daemon.identity.key_id[:8]),
        ("This page", "works without internet"),
    ]
    return rows


def label_of(name: str) -> str:
    """A meter's name for people."""
    return name.replace("_", " ").replace("-", " ").capitalize()


def local(daemon: Daemon, moment: datetime) -> str:
    """A moment in the household's own time."""
    shown = moment.astimezone(daemon.settings.zone)
    return f"{shown:%-d %B %Y, %H:%M}"


def spark(points: list[tuple[datetime, float]]) -> str:
    """The path of a small line, or empty if there is too little to draw."""
    if len(points) < 2:
        return ""
    values = [power_w for _, power_w in points]
    low, high = min(0.0, *values), max(100.0, *values)
    first, last = points[0][0], points[-1][0]
    span_s = max(1.0, (last - first).total_seconds())
    steps = [
        f"{(at - first).total_seconds() / span_s * SPARK_WIDTH:.1f} "
        f"{SPARK_HEIGHT - 3 - (value - low) / (high - low) * (SPARK_HEIGHT - 6):.1f}"
        for at, value in points
    ]
    return "M" + "L".join(steps)


def _why_nothing_leaves(daemon: Daemon, *, paused: bool) -> str | None:
    if daemon.identity.pinned is None:
        return "This gateway is not paired yet. Everything stays in this house."
    if daemon.store.fact("fork") is not None:
        return "The co-op's record contradicts itself, so this gateway stopped sending."
    turned_away = daemon.store.fact("turned_away")
    if turned_away is not None:
        return f"The co-op takes nothing from this gateway: {turned_away.decode()}."
    if paused:
        return HOLD_WORDS[Withheld.PAUSED]
    if daemon.pipeline.book.finest() is None or daemon.uplink.purposes_now():
        return None
    synchronised = daemon.watch.is_synchronised()
    return HOLD_WORDS[
        Withheld.POLICY_NOT_CONFIRMED if synchronised else Withheld.CLOCK_NOT_SYNCHRONISED
    ]


def _last_sent(daemon: Daemon, finest: Resolution) -> str:
    coop = daemon.identity.pinned.coop_name if daemon.identity.pinned else "the co-op"
    stored = daemon.store.fact("last_sent_at")
    step = STEP_TOTALS[finest]
    if stored is None:
        return f"Nothing was sent yet. You agreed to {step}, signed, to {coop}."
    at = datetime.fromisoformat(stored.decode()).astimezone(daemon.settings.zone)
    end = period_of(daemon.watch.now(), finest, daemon.settings.zone)[1]
    following = end.astimezone(daemon.settings.zone)
    says = f"Last sent at {at:%H:%M}: {step}, signed, to {coop}."
    if finest.step_s is not None:
        says += f" Next after {following:%H:%M}."
    return says


def _health_by_meter(daemon: Daemon) -> dict[str, SourceHealth]:
    found: dict[str, SourceHealth] = {}
    for source in daemon.sources:
        health = source.health()
        for name in health.meters:
            found[name] = health
    return found


def _tile(name: str, live: LiveMeter, source: SourceHealth | None, now: datetime) -> MeterTile:
    sample = live.sample
    wire = source.name if source is not None else ""
    state = source.meters.get(name) if source is not None else None
    failing = state is not None and state.condition in (
        MeterCondition.FAILING,
        MeterCondition.RESTING,
    )
    if sample is None:
        says = f"{wire} · does not answer" if failing else f"{wire} · not heard yet"
        return MeterTile(
            name=name, label=label_of(name), power_w=None, spark="", says=says, quiet=True, facts=()
        )
    power_w = power_of(sample.quantities)
    says = f"{wire} · {_ago(now - sample.taken_at)}"
    if failing:
        says = f"{wire} · silent, last heard {_ago(now - sample.taken_at)}"
    return MeterTile(
        name=name,
        label=label_of(name),
        power_w=None if power_w is None else round(power_w),
        spark=spark(list(live.points)),
        says=says,
        quiet=failing,
        facts=tuple(
            (quantity, f"{value:,}" if isinstance(value, int) else f"{value:,.3f}")
            for quantity, value in sorted(sample.quantities.items())
        ),
    )


def _consent_row(daemon: Daemon, grant: Grant, offer: ConsentOffer | None) -> ConsentRow:
    terms = grant.terms
    coarser = [step for step in Resolution if terms.resolution.is_finer_than(step)]
    ended = terms.valid_to <= daemon.watch.now()
    return ConsentRow(
        consent_id=grant.consent_id,
        title=offer.title if offer is not None else label_of(grant.consent_id),
        purpose=PURPOSE_WORDS[terms.purpose],
        what=_what(terms.quantities),
        step=STEP_WORDS[terms.resolution],
        meters=", ".join(label_of(meter) for meter in terms.meters),
        recipients=", ".join(terms.recipients),
        release=_release(terms.release, terms.group_min),
        until=local(daemon, terms.valid_to),
        notice=offer.notice_text if offer is not None else "",
        state="ended" if ended and not grant.is_dead else str(grant.state),
        reference=grant.reference,
        in_force=not grant.is_dead and not ended,
        coarser=tuple((str(step), STEP_WORDS[step]) for step in reversed(coarser)),
        offered=offer is not None,
    )


def _offer_row(daemon: Daemon, offer: ConsentOffer) -> ConsentRow:
    terms = offer.terms
    coarser = [step for step in Resolution if terms.resolution.is_finer_than(step)]
    return ConsentRow(
        consent_id=offer.offer_id,
        title=offer.title,
        purpose=PURPOSE_WORDS[terms.purpose],
        what=_what(terms.quantities),
        step=STEP_WORDS[terms.resolution],
        meters=", ".join(label_of(meter.name) for meter in daemon.settings.meters),
        recipients=", ".join(terms.recipients),
        release=_release(terms.release, terms.group_min),
        until=local(daemon, terms.valid_to),
        notice=offer.notice_text,
        state="asked for",
        reference="",
        in_force=False,
        coarser=tuple((str(step), STEP_WORDS[step]) for step in reversed(coarser)),
        offered=True,
    )


def _what(quantities: tuple[Quantity, ...] | list[Quantity]) -> str:
    words = [QUANTITY_WORDS[quantity] for quantity in quantities]
    lower = [words[0], *(word.lower() for word in words[1:])]
    return lower[0] if len(lower) == 1 else f"{', '.join(lower[:-1])} and {lower[-1]}"


def _release(release: str, group_min: int) -> str:
    if release == "own_only":
        return "for you alone"
    if release == "noised":
        return "only in sums with noise added"
    return f"only in sums of {group_min} homes or more"


def _ago(age: timedelta) -> str:
    seconds = max(0, int(age.total_seconds()))
    if seconds < 120:
        return f"{seconds} s ago"
    if seconds < 7_200:
        return f"{seconds // 60} min ago"
    return f"{seconds // 3_600} h ago"


def _temperature_c() -> float | None:
    try:
        told = Path("/sys/class/thermal/thermal_zone0/temp").read_text(encoding="ascii")
        return int(told) / 1000
    except (OSError, ValueError):
        return None
