"""What the demo leaves open beside solar projects: a policy vote and a request to use data."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from cloud.data_requests.proposal import Modifier, ProposalText, Review, Template
from cloud.data_requests.usecases import review_proposal, submit_proposal
from cloud.data_requests.voting import ProposalVote, open_vote
from cloud.demo.processes import DemoFault
from cloud.demo.street_cloud import StreetCloud
from cloud.members.roles import Person, Role
from cloud.members.usecases import add_person
from cloud.votes.policy_votes import Policy, VotePlan, open_policy_vote
from gateway.wire.reading import Purpose

SPLIT_VOTE = "more-for-the-fund"
VOTE_DAYS = 14


def leave_open(
    cloud: StreetCloud,
    voters: Sequence[Person],
    board: Sequence[Person],
    start: datetime,
    end: datetime,
) -> Person:
    """Open both votes; returns the researcher."""
    with cloud.services.database.transaction() as connection:
        requester = add_person(
            connection,
            email="ida@demo.invalid",
            name="Ida (researcher)",
            roles=[Role.REQUESTER],
            now=cloud.time.now(),
        )
    open_split_vote(cloud, voters)
    ask_for_figures(cloud, requester, board, start=start, end=end)
    return requester


def open_split_vote(cloud: StreetCloud, voters: Sequence[Person]) -> None:
    """Ask whether more of the savings shall go to the fund; some have voted already."""
    now = cloud.time.now()
    with cloud.services.database.transaction() as connection:
        open_policy_vote(
            connection,
            VotePlan(
                title="More of the savings for the solar fund",
                opens_at=now,
                closes_at=now + timedelta(days=VOTE_DAYS),
                record_at=now,
                election_id=SPLIT_VOTE,
            ),
            Policy(
                text=(
                    "Shall the solar fund get 35 % of what the group tariff saves, instead of "
                    "30 %? The pockets would get less now, and roofs would be built sooner."
                ),
                parameters={"fund_share": "0.35"},
            ),
            now=now,
        )
    for number, person in enumerate(voters):
        with cloud.browser_of(person) as browser:
            choice = ("yes", "no", "yes", "abstain")[number % 4]
            answer = browser.post(f"/votes/{SPLIT_VOTE}/ballot", data={"choice": choice})
        if answer.status_code >= 400:
            raise DemoFault(f"a ballot was answered with {answer.status_code}: {answer.text[:300]}")


def ask_for_figures(
    cloud: StreetCloud,
    requester: Person,
    board: Sequence[Person],
    *,
    start: datetime,
    end: datetime,
) -> str:
    """A researcher asks, two of the board are for it, and the members' vote is open."""
    now = cloud.time.now()
    text = ProposalText(
        title="Evening peaks of a street",
        question="How much of the evening peak could move into the night, and in which months?",
        purpose=Purpose.RESEARCH,
        template=Template.TIME_OF_USE,
        period_start=start,
        period_end=end,
        recipient="Institute of Street Studies (made up)",
        retention_days=365,
        modifiers=(Modifier.NO_LINK, Modifier.NO_RESELL, Modifier.RETURN_RESULTS),
        price_minor=150_000,
    )
    with cloud.services.database.transaction() as connection:
        proposal = submit_proposal(connection, requester=requester.person_id, text=text, now=now)
        for person in board:
            review_proposal(
                connection,
                proposal.proposal_id,
                reviewer=person,
                review=Review(
                    person_id=person.person_id,
                    is_for=True,
                    reasons="Few figures, much noise, and a question that concerns us all.",
                ),
                now=now,
                base_url=cloud.url,
            )
        open_vote(connection, proposal.proposal_id, ProposalVote(), now=now)
    return proposal.proposal_id
