"""The demo's figures and invariants, computed from the stores when the story is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from cloud.demo.real_homes import RealHome
from cloud.demo.street_cloud import StreetCloud
from cloud.fund.usecases import ledger_in
from cloud.members.repository import all_households
from cloud.negotiations.repository import count_offers
from cloud.profiles.repository import newest_releases
from cloud.savings.repository import newest_settlement
from cloud.transparency import merkle
from cloud.transparency.repository import entries_from, log_size, node_at
from cloud.votes import repository as votes
from gateway.wire.log_proof import EMPTY_ROOT, leaf_hash, node_hash
from gateway.wire.reading import Purpose
from solar_fund.ledger.sql import SqlLedger


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariant:
    """Something that must hold at the end.

    Args:
        name: What.
        holds: Whether it does.
        detail: Figures, for when it does not.
    """

    name: str
    holds: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the stores say at the end.

    Args:
        shown: The figures, by name.
        invariants: What must hold.
    """

    shown: dict[str, Any]
    invariants: tuple[Invariant, ...]

    @property
    def broken(self) -> tuple[Invariant, ...]:
        """Invariants that do not hold."""
        return tuple(one for one in self.invariants if not one.holds)


def gather(cloud: StreetCloud, real: Sequence[RealHome], *, cells: int, wall_s: float) -> Figures:
    """Compute the figures.

    Args:
        cloud: The running cloud.
        real: Homes with gateway processes, already stopped.
        cells: Cells of the released profile, from its record.
        wall_s: How long the demo took [s].
    """
    counts = cloud.services.store.counts()
    gateways = [one.status() for one in real]
    lost, unaccounted = _lost(cloud, real, gateways)
    with cloud.services.database.reading() as connection:
        settlement = newest_settlement(connection)
        election = next(
            (one for one in votes.all_elections(connection) if one.closed_at is not None), None
        )
        ledger = ledger_in(connection, cloud.time.now())
        books = _Books.of(ledger)
        shown: dict[str, Any] = {
            "homes": len(all_households(connection)),
            "readings_read": sum(one["readings_read"] for one in gateways),
            "readings_withheld": sum(one["readings_withheld"] for one in gateways),
            "readings_accepted": counts.intervals_accepted,
            "duplicates": counts.intervals_accepted - counts.intervals_distinct,
            "lost": lost,
            "profile_cells": cells,
            "offers": count_offers(connection),
            "saving_minor": settlement.saving_minor if settlement else 0,
            "ledger_balanced": books.balanced,
            "project_funded": _funded(ledger, election),
            "gateway_readings_kept": sum(one["kept"] for one in gateways),
            "gateway_readings_accepted": sum(one["accepted"] for one in gateways),
            "releases_refused": sum(
                not release.is_released for release in newest_releases(connection, 100)
            ),
            "log_entries": log_size(connection),
            "wall_s": round(wall_s, 1),
        }
        log_holds = _log_is_whole(connection)
    details = {
        "nothing was lost": f"{unaccounted}",
        "gateways read meters": f"{[one['readings_read'] for one in gateways]}",
        "something was withheld": f"{[one['withheld_by_reason'] for one in gateways]}",
        "no gateway saw a fork of the log": f"{[one['log_fork'] for one in gateways]}",
        "the ledger balances and its chain is whole": books.detail,
        "the group saved": f"{settlement}",
        "a project was funded": f"{election}",
    }
    holds = _what_must_hold(shown, forks=[one["log_fork"] for one in gateways])
    holds["the log's entries hash to its root"] = log_holds
    return Figures(
        shown=shown,
        invariants=tuple(
            Invariant(name=name, holds=held, detail=details.get(name, ""))
            for name, held in holds.items()
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Books:
    """Whether the ledger adds up."""

    balanced: bool
    detail: str

    @classmethod
    def of(cls, ledger: SqlLedger) -> _Books:
        report = ledger.verify_chain()
        sums: dict[str, int] = {}
        for line in ledger.trial_balance():
            sums[line.currency] = sums.get(line.currency, 0) + line.balance.posted_minor
        return cls(
            balanced=report.is_whole and not any(sums.values()), detail=f"{report}, sums {sums}"
        )


def _what_must_hold(shown: dict[str, Any], *, forks: Sequence[str | None]) -> dict[str, bool]:
    return {
        "nothing was lost": shown["lost"] == 0,
        "nothing was stored twice": shown["duplicates"] == 0,
        "gateways read meters": shown["readings_read"] > 0
        and shown["gateway_readings_accepted"] > 0,
        "something was withheld": shown["readings_withheld"] > 0,
        "no gateway saw a fork of the log": not any(forks),
        "the ledger balances and its chain is whole": bool(shown["ledger_balanced"]),
        "the group saved": shown["saving_minor"] > 0,
        "offers came": shown["offers"] >= 4,
        "a project was funded": bool(shown["project_funded"]),
        "the privacy floor refused once": shown["releases_refused"] > 0,
    }


def _lost(
    cloud: StreetCloud, real: Sequence[RealHome], gateways: Sequence[dict[str, Any]]
) -> tuple[int, list[dict[str, int]]]:
    """Intervals that gateways kept and that are neither in the cloud, waiting, nor erased.

    A gateway's own account must close (kept = accepted + duplicate + refused + erased + merged +
    waiting), and what it was told is stored must be in the cloud's store, unless its purpose was
    withdrawn and the stream erased.
    """
    lost = 0
    accounts = []
    for one, told in zip(real, gateways, strict=True):
        open_account = told["kept"] - sum(
            told[name]
            for name in ("accepted", "duplicate", "refused", "erased", "merged", "waiting")
        )
        stored = {
            purpose: len(
                cloud.services.store.home_readings(
                    one.household,
                    start=one.load.start,
                    end=cloud.time.now(),
                    purpose=purpose,
                )
            )
            for purpose in Purpose
        }
        missing = refused = 0
        for purpose in Purpose:
            # What was on its way when its consent ended is refused and erased, as it should be.
            if purpose.value in one.withdrawn:
                continue
            missing += abs(_tally(told, purpose, "accepted") - stored[purpose])
            refused += _tally(told, purpose, "refused")
        lost += abs(open_account) + refused + missing
        accounts.append({"open": open_account, "refused": refused, "missing": missing})
    return lost, accounts


def _tally(told: dict[str, Any], purpose: Purpose, what: str) -> int:
    return sum(
        int(tally["intervals"])
        for tally in told["tallies"]
        if tally["what"] == what and tally["purpose"] == purpose.value
    )


def _funded(ledger: SqlLedger, election: votes.ElectionRow | None) -> str:
    """The first project the vote bought whose grant is set aside in the ledger."""
    if election is None or election.result is None:
        return ""
    keys = {str(ledger.record(one.seq).request.get("key")) for one in ledger.open_pendings()}
    return next(
        (
            str(project_id)
            for project_id in election.result["selected"]
            if f"grant:{election.election_id}:{project_id}" in keys
        ),
        "",
    )


def _log_is_whole(connection: Connection) -> bool:
    """Whether the Merkle root over all entries is the one the stored nodes give."""
    size = log_size(connection)
    leaves = [
        leaf_hash(entry.entry.encode()) for entry in entries_from(connection, first=0, count=size)
    ]

    def root_of(part: list[bytes]) -> bytes:
        if len(part) <= 1:
            return part[0] if part else EMPTY_ROOT
        split = 1 << (len(part) - 1).bit_length() - 1
        return node_hash(root_of(part[:split]), root_of(part[split:]))

    stored = merkle.root_of(size, lambda node: node_at(connection, node))
    return root_of(leaves) == stored
