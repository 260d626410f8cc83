"""Read and write PaBuLib files (.pb), the public format for votes on projects.

A file has three sections, META, PROJECTS and VOTES, each with a header line and rows separated by
semicolons. Public files differ in small ways (byte-order marks, decimal commas, quoted text,
extra columns, blank lines); what does not change the count is taken as it comes, and what does
is refused with its line.

Source: pabulib.org/format; read against the public files.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import get_args

from solar_fund.errors import ElectionFileInvalid, ElectionInvalid
from solar_fund.voting.ballots import Ballot, BallotProject, Election, VoteType
from solar_fund.voting.election_text import read_election_text

FILE_BYTES_MAX = 512 * 1024 * 1024
FIELD_CHARS_MAX = 1_000_000
NUMBER_MAX = 10**15
DENOMINATOR_MAX = 10**9
_SECTIONS = ("META", "PROJECTS", "VOTES")


def read_pb(path: Path) -> Election:
    """Read an election from a .pb file.

    Raises:
        ElectionFileInvalid: The file cannot be read as an election; the line and fault are named.
    """
    text = read_election_text(path, bytes_max=FILE_BYTES_MAX)
    return parse_pb(text, str(path))


def parse_pb(text: str, path: str = "<text>") -> Election:
    """Read an election from the text of a .pb file.

    Args:
        text: The whole file.
        path: What to call it in errors.

    Raises:
        ElectionFileInvalid: The text cannot be read as an election; the line and fault are named.
    """
    return _PbReader(text, path).election()


class _PbReader:
    def __init__(self, text: str, path: str) -> None:
        self._path = path
        self._meta: dict[str, str] = {}
        self._meta_line: dict[str, int] = {}
        self._projects: dict[str, BallotProject] = {}
        self._ballots: list[Ballot] = []
        self._voters: set[str] = set()
        self._sections: set[str] = set()
        self._vote_type: VoteType = "approval"
        csv.field_size_limit(FIELD_CHARS_MAX)
        self._reader = csv.reader(io.StringIO(text, newline=""), delimiter=";")
        self._last_line = text.count("\n") + 1

    def election(self) -> Election:
        section = ""
        header: list[str] = []
        for line, row in self._rows():
            first = row[0].strip()
            if len([cell for cell in row if cell.strip()]) == 1 and first.upper() in _SECTIONS:
                section = first.upper()
                if section in self._sections:
                    raise self._fault(line, f"a second {section} section")
                self._sections.add(section)
                header = []
                if section == "VOTES":
                    self._vote_type = self._read_vote_type(line)
                continue
            if not section:
                raise self._fault(line, "expected META, as every .pb file begins with it")
            if not header:
                header = [cell.strip().lower() for cell in row]
                self._check_header(section, header, line)
                continue
            if section != "META" and any(cell.strip() for cell in row[len(header) :]):
                self._check_too_wide(section, header, row, line)
            cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
            if section == "META":
                self._meta[first.lower()] = ";".join(row[1:]).strip()
                self._meta_line[first.lower()] = line
            elif section == "PROJECTS":
                self._take_project(first, cells, line)
            else:
                self._take_vote(cells, line)
        return self._finish()

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        line = 1
        try:
            for row in self._reader:
                if any(cell.strip() for cell in row):
                    yield line, row
                line = self._reader.line_num + 1
        except csv.Error as error:
            raise self._fault(line, f"cannot be split into fields: {error}") from None

    def _check_header(self, section: str, header: list[str], line: int) -> None:
        wanted = {"META": (), "PROJECTS": ("project_id", "cost"), "VOTES": ("vote",)}[section]
        missing = [name for name in wanted if name not in header]
        if missing:
            raise self._fault(line, f"the header of {section} has no column {missing[0]!r}: add it")
        pointed = self._vote_type in {"cumulative", "scoring"}
        if section == "VOTES" and pointed and "points" not in header:
            raise self._fault(line, f"{self._vote_type} votes need a column 'points' beside 'vote'")
        if section == "VOTES" and not self._projects:
            raise self._fault(line, "votes come before any project: put PROJECTS first")

    def _check_too_wide(self, section: str, header: list[str], row: list[str], line: int) -> None:
        """Refuse a row with more fields than columns where one that counts may have moved.

        An unquoted semicolon moves what stands behind it. In public files the text of a project
        stands last, where it moves nothing; the columns of votes have no such order.
        """
        counts = {"project_id", "cost", "exclusive_group"}
        reach = max((header.index(name) for name in counts & set(header)), default=0)
        figures = counts | {"votes", "score", "selected"}
        if section == "VOTES" or not figures.issuperset(header[: reach + 1]):
            raise self._fault(
                line,
                f"{len(row)} fields under the {len(header)} columns of {section}:"
                " remove what is too much, or put text with a semicolon in quotes",
            )

    def _take_project(self, first: str, cells: dict[str, str], line: int) -> None:
        project_id = cells.get("project_id", first)
        if not project_id:
            raise self._fault(line, "a project without an id")
        if "," in project_id:
            raise self._fault(
                line, f"project id {project_id!r} holds a comma: votes could not name it"
            )
        if project_id in self._projects:
            raise self._fault(line, f"project {project_id} is listed twice")
        cost = self._number(cells.get("cost", ""), f"cost of project {project_id}", line)
        if cost < 0:
            raise self._fault(line, f"the cost of project {project_id} is below zero")
        self._projects[project_id] = BallotProject(
            project_id=project_id,
            cost=cost,
            name=cells.get("name", ""),
            group=cells.get("exclusive_group", ""),
        )

    def _take_vote(self, cells: dict[str, str], line: int) -> None:
        voter_id = cells.get("voter_id", "") or f"line-{line}"
        if voter_id in self._voters:
            raise self._fault(line, f"voter {voter_id} votes twice: keep one ballot")
        self._voters.add(voter_id)
        named = tuple(name for part in cells.get("vote", "").split(",") if (name := part.strip()))
        for name in named:
            if name not in self._projects:
                raise self._fault(line, f"the vote names project {name!r}, which PROJECTS lacks")
        if len(set(named)) != len(named):
            twice = next(name for name in named if named.count(name) > 1)
            raise self._fault(line, f"the vote names project {twice} twice")
        if self._vote_type == "choose-1" and len(named) > 1:
            raise self._fault(line, f"a choose-1 vote names {len(named)} projects")
        points: tuple[Fraction | int, ...] = ()
        if self._vote_type in {"cumulative", "scoring"}:
            parts = [p.strip() for p in cells.get("points", "").split(",") if p.strip()]
            if len(parts) != len(named):
                raise self._fault(
                    line, f"{len(parts)} points for {len(named)} projects: give one each"
                )
            points = tuple(
                int(part) if part.isdecimal() else self._number(part, "points", line)
                for part in parts
            )
        self._ballots.append(Ballot(voter_id, named, points))

    def _read_vote_type(self, line: int) -> VoteType:
        written = self._meta.get("vote_type", "")
        found = written.lower()
        for known in get_args(VoteType):
            if found == known:
                return known  # type: ignore[no-any-return]  # get_args loses the literal
        place = self._meta_line.get("vote_type", line)
        raise self._fault(
            place, f"vote_type is {written!r}: expected one of {', '.join(get_args(VoteType))}"
        )

    def _finish(self) -> Election:
        for section in _SECTIONS:
            if section not in self._sections:
                raise self._fault(self._last_line, f"the file ends without a {section} section")
        if "budget" not in self._meta:
            raise self._fault(1, "META has no budget: add a line 'budget;<amount>'")
        line = self._meta_line["budget"]
        budget = self._number(self._meta["budget"], "budget", line)
        if budget <= 0:
            raise self._fault(line, f"the budget is {self._meta['budget']}: must be above zero")
        for key, counted in (
            ("num_projects", len(self._projects)),
            ("num_votes", len(self._ballots)),
        ):
            stated = self._meta.get(key, "")
            if stated.isdecimal() and int(stated) != counted:
                raise self._fault(
                    self._meta_line[key],
                    f"{key} says {stated}, but the file holds {counted}: it may be cut off",
                )
        longest = self._meta.get("max_length", "")
        try:
            return Election(
                projects=tuple(self._projects.values()),
                ballots=tuple(self._ballots),
                budget=budget,
                vote_type=self._vote_type,
                currency=self._meta.get("currency", ""),
                ranks_max=int(longest) if longest.isdecimal() else 0,
                meta=dict(self._meta),
            )
        except ElectionInvalid as error:
            raise self._fault(0, str(error)) from None

    def _number(self, written: str, what: str, line: int) -> Fraction:
        """Read a number as public files write it: decimal point or comma, spaces as thousands."""
        plain = written.replace("\N{NO-BREAK SPACE}", "").replace(" ", "")
        if plain.count(",") == 1 and "." not in plain:
            plain = plain.replace(",", ".")
        try:
            # A fraction or a very long number is no amount that a city writes.
            amount = None if "/" in plain or len(plain) > 40 else Fraction(plain)
        except ValueError:
            amount = None
        if amount is None:
            raise self._fault(line, f"{what} is {written[:40]!r}: expected a number")
        if abs(amount) > NUMBER_MAX or amount.denominator > DENOMINATOR_MAX:
            raise self._fault(
                line, f"{what} is {written[:40]!r}: too large or too fine, check the number"
            )
        return amount

    def _fault(self, line: int, fault: str) -> ElectionFileInvalid:
        return ElectionFileInvalid(self._path, line, fault)


def write_pb(election: Election, selected: Sequence[str] | None = None) -> str:
    """Write an election as the text of a .pb file that `parse_pb` reads back unchanged.

    Args:
        election: What to write. Voters appear under their pseudonyms and with nothing else.
        selected: Winning project ids, written in a column `selected` when given.
    """
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";", lineterminator="\n")
    own = {
        "num_projects": str(len(election.projects)),
        "num_votes": str(len(election.ballots)),
        "budget": _plain(election.budget),
        "vote_type": election.vote_type,
    }
    if election.currency:
        own["currency"] = election.currency
    if election.ranks_max:
        own["max_length"] = str(election.ranks_max)
    meta = {**{k: v for k, v in election.meta.items() if k not in own}, **own}
    writer.writerows([["META"], ["key", "value"], *map(list, meta.items()), ["PROJECTS"]])
    grouped = any(project.group for project in election.projects)
    columns = ["project_id", "cost", "name"]
    columns += ["exclusive_group"] if grouped else []
    columns += ["selected"] if selected is not None else []
    writer.writerow(columns)
    for project in election.projects:
        cells = [project.project_id, _plain(project.cost), project.name]
        cells += [project.group] if grouped else []
        cells += [str(int(project.project_id in selected))] if selected is not None else []
        writer.writerow(cells)
    pointed = election.vote_type in {"cumulative", "scoring"}
    writer.writerows(
        [["VOTES"], ["voter_id", "vote", "points"] if pointed else ["voter_id", "vote"]]
    )
    for ballot in election.ballots:
        cells = [ballot.voter_id, ",".join(ballot.project_ids)]
        if pointed:
            cells.append(",".join(_plain(Fraction(point)) for point in ballot.points))
        writer.writerow(cells)
    return out.getvalue()


def _plain(amount: Fraction) -> str:
    """Write an exact amount as a decimal.

    Raises:
        ElectionInvalid: It has no finite decimal form, which no ballot file can hold.
    """
    if amount.denominator == 1:
        return str(amount.numerator)
    digits = 0
    scaled = amount
    while scaled.denominator != 1:
        scaled *= 10
        digits += 1
        if digits > 30:
            raise ElectionInvalid(f"{amount} has no finite decimal form: round it first")
    sign = "-" if scaled < 0 else ""
    whole = str(abs(scaled.numerator)).rjust(digits + 1, "0")
    return f"{sign}{whole[:-digits]}.{whole[-digits:]}"
