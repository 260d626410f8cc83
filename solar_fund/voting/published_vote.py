"""The published vote: everything needed to count a vote again on another machine.

One JSON file holds the paper, the rule, the lot, the size of the roll, the anonymised ballots with
their nonces, the Merkle root over their receipts and the result. Form: docs/glossary/voting.md.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from solar_fund.errors import BallotInvalid, ElectionInvalid, InputFileInvalid, ReceiptInvalid
from solar_fund.voting.ballots import Ballot, BallotProject, Election
from solar_fund.voting.blt import ranked_election
from solar_fund.voting.equal_shares import SharesOptions, equal_shares
from solar_fund.voting.greedy import greedy
from solar_fund.voting.meek import meek_stv
from solar_fund.voting.phragmen import phragmen
from solar_fund.voting.policy import PolicyRule, decide_anonymous, quorum_votes
from solar_fund.voting.quadratic import CREDITS_DEFAULT, quadratic_slate
from solar_fund.voting.receipts import BallotList, InclusionProof, canonical_ballot, publish
from solar_fund.voting.report import outcome_report, plain_number, stv_report
from solar_fund.voting.stv import scottish_stv
from solar_fund.voting.tie_break import draw_lot

FORMAT = "commonwatt-vote/1"
FILE_BYTES_MAX = 512 * 1024 * 1024
Kind = Literal["projects", "board", "policy", "slate"]

# What of a result must agree; the rest of a report may grow with versions of the program.
_BINDING: Mapping[str, tuple[str, ...]] = {
    "projects": ("selected", "cost", "budget"),
    "board": ("elected", "quota"),
    "policy": ("yes", "no", "abstain", "passed"),
    "slate": ("totals",),
}

# Binding where the published result states them: a slate whose rule has a quorum.
_BINDING_IF_STATED: Mapping[str, tuple[str, ...]] = {
    "slate": ("quorum_reached", "accepted"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recount:
    """What a recount found.

    Attributes:
        election_id: Which vote.
        ballots: How many ballots were counted.
        root: The Merkle root over the receipts, hex.
        result: The result as counted here.
        faults: What differs from the published figures; empty when all agree.
    """

    election_id: str
    ballots: int
    root: str
    result: Mapping[str, Any]
    faults: tuple[str, ...]

    @property
    def matches(self) -> bool:
        """Tell whether root and result are as published."""
        return not self.faults


def published_vote(
    *,
    election_id: str,
    kind: Kind,
    question: Mapping[str, Any],
    rule: Mapping[str, Any],
    ballots: Iterable[tuple[bytes, bytes]],
    roll_size: int,
    lot: Iterable[str] = (),
    lot_seed: str = "",
    result: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Close a vote: count it and put together the file that is published.

    Args:
        election_id: Which vote.
        kind: On projects, a board, a policy, or a slate by quadratic credits.
        question: What was on the paper. projects: `projects` (id, cost, name, group), `budget`,
            `currency`, `vote_type`. board: `candidates`, `seats`. policy: `text`. slate: `names`.
        rule: Name and options of the rule, as `recount` reads them.
        ballots: (canonical ballot, nonce) of every ballot that counts.
        roll_size: Members who might have voted.
        lot: The order drawn before the count.
        lot_seed: What the lot was drawn from, if it was.
        result: The count as it was announced, if it was; None counts now.

    Raises:
        FundError: The ballots cannot be counted or published.
    """
    listed = publish(election_id, ballots)
    content: dict[str, Any] = {
        "format": FORMAT,
        "election_id": election_id,
        "kind": kind,
        "question": dict(question),
        "rule": dict(rule),
        "lot": list(lot),
        "lot_seed": lot_seed,
        "roll_size": roll_size,
        "turnout": len(listed.ballots),
        "ballots": [
            {"ballot": json.loads(cast.ballot), "nonce": cast.nonce.hex()}
            for cast in listed.ballots
        ],
        "merkle_root": listed.root.hex(),
    }
    return {**content, "result": _count(content, listed) if result is None else dict(result)}


def read_published_vote(path: Path) -> dict[str, Any]:
    """Read a published vote.

    Raises:
        InputFileInvalid: It is not such a file.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InputFileInvalid(
                str(path), "", f"is larger than the limit of {FILE_BYTES_MAX} bytes"
            )
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputFileInvalid(str(path), "", f"cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputFileInvalid(str(path), "", f"is no JSON: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputFileInvalid(str(path), "", f'is no published vote: "format" must be {FORMAT!r}')
    return content


def recount(content: Mapping[str, Any]) -> Recount:
    """Count a published vote again from its ballots alone, and compare.

    Raises:
        ElectionInvalid: Something needed for the count is missing or malformed.
    """
    try:
        listed = _ballot_list(content)
        result = _count(content, listed)
        kind = content["kind"]
        stated = content["result"]
        faults = []
        if listed.root.hex() != content["merkle_root"]:
            faults.append(
                f"merkle_root: published {content['merkle_root']}, counted {listed.root.hex()}"
            )
        if len(listed.ballots) != content["turnout"]:
            faults.append(f"turnout: published {content['turnout']}, counted {len(listed.ballots)}")
        if len(listed.ballots) > content["roll_size"]:
            faults.append(f"{len(listed.ballots)} ballots from a roll of {content['roll_size']}")
        faults += _lot_faults(content)
        faults += [
            f"{key}: published {stated.get(key)}, counted {result[key]}"
            for key in _binding(kind, stated)
            if stated.get(key) != result.get(key)
        ]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ElectionInvalid(
            f"the published vote lacks something or holds it in another form: {error!r}"
        ) from None
    return Recount(
        election_id=content["election_id"],
        ballots=len(listed.ballots),
        root=listed.root.hex(),
        result=result,
        faults=tuple(faults),
    )


def _binding(kind: str, stated: Mapping[str, Any]) -> tuple[str, ...]:
    optional = _BINDING_IF_STATED.get(kind, ())
    return (*_BINDING[kind], *(key for key in optional if key in stated))


def _lot_faults(content: Mapping[str, Any]) -> list[str]:
    """Draw the lot again where its seed is published."""
    lot, seed = tuple(content["lot"]), content["lot_seed"]
    if not seed or draw_lot(lot, seed) == lot:
        return []
    return ["lot: the published order is not the one its seed gives"]


def prove_receipt(content: Mapping[str, Any], receipt_hex: str) -> InclusionProof:
    """Prove that a receipt stands under the published root.

    Raises:
        ReceiptInvalid: It is no receipt, or it was not counted.
    """
    try:
        receipt = bytes.fromhex(receipt_hex)
    except ValueError:
        raise ReceiptInvalid(f"receipt {receipt_hex!r} is not in hex: copy it whole") from None
    return _ballot_list(content).prove(receipt)


def _ballot_list(content: Mapping[str, Any]) -> BallotList:
    return publish(
        content["election_id"],
        [
            (canonical_ballot(entry["ballot"]), bytes.fromhex(entry["nonce"]))
            for entry in content["ballots"]
        ],
    )


def _count(content: Mapping[str, Any], listed: BallotList) -> dict[str, Any]:
    ballots = [(cast.receipt.hex(), json.loads(cast.ballot)) for cast in listed.ballots]
    kind = content["kind"]
    if kind == "projects":
        return _count_projects(content, ballots)
    if kind == "board":
        question = content["question"]
        election = ranked_election(
            question["candidates"], question["seats"], [ballot["rank"] for _, ballot in ballots]
        )
        count = {"scottish": scottish_stv, "meek": meek_stv}[content["rule"]["name"]]
        return stv_report(count(election, tuple(content["lot"])))
    if kind == "policy":
        options = content["rule"]
        rule = PolicyRule(
            quorum=Fraction(options["quorum"]),
            threshold=Fraction(options["threshold"]),
            above=bool(options["above"]),
        )
        result = decide_anonymous(
            [ballot["choice"] for _, ballot in ballots], content["roll_size"], rule
        )
        return asdict(result)
    if kind == "slate":
        return _count_slate(content, ballots)
    raise ElectionInvalid(f"kind {kind!r}: expected projects, board, policy or slate")


def _count_slate(
    content: Mapping[str, Any], ballots: list[tuple[str, dict[str, Any]]]
) -> dict[str, Any]:
    """Rank a slate; where the rule has a quorum, say what is accepted.

    Accepted is what has more votes for than against, if enough members took part. Equal totals
    stand in the order of the lot, or of the paper where none was drawn.
    """
    question, rule = content["question"], content["rule"]
    names = [name for name in content["lot"] if name in question["names"]] or question["names"]
    if sorted(names) != sorted(question["names"]):
        raise ElectionInvalid("the lot must name each proposal of the slate once")
    entries = quadratic_slate(
        [ballot["votes"] for _, ballot in ballots], names, rule.get("credits", CREDITS_DEFAULT)
    )
    counted: dict[str, Any] = {
        "totals": {entry.name: entry.total for entry in entries},
        "entries": [asdict(entry) for entry in entries],
    }
    if "quorum" not in rule:
        return counted
    needed = quorum_votes(content["roll_size"], Fraction(rule["quorum"]))
    reached = len(ballots) >= needed
    return counted | {
        "quorum_votes": needed,
        "quorum_reached": reached,
        "accepted": [entry.name for entry in entries if reached and entry.total > 0],
    }


def _count_projects(
    content: Mapping[str, Any], ballots: list[tuple[str, dict[str, Any]]]
) -> dict[str, Any]:
    question, options = content["question"], dict(content["rule"])
    election = Election(
        projects=tuple(
            BallotProject(
                project_id=entry["id"],
                cost=Fraction(entry["cost"]),
                name=entry.get("name", ""),
                group=entry.get("group", ""),
            )
            for entry in question["projects"]
        ),
        ballots=tuple(_project_ballot(receipt, ballot) for receipt, ballot in ballots),
        budget=Fraction(question["budget"]),
        vote_type=question.get("vote_type", "approval"),
        currency=question.get("currency", ""),
        ranks_max=question.get("ranks_max", 0),
    )
    name, lot = options.pop("name"), tuple(content["lot"])
    quorum = int(options.pop("quorum_votes", 0))
    if len(ballots) < quorum:
        return {
            "selected": [],
            "cost": 0,
            "budget": plain_number(election.budget),
            "voters": len(ballots),
            "quorum_votes": quorum,
            "quorum_reached": False,
        }
    if name == "greedy":
        return outcome_report(greedy(election, utility=options.get("utility", "cost"), lot=lot))
    if name == "phragmen":
        return outcome_report(phragmen(election, lot=lot))
    if name != "equal-shares":
        raise ElectionInvalid(f"rule {name!r}: expected equal-shares, greedy or phragmen")
    for key in ("increment", "carry_over"):
        if key in options:
            options[key] = Fraction(options[key])
    if "must_fund" in options:
        options["must_fund"] = tuple(options["must_fund"])
    return outcome_report(equal_shares(election, SharesOptions(lot=lot, **options)))


def _project_ballot(receipt: str, ballot: Mapping[str, Any]) -> Ballot:
    """Read one ballot: `approve` or `rank` list ids, `points` maps ids to whole points."""
    if "approve" in ballot:
        return Ballot(receipt, tuple(ballot["approve"]))
    if "rank" in ballot:
        return Ballot(receipt, tuple(ballot["rank"]))
    if "points" in ballot:
        given = ballot["points"]
        return Ballot(receipt, tuple(given), tuple(Fraction(part) for part in given.values()))
    raise BallotInvalid(f"ballot {receipt} says neither approve, rank nor points")
