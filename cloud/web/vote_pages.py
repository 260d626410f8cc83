"""Votes: the list, the paper, the ballot, the count."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from starlette.responses import JSONResponse, RedirectResponse

from cloud.jobs.count_votes import count_vote
from cloud.members.access import HouseholdDep, SignedIn, optional_session, require_role
from cloud.members.roles import Person, Role
from cloud.services import ServicesDep
from cloud.votes import publication, repository, usecases
from cloud.votes.casting import Marks, cast
from cloud.web.page_route import PageRoute
from cloud.web.policy_view import PolicyView, find_election, gather_policy
from cloud.web.shell import is_board, pages_of, shell
from cloud.web.vote_view import VoteView, gather_recount, gather_vote, vote_line

router = APIRouter(route_class=PageRoute, include_in_schema=False)

OptionalSession = Annotated[SignedIn | None, Depends(optional_session)]
BoardDep = Annotated[Person, Depends(require_role(Role.BOARD))]
BALLOT_COOKIE_DAYS = 90


@router.get("/votes")
def get_votes(request: Request, services: ServicesDep, session: OptionalSession) -> Response:
    """All votes; the page is open to all, ballots are not."""
    with services.database.reading() as connection:
        elections = repository.all_elections(connection)
    now = services.clock()
    shown = shell(request, session) | {
        "lines": [vote_line(one, now) for one in elections],
        "is_board": is_board(session),
    }
    return pages_of(request).render("votes.html", shown)


@router.get("/votes/{election_id}")
def get_vote(
    request: Request, services: ServicesDep, session: OptionalSession, election_id: str
) -> Response:
    """One vote: paper while it is open, count when it is closed."""
    household = session.person.household if session else None
    token, now = request.cookies.get(ballot_cookie(election_id)), services.clock()
    with services.database.reading() as connection:
        election = find_election(connection, election_id)
        view: VoteView | PolicyView = (
            gather_vote(
                connection,
                election_id,
                household=household,
                token=token,
                now=now,
                may_see_projects=session is not None
                and session.person.has(Role.MEMBER, Role.BOARD, Role.AUDITOR),
            )
            if election.kind == repository.PROJECTS
            else gather_policy(connection, election, token=token, now=now)
        )
    template = "solar_vote.html" if election.kind == repository.PROJECTS else "policy_vote.html"
    shown = shell(request, session) | {
        "view": view,
        "may_vote": household is not None,
        "may_count": is_board(session) and election.closed_at is None and now >= election.closes_at,
    }
    return pages_of(request).render(template, shown)


@router.post("/votes/{election_id}/ballot")
def post_ballot(
    request: Request,
    services: ServicesDep,
    household: HouseholdDep,
    election_id: str,
    approve: Annotated[list[str] | None, Form()] = None,
    choice: Annotated[str, Form(max_length=20)] = "",
    item: Annotated[list[str] | None, Form()] = None,
    votes: Annotated[list[int] | None, Form()] = None,
) -> Response:
    """Cast a ballot, or replace it."""
    cookie = ballot_cookie(election_id)
    marks = Marks(
        approve=approve or [],
        choice=choice or None,
        votes=dict(zip(item or [], votes or [], strict=False)),
    )
    with services.database.transaction() as connection:
        receipt = cast(
            connection,
            election_id=election_id,
            household=household,
            marks=marks,
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


@router.post("/votes/{election_id}/count")
def post_count(services: ServicesDep, _person: BoardDep, election_id: str) -> Response:
    """Count a vote whose time is over, and carry out what it decided."""
    with services.database.transaction() as connection:
        count_vote(connection, election_id, now=services.clock())
    return RedirectResponse(f"/votes/{election_id}", status_code=303)


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
        written = publication.published_file(connection, election_id)
    headers = {"Content-Disposition": f'attachment; filename="{election_id}.json"'}
    return Response(written, media_type="application/json", headers=headers)


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
    """Count a closed vote anew from the ballot box and compare with what was published."""
    with services.database.reading() as connection:
        shown = gather_recount(connection, election_id)
    return pages_of(request).render("recount.html", shell(request, session) | {"view": shown})


def ballot_cookie(election_id: str) -> str:
    """Name of the cookie that holds the voting token of a vote."""
    return f"commonwatt_ballot_{election_id}"
