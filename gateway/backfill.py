"""After our own outage: ask a device for the minutes it recorded itself, instead of guessing them.

A Shelly of the second generation or later keeps a record a minute. The records give the shape and
the counter gives the sum: minutes from the device are put between two counter readings, and pass
through the same distrustful state machine as everything else. Minutes that the device does not
have either stay an estimate.

Source: Shelly Gen2+ EMData.GetData (keys `a_total_act_energy`, `a_total_act_ret_energy`, ... in Wh).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Protocol

import msgspec

from gateway.errors import BadPayload, CloudUnreachable, GatewayError
from gateway.meters.source import Sample
from gateway.uplink.lean_httpx import httpx

HOLE_MIN = timedelta(minutes=3)
"""A shorter silence is bridged by the counter alone."""
HOLE_MAX = timedelta(days=31)
ANSWER_BYTES_MAX = 4 * 1024 * 1024
PAGES_MAX = 200
RECORDS_MAX = 50_000
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
        end: End of the period, aware UTC.
        energies_wh: Energy by counter name, `import_wh` and `export_wh` [Wh].
    """

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
        timeout_s: How long one answer may take [s].
    """

    def __init__(self, url: str, *, timeout_s: float = 10.0) -> None:
        """Nothing is asked yet."""
        self._url = url.rstrip("/") + "/rpc/EMData.GetData"
        self._timeout_s = timeout_s

    async def records(self, start: datetime, end: datetime) -> list[MinuteRecord]:
        """Records that end within a time, in order.

        Raises:
            BadPayload: The device says something else.
            CloudUnreachable: The device does not answer.
        """
        found: list[MinuteRecord] = []
        asked_s = int(start.timestamp())
        async with httpx.AsyncClient(timeout=self._timeout_s, trust_env=False) as client:
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
        try:
            answer = await client.get(self._url, params={"id": 0, "ts": start_s, "end_ts": end_s})
            answer.raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as fault:
            raise CloudUnreachable(
                url=self._url, problem=f"no answer ({type(fault).__name__})"
            ) from fault
        return read_page(answer.content, topic=self._url)


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
            filled = fill_hole(totals_wh, records, after)
        except GatewayError as fault:
            log.warning("no records from meter %s: %s", after.meter, fault)
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
        return msgspec.json.decode(payload, type=_Page)
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
            end_s = run.ts + run.period * (position + 1)
            energies = {"import_wh": _sum(row, imports), "export_wh": _sum(row, exports)}
            known = {name: value for name, value in energies.items() if value is not None}
            found.append(MinuteRecord(end=datetime.fromtimestamp(end_s, tz=UTC), energies_wh=known))
    return found


def fill_hole(
    totals_wh: Mapping[str, int], records: Sequence[MinuteRecord], after: Sample
) -> list[Sample]:
    """Make the counter readings that would have been taken in the hole.

    The sum of the hole is the counter's alone: recorded minutes never push a reading beyond what
    the counter shows after the hole.

    Args:
        totals_wh: Last totals before the hole by counter name [Wh].
        records: What the device recorded in the hole, in order.
        after: The first sample after it.
    """
    running = {name: float(total) for name, total in totals_wh.items()}
    made: list[Sample] = []
    for record in records:
        if record.end >= after.taken_at:
            break
        told: dict[str, int | float] = {}
        for name, energy_wh in record.energies_wh.items():
            ceiling = after.quantities.get(name)
            if name in running and ceiling is not None:
                running[name] = min(running[name] + energy_wh, float(ceiling))
                told[name] = int(running[name])
        if told:
            made.append(
                Sample(
                    meter=after.meter,
                    taken_at=record.end,
                    quantities=told,
                    identity=after.identity,
                )
            )
    return made


def _named(kind: str, places: Mapping[str, int]) -> list[str]:
    """Keys of an energy: per phase, or the single one of a one-phase device."""
    phases = [f"{phase}_total_{kind}_energy" for phase in _PHASES]
    found = [key for key in phases if key in places]
    return found or [key for key in (f"total_{kind}_energy",) if key in places]


def _sum(row: Sequence[float | None], columns: Sequence[int]) -> float | None:
    told = [row[column] for column in columns]
    known = [value for value in told if value is not None and value >= 0]
    return sum(known) if columns and len(known) == len(told) else None
