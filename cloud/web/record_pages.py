"""Pages that are open to all: the solar fund's books in sums, and the transparency log."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from cloud.fund.usecases import fund_state, ledger_in, open_grants, parameters_in_force
from cloud.members.access import PersonDep, SignedIn, optional_session
from cloud.savings.repository import first_revision_of_newest_month
from cloud.services import ServicesDep
from cloud.transparency.repository import log_size, newest_entries
from cloud.transparency.usecases import checkpoint_now
from cloud.web.page_route import PageRoute
from cloud.web.policy_view import parameter_lines
from cloud.web.shell import pages_of, shell
from solar_fund.ledger.accounts import Account

router = APIRouter(route_class=PageRoute, include_in_schema=False)

OptionalSession = Annotated[SignedIn | None, Depends(optional_session)]
LOG_LINES = 100


@router.get("/fund")
def get_fund(
    request: Request, services: ServicesDep, session: OptionalSession, _person: PersonDep
) -> Response:
    """The fund's state and trial balance; members' sub-accounts are shown as one sum."""
    currency, now = services.settings.currency, services.clock()
    with services.database.reading() as connection:
        ledger = ledger_in(connection, now)
        sums: dict[str, int] = {}
        for line in ledger.trial_balance():
            name = _public_name(line.account)
            sums[name] = sums.get(name, 0) + line.balance.posted_minor
        parameters, voted = parameters_in_force(connection, now)
        shown: dict[str, Any] = {
            "parameters": parameter_lines(asdict(parameters)),
            "voted": voted,
            "state": fund_state(connection, currency, now),
            "accounts": sorted(sums.items()),
            "total_minor": sum(sums.values()),
            "grants": [
                {"memo": str(ledger.record(one.seq).request.get("memo", "")), "seq": one.seq}
                for one in open_grants(connection, now)
            ],
            "head": ledger.chain_head(),
            "settlement": first_revision_of_newest_month(connection),
        }
    return pages_of(request).render("fund.html", shell(request, session) | shown)


@router.get("/log")
def get_log(
    request: Request,
    services: ServicesDep,
    session: OptionalSession,
    kind: Annotated[str | None, Query(max_length=61)] = None,
) -> Response:
    """The newest entries of the log."""
    with services.database.reading() as connection:
        entries = newest_entries(connection, kind=kind, count=LOG_LINES)
        size = log_size(connection)
        note = checkpoint_now(
            connection, origin=services.settings.log_origin, key=services.keys.log
        )
    lines = [
        {"index": entry.index, "kind": entry.kind, "at": entry.at, "facts": _facts(entry.entry)}
        for entry in entries
    ]
    shown = shell(request, session) | {"lines": lines, "size": size, "note": note, "kind": kind}
    return pages_of(request).render("log.html", shown)


def _facts(entry: str) -> str:
    facts = json.loads(entry)["facts"]
    return ", ".join(f"{key} {value}" for key, value in sorted(facts.items()))


def _public_name(account: str | Account) -> str:
    name = account if isinstance(account, str) else account.name
    parts = name.split(":")
    return ":".join(parts[:2]) + (" (all members)" if len(parts) > 2 else "")
