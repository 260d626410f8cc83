"""After our own outage: ask a device for the minutes it recorded itself, instead of guessing them.

A Shelly of the second generation or later keeps a record a minute. The records give the shape and
the counter gives the sum: minutes from the device are put between two counter readings, and pass
through the same distrustful state machine as everything else. Minutes that the device does not
have either stay an estimate.

Source: Shelly Gen2+ EMData.GetData (keys `a_total_act_energy`, `a_total_act_ret_energy`, ... in Wh)
and EM1Data.GetData (`total_act_energy`, `total_act_ret_energy`); a password is asked for by digest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Protocol

import msgspec

from gateway.errors import BadPayload, RecordsNotGiven
from gateway.meters.source import Sample
from gateway.uplink.lean_httpx import httpx

HOLE_MIN = timedelta(minutes=3)
"""A shorter silence is bridged by the counter alone."""
HOLE_MAX = timedelta(days=31)
ANSWER_BYTES_MAX = 4 * 1024 * 1024
PAGES_MAX = 200
RECORDS_MAX = 50_000
SLACK_WH = 5.0
"""Counters and records may differ by this much through rounding alone [Wh]."""
ACCOUNT = "admin"
"""The one account a Shelly has."""
_METHODS = {"emdata": "EMData.GetData", "em1data": "EM1Data.GetData"}
log = logging.getLogger("commonwatt.backfill")
_PHASES = ("a", "b", "c")


class _Run(msgspec.Struct, frozen=True):
    """Consecutive records."""

    ts: Annotated[int, msgspec.Meta(ge=0, le=2**40)]
    period: Annotated[int, msgspec.Meta(ge=1, le=86_400)]
    values: Annotated[list[list[float | None]], msgspec.Meta(max_length=RECORDS_MAX)]


class _Page(msgspec.Struct, frozen=True):
    """One answer of the device."""

    keys: Annotated[list[str], msgspec.Meta(max_length=256)]
    data: Annotated[list[_Run], msgspec.Meta(max_length=RECORDS_MAX)] = []
    next_record_ts: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MinuteRecord:
    """What a device recorded over one period of its own.

    Args:
        start: Start of the period, aware UTC.
        end: End of the period, aware UTC.
        energies_wh: Energy by counter name, `import_wh` and `export_wh` [Wh].
    """

    start: datetime
    end: datetime
    energies_wh: Mapping[str, float]


class RecordKeeper(Protocol):
    """A device that keeps records."""

    async def records(self, start: datetime, end: datetime) -> list[MinuteRecord]:
        """Records that end within a time, in order."""


class ShellyRecords:
    """A Shelly's own records over HTTP on the home's network.

    Args:
        url: Address of the device.
        component: Whose records, such as `emdata:0` or `em1data:1`.
        password: Of the device, if it has one.
        timeout_s: How long one answer may take [s].
    """

    def __init__(
        self,
        url: str,
        *,
        component: str = "emdata:0",
        password: str | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        """Nothing is asked yet."""
        kind, _, channel = component.partition(":")
        self._url = f"{url.rstrip('/')}/rpc/{_METHODS[kind]}"
        self._channel = int(channel)
        self._auth = None if password is None else httpx.DigestAuth(ACCOUNT, password)
        self._timeout_s = timeout_s

    async def records(self, start: datetime, end: datetime) -> list[MinuteRecord]:
        """Records that end within a time, in order.

        Raises:
            BadPayload: The device says something else.
            RecordsNotGiven: The device does not answer, or wants a password.
        """
        found: list[MinuteRecord] = []
        asked_s = int(start.timestamp())
        async with httpx.AsyncClient(
            timeout=self._timeout_s, trust_env=False, auth=self._auth
        ) as client:
            for _ in range(PAGES_MAX):
                page = await self._page(client, asked_s, int(end.timestamp()))
                found += records_of(page, topic=self._url)
                following_s = page.next_record_ts
                if following_s is None or following_s <= asked_s or len(found) > RECORDS_MAX:
                    break
                asked_s = following_s
        return sorted(
            (record for record in found if start < record.end <= end), key=lambda r: r.end
        )

    async def _page(self, client: httpx.AsyncClient, start_s: int, end_s: int) -> _Page:
        asked = {"id": self._channel, "ts": start_s, "end_ts": end_s}
        collected = bytearray()
        try:
            async with client.stream("GET", self._url, params=asked) as answer:
                async for piece in answer.aiter_bytes():
                    collected += piece
                    if len(collected) > ANSWER_BYTES_MAX:
                        break
        except (httpx.HTTPError, httpx.InvalidURL) as fault:
            raise RecordsNotGiven(problem=f"no answer ({type(fault).__name__})") from fault
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            raise RecordsNotGiven(problem="it wants its password; check records_password_file")
        if answer.status_code == HTTPStatus.NOT_FOUND:
            raise RecordsNotGiven(problem="it has no such records; check records_from")
        if not answer.is_success:
            raise RecordsNotGiven(problem=f"HTTP {answer.status_code}")
        return read_page(bytes(collected), topic=self._url)


class HoleFiller:
    """Catches the first sample after a hole until the device was asked about it.

    Args:
        keepers: Devices that keep records, by meter.
        last_totals: When a meter was last believed, and its totals by counter name [Wh].
        take: Where samples go.
        note: Tells the household.
    """

    def __init__(
        self,
        *,
        keepers: Mapping[str, RecordKeeper],
        last_totals: Callable[[str], tuple[datetime | None, dict[str, int]]],
        take: Callable[[Sample], None],
        note: Callable[[str], None],
    ) -> None:
        """Nothing is asked yet."""
        self.keepers = dict(keepers)
        self.tasks: set[asyncio.Task[None]] = set()
        self._last_totals = last_totals
        self._take = take
        self._note = note
        self._caught: dict[str, list[Sample]] = {}

    def catches(self, sample: Sample) -> bool:
        """Whether a sample was caught; it goes on by itself once the hole is filled."""
        if sample.meter in self._caught:
            self._caught[sample.meter].append(sample)
            return True
        keeper = self.keepers.get(sample.meter)
        if keeper is None:
            return False
        since, totals_wh = self._last_totals(sample.meter)
        if since is None or not HOLE_MIN < sample.taken_at - since <= HOLE_MAX:
            return False
        self._caught[sample.meter] = [sample]
        filling = self._fill(keeper, since, totals_wh, sample)
        task = asyncio.get_running_loop().create_task(filling)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return True

    async def _fill(
        self, keeper: RecordKeeper, since: datetime, totals_wh: dict[str, int], after: Sample
    ) -> None:
        filled: list[Sample] = []
        try:
            records = await keeper.records(since, after.taken_at)
            filled = fill_hole(since, totals_wh, records, after)
        except (BadPayload, RecordsNotGiven) as fault:
            # Without the address, which is the home's own.
            log.warning("no records from meter %s: %s", after.meter, fault.problem)
            self._note(f"{after.meter}: no records of its own for a hole: {fault.problem}")
        finally:
            for sample in [*filled, *self._caught.pop(after.meter)]:
                self._take(sample)
        if filled:
            self._note(f"{after.meter}: {len(filled)} minutes came from the device's own records")


def read_page(payload: bytes, *, topic: str) -> _Page:
    """Read one answer.

    Raises:
        BadPayload: It is not what EMData.GetData answers.
    """
    if len(payload) > ANSWER_BYTES_MAX:
        raise BadPayload(topic=topic, problem="the answer is far too long")
    try:
        # Not strict: the documents call the period a string.
        return msgspec.convert(msgspec.json.decode(payload), _Page, strict=False)
    except (msgspec.MsgspecError, RecursionError) as fault:
        raise BadPayload(topic=topic, problem=f"not records: {fault}") from fault


def records_of(page: _Page, *, topic: str) -> list[MinuteRecord]:
    """Work out the energy of each record, phases added up.

    Raises:
        BadPayload: A row has another length than there are keys, or no energies at all.
    """
    places = {key: place for place, key in enumerate(page.keys)}
    imports = [places[key] for key in _named("act", places)]
    exports = [places[key] for key in _named("act_ret", places)]
    if page.data and not imports:
        raise BadPayload(topic=topic, problem="the records hold no energies")
    found: list[MinuteRecord] = []
    for run in page.data:
        for position, row in enumerate(run.values):
            if len(row) != len(page.keys):
                raise BadPayload(topic=topic, problem="a record has another length than its keys")
            start = datetime.fromtimestamp(run.ts + run.period * position, tz=UTC)
            end = start + timedelta(seconds=run.period)
            energies = {"import_wh": _sum(row, imports), "export_wh": _sum(row, exports)}
            known = {name: value for name, value in energies.items() if value is not None}
            found.append(MinuteRecord(start=start, end=end, energies_wh=known))
    return found


def fill_hole(
    since: datetime, totals_wh: Mapping[str, int], records: Sequence[MinuteRecord], after: Sample
) -> list[Sample]:
    """Make the counter readings that would have been taken in the hole.

    The sum of the hole is the counter's alone. What the counter shows beyond the records fell into
    the minutes that were not recorded; where it could not have, the records are not believed.

    Args:
        since: When the counters were last believed, aware UTC.
        totals_wh: Their totals then, by counter name [Wh].
        records: What the device recorded in the hole, in order.
        after: The first sample after it.
    """
    told: dict[datetime, dict[str, int | float]] = {}
    for name, total_wh in totals_wh.items():
        shown_wh = after.quantities.get(name)
        # A counter that fell is another matter, which the state machine decides.
        if shown_wh is None or shown_wh < total_wh:
            continue
        pieces = _pieces(name, since, records, after.taken_at)
        for at, running_wh in _curve(pieces, total_wh, int(shown_wh)):
            told.setdefault(at, {})[name] = running_wh
    return [
        Sample(meter=after.meter, taken_at=at, quantities=told[at], identity=after.identity)
        for at in sorted(told)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """A stretch of the hole; `energy_wh` is None where nothing was recorded."""

    end: datetime
    length_s: float
    energy_wh: float | None


def _pieces(
    name: str, since: datetime, records: Sequence[MinuteRecord], until: datetime
) -> list[_Piece]:
    """Cut a hole into what was recorded and what was not, without overlaps."""
    pieces: list[_Piece] = []
    reached = since
    for record in records:
        energy_wh = record.energies_wh.get(name)
        if energy_wh is None or record.end <= reached or record.end > until:
            continue
        start = max(record.start, reached)
        if start > reached:
            silent_s = (start - reached).total_seconds()
            pieces.append(_Piece(end=start, length_s=silent_s, energy_wh=None))
        length_s = (record.end - start).total_seconds()
        # The hole began within a minute: only the rest of that minute counts.
        share = length_s / (record.end - record.start).total_seconds()
        pieces.append(_Piece(end=record.end, length_s=length_s, energy_wh=energy_wh * share))
        reached = record.end
    if pieces and until > reached:
        silent_s = (until - reached).total_seconds()
        pieces.append(_Piece(end=until, length_s=silent_s, energy_wh=None))
    return pieces


def _curve(
    pieces: Sequence[_Piece], total_wh: int, shown_wh: int
) -> Iterator[tuple[datetime, int]]:
    """The counter at the end of each piece but the last; nothing if the records do not fit it."""
    recorded = [
        (piece.energy_wh, piece.length_s) for piece in pieces if piece.energy_wh is not None
    ]
    if not recorded:
        return
    silent_s = sum(piece.length_s for piece in pieces if piece.energy_wh is None)
    rest_wh = max(0.0, shown_wh - total_wh - sum(energy_wh for energy_wh, _ in recorded))
    hole_s = sum(piece.length_s for piece in pieces)
    highest = max(
        (shown_wh - total_wh) / hole_s, *(energy_wh / length_s for energy_wh, length_s in recorded)
    )
    if rest_wh > SLACK_WH + 2 * highest * silent_s:
        return
    running_wh = float(total_wh)
    for piece in pieces[:-1]:
        if piece.energy_wh is None:
            running_wh += rest_wh * piece.length_s / silent_s
        else:
            running_wh += piece.energy_wh
        yield piece.end, int(min(running_wh, shown_wh))


def _named(kind: str, places: Mapping[str, int]) -> list[str]:
    """Keys of an energy: per phase, or the single one of a one-phase device."""
    phases = [f"{phase}_total_{kind}_energy" for phase in _PHASES]
    found = [key for key in phases if key in places]
    return found or [key for key in (f"total_{kind}_energy",) if key in places]


def _sum(row: Sequence[float | None], columns: Sequence[int]) -> float | None:
    told = [row[column] for column in columns]
    known = [value for value in told if value is not None and value >= 0]
    return sum(known) if columns and len(known) == len(told) else None
