"""Votes on solar projects: the paper, the ballot, the count."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from starlette.responses import JSONResponse, RedirectResponse

from cloud.errors import NotAllowed
from cloud.members.access import HouseholdDep, SignedIn, optional_session
from cloud.services import ServicesDep
from cloud.votes import publication, repository, usecases
from cloud.web.page_route import PageRoute
from cloud.web.shell import pages_of, shell
from cloud.web.vote_view import gather_vote

router = APIRouter(route_class=PageRoute, include_in_schema=False)

OptionalSession = Annotated[SignedIn | None, Depends(optional_session)]
BALLOT_COOKIE_DAYS = 90


@router.get("/votes")
def get_votes(request: Request, services: ServicesDep, session: OptionalSession) -> Response:
    """All votes; the page is open to all, ballots are not."""
    with services.database.reading() as connection:
        elections = repository.all_elections(connection)
    shown = shell(request, session) | {"elections": elections}
    return pages_of(request).render("votes.html", shown)


@router.get("/votes/{election_id}")
def get_vote(
    request: Request, services: ServicesDep, session: OptionalSession, election_id: str
) -> Response:
    """One vote: paper while it is open, count when it is closed."""
    household = session.person.household if session else None
    with services.database.reading() as connection:
        view = gather_vote(
            connection,
            election_id,
            household=household,
            token=request.cookies.get(ballot_cookie(election_id)),
            now=services.clock(),
        )
    shown = shell(request, session) | {"view": view, "may_vote": household is not None}
    return pages_of(request).render("solar_vote.html", shown)


@router.post("/votes/{election_id}/ballot")
def post_ballot(
    request: Request,
    services: ServicesDep,
    household: HouseholdDep,
    election_id: str,
    approve: Annotated[list[str] | None, Form()] = None,
) -> Response:
    """Cast a ballot, or replace it."""
    cookie = ballot_cookie(election_id)
    with services.database.transaction() as connection:
        receipt = usecases.cast_ballot(
            connection,
            election_id=election_id,
            household=household,
            approvals=approve or [],
            token=request.cookies.get(cookie),
            now=services.clock(),
        )
    answer = RedirectResponse(f"/votes/{election_id}#receipt", status_code=303)
    answer.set_cookie(
        cookie,
        receipt.token,
        max_age=BALLOT_COOKIE_DAYS * 86_400,
        httponly=True,
        samesite="lax",
        secure=services.settings.is_https,
        path=f"/votes/{election_id}",
    )
    return answer


@router.get("/votes/{election_id}/ballots.pb")
def get_pabulib(services: ServicesDep, election_id: str) -> Response:
    """The ballots of a closed vote, for anyone to count again."""
    with services.database.reading() as connection:
        text = usecases.pabulib_file(connection, election_id)
    headers = {"Content-Disposition": f'attachment; filename="{election_id}.pb"'}
    return Response(text, media_type="text/plain; charset=utf-8", headers=headers)


@router.get("/votes/{election_id}/published.json")
def get_published(services: ServicesDep, election_id: str) -> Response:
    """Everything needed to count a closed vote again with `solar-fund recount`."""
    with services.database.reading() as connection:
        content = publication.content_of(connection, election_id)
    headers = {"Content-Disposition": f'attachment; filename="{election_id}.json"'}
    return Response(publication.as_file(content), media_type="application/json", headers=headers)


@router.get("/votes/{election_id}/receipts/{receipt}.json")
def get_receipt_proof(services: ServicesDep, election_id: str, receipt: str) -> Response:
    """Prove that a receipt was counted."""
    with services.database.reading() as connection:
        proof = publication.receipt_proof(connection, election_id, receipt)
    return JSONResponse(proof)


@router.get("/votes/{election_id}/recount")
def get_recount(
    request: Request, services: ServicesDep, session: OptionalSession, election_id: str
) -> Response:
    """Count a closed vote anew and compare with what was announced."""
    with services.database.reading() as connection:
        election = repository.election_row(connection, election_id)
        outcome = usecases.count_again(connection, election_id)
        listed = usecases.published_ballots(connection, election_id)
    if election is None or election.result is None:
        raise NotAllowed("counts are sealed until the close")
    shown = shell(request, session) | {
        "election": election,
        "same": list(outcome.selected) == election.result["selected"]
        and listed.root.hex() == election.ballots_root,
        "selected": outcome.selected,
        "ballots": len(listed.ballots),
        "root": listed.root.hex(),
    }
    return pages_of(request).render("recount.html", shown)


def ballot_cookie(election_id: str) -> str:
    """Name of the cookie that holds the voting token of a vote."""
    return f"commonwatt_ballot_{election_id}"
