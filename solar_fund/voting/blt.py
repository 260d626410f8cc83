"""Read and write .blt files, the common form of ranked ballots for STV.

First line: candidates and seats. Then, optionally, withdrawn candidates as negative numbers. Then
one ballot a line: how many papers, the candidates in order, 0. A lone 0 ends the ballots; names
follow, in quotes (then several may share a line) or bare, and last the title. Comments begin with
# or stand between /* and */. A paper with two candidates in one place counts up to there, as it
cannot be passed on any further. Of the options in square brackets those are read that say who
withdrew, how ties fall and by which nicknames candidates go. Weights in parts are refused.

Source: the files of OpenSTV, OpaVote and droop; for equal places, the non-transferable paper of
SSI 2007/42, schedule 1, rule 45.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from solar_fund.errors import ElectionFileInvalid, ElectionInvalid
from solar_fund.voting.election_text import read_election_text

FILE_BYTES_MAX = 64 * 1024 * 1024
CANDIDATES_MAX = 1_000
PAPERS_MAX = 100_000_000

# A quote inside is doubled or follows a backslash.
_QUOTED = re.compile(r'"((?:[^"\\]|""|\\.)*)"')
_BLOCK_COMMENT = re.compile(r"(?<!\S)/\*.*?\*/(?!\S)", re.DOTALL)
# Of no matter to a count: write-in candidates count as others do, and the rest is for one program.
_IDLE_OPTIONS = frozenset({"undeclared", "droop"})
_QUOTED_LINE = re.compile(rf"{_QUOTED.pattern}(?:\s+{_QUOTED.pattern})*\s*(?:#.*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedElection:
    """Ranked ballots for seats on a board.

    Attributes:
        candidates: Names in the order of the paper; candidates are numbered from 0.
        seats: Seats to fill.
        papers: Distinct rankings (candidate numbers, best first) and how many cast each.
        withdrawn: Candidates who withdrew; their place passes to the next preference.
        title: Title of the election.
        excluded_first: Candidates in the order in which ties exclude them, as drawn before the
            count and written in the file; or nothing.
        papers_cut: Papers that count only up to a place shared by several candidates.
    """

    candidates: tuple[str, ...]
    seats: int
    papers: tuple[tuple[tuple[int, ...], int], ...]
    withdrawn: frozenset[int] = frozenset()
    title: str = ""
    excluded_first: tuple[int, ...] = ()
    papers_cut: int = 0

    def __post_init__(self) -> None:
        standing = len(self.candidates) - len(self.withdrawn)
        if self.seats < 1 or standing < 1:
            raise ElectionInvalid(f"{self.seats} seats and {standing} candidates: nothing to elect")
        if len(set(self.candidates)) != len(self.candidates):
            raise ElectionInvalid("two candidates have the same name: tell them apart")

    @property
    def lot(self) -> tuple[str, ...]:
        """Names in the order of the lot that the file holds; who is drawn first is favoured."""
        return tuple(self.candidates[number] for number in reversed(self.excluded_first))

    @property
    def valid_papers(self) -> int:
        """Papers that name at least one standing candidate."""
        return sum(
            count for ranking, count in self.papers if any(c not in self.withdrawn for c in ranking)
        )


def ranked_election(
    candidates: Sequence[str], seats: int, rankings: Sequence[Sequence[str]], title: str = ""
) -> RankedElection:
    """Build an election from names.

    Raises:
        ElectionInvalid: A ranking names a stranger or somebody twice.
    """
    number_of = {name: number for number, name in enumerate(candidates)}
    counts: dict[tuple[int, ...], int] = {}
    for ranking in rankings:
        unknown = [name for name in ranking if name not in number_of]
        if unknown:
            raise ElectionInvalid(f"a ballot ranks {unknown[0]}, who does not stand")
        if len(set(ranking)) != len(ranking):
            raise ElectionInvalid("a ballot ranks somebody twice")
        key = tuple(number_of[name] for name in ranking)
        counts[key] = counts.get(key, 0) + 1
    return RankedElection(
        candidates=tuple(candidates), seats=seats, papers=tuple(counts.items()), title=title
    )


def read_blt(path: Path) -> RankedElection:
    """Read ranked ballots from a .blt file.

    Raises:
        ElectionFileInvalid: The file cannot be read; the line and fault are named.
    """
    text = read_election_text(path, bytes_max=FILE_BYTES_MAX)
    return parse_blt(text, str(path))


def parse_blt(text: str, path: str = "<text>") -> RankedElection:
    """Read ranked ballots from the text of a .blt file.

    Raises:
        ElectionFileInvalid: The text cannot be read; the line and fault are named.
    """
    return _BltReader(text, path).election()


class _BltReader:
    def __init__(self, text: str, path: str) -> None:
        self._path = path
        self._lines = self._significant(text)
        self._last_line = text.count("\n") + 1
        self._n_candidates = 0
        self._names: list[str] = []
        self._withdrawn: set[int] = set()
        self._excluded_first: tuple[int, ...] = ()
        self._nicknames: dict[str, int] = {}
        self._papers_cut = 0

    def election(self) -> RankedElection:
        line, cells = self._next_numbers("candidates and seats")
        if len(cells) != 2 or cells[0] < 1 or cells[1] < 1:
            raise self._fault(line, "expected the number of candidates and of seats, as in '9 3'")
        if cells[0] > CANDIDATES_MAX:
            raise self._fault(line, f"more than {CANDIDATES_MAX} candidates")
        self._n_candidates, seats = cells
        papers: dict[tuple[int, ...], int] = {}
        while True:
            line, text = self._next("a ballot or the closing 0")
            if text.startswith("["):
                self._take_option(line, text)
                continue
            cells, shared = self._ballot_cells(line, text)
            if cells == [0]:
                break
            if cells and all(cell < 0 for cell in cells):
                self._withdrawn |= {self._candidate(line, -cell) for cell in cells}
                continue
            ranking, count = self._ballot(line, cells, shared)
            papers[ranking] = papers.get(ranking, 0) + count
        if sum(papers.values()) > PAPERS_MAX:
            raise self._fault(line, f"more than {PAPERS_MAX} papers")
        names = [
            self._next_text(f"the name of candidate {n + 1}") for n in range(self._n_candidates)
        ]
        title = self._names[0] if self._names else self._title()
        try:
            return RankedElection(
                candidates=tuple(names),
                seats=seats,
                papers=tuple(papers.items()),
                withdrawn=frozenset(self._withdrawn),
                title=title,
                excluded_first=self._excluded_first,
                papers_cut=self._papers_cut,
            )
        except ElectionInvalid as error:
            raise self._fault(0, str(error)) from None

    @staticmethod
    def _significant(text: str) -> Iterator[tuple[int, str]]:
        # What is taken out keeps its line ends, so that faults still name the right line.
        plain = _BLOCK_COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text)
        for number, line in enumerate(plain.splitlines(), start=1):
            stripped = line.strip()
            if stripped and not stripped.startswith("#"):
                yield number, stripped

    def _next_numbers(self, what: str) -> tuple[int, list[int]]:
        line, text = self._next(what)
        try:
            return line, [int(cell) for cell in text.split("#")[0].split()]
        except ValueError:
            raise self._fault(line, f"expected {what}, found {text[:40]!r}") from None

    def _take_option(self, line: int, text: str) -> None:
        """Read an option in square brackets, as in `[withdrawn 4]`."""
        words = text.partition("#")[0].strip().removeprefix("[").removesuffix("]").split()
        name = words[0] if words else ""
        if "]" not in text or name not in {"withdrawn", "tie", "nick", *_IDLE_OPTIONS}:
            raise self._fault(
                line,
                f"the option {text[:40]!r} is not known: write [withdrawn ...], [tie ...],"
                " [nick ...] or remove it",
            )
        if name == "nick":
            if len(words) - 1 != self._n_candidates or len(set(words[1:])) != len(words) - 1:
                raise self._fault(line, f"[nick] needs {self._n_candidates} different names")
            self._nicknames = {nick: place for place, nick in enumerate(words[1:], start=1)}
        elif name not in _IDLE_OPTIONS:
            numbers = [self._candidate(line, self._number(line, word)) for word in words[1:]]
            if len(set(numbers)) != len(numbers):
                raise self._fault(line, f"[{name}] names a candidate twice")
            if name == "tie":
                self._excluded_first = tuple(numbers)
            else:
                self._withdrawn |= set(numbers)

    def _number(self, line: int, written: str) -> int:
        """Return a number as written, or by the nickname of a candidate."""
        if written in self._nicknames:
            return self._nicknames[written]
        try:
            return int(written)
        except ValueError:
            raise self._fault(
                line, f"expected a ballot or the closing 0, found {written[:40]!r}"
            ) from None

    def _ballot_cells(self, line: int, text: str) -> tuple[list[int], bool]:
        """Return the numbers of a ballot up to a shared place, and whether there was one."""
        if text.startswith("("):
            text = text.partition(")")[2]
        cells = text.split("#")[0].split()
        if cells and re.fullmatch(r"\d*[./]\d+", cells[0]):
            raise self._fault(
                line, f"a weight of {cells[0]} papers: write whole papers, one ballot a voter"
            )
        # The number of papers goes by no nickname.
        numbers = [] if not cells else [self._number(line, cells[0])]
        if cells and cells[0] in self._nicknames:
            raise self._fault(line, f"a ballot begins with its number of papers, not {cells[0]}")
        shared = False
        # A dash stands for a place left empty; the places after it move up.
        for cell in [cell for cell in cells[1:] if cell != "-"]:
            if "=" not in cell:
                if not shared or cell == "0":
                    numbers.append(self._number(line, cell))
                else:
                    self._candidate(line, self._number(line, cell))
                continue
            for part in cell.split("="):
                self._candidate(line, self._number(line, part))
            shared = True
        return numbers, shared

    def _next_text(self, what: str) -> str:
        if not self._names:
            line, text = self._next(what)
            self._names = self._names_in(line, text)
        return self._names.pop(0)

    def _title(self) -> str:
        line, text = next(self._lines, (0, ""))
        return self._names_in(line, text)[0] if text else ""

    def _names_in(self, line: int, text: str) -> list[str]:
        """Return the names on a line; a quote may stand unmarked within a name on its own line."""
        if _QUOTED_LINE.fullmatch(text):
            return [
                re.sub(r'""|\\(.)', lambda m: m[1] or '"', name).strip()
                for name in _QUOTED.findall(text)
            ]
        if text.startswith('"'):
            if not text.endswith('"') or len(text) == 1:
                raise self._fault(line, f"the quote that opens {text[:40]!r} is not closed")
            return [text[1:-1].strip()]
        return [text]

    def _next(self, what: str) -> tuple[int, str]:
        found = next(self._lines, None)
        if found is None:
            raise self._fault(self._last_line, f"the file ends where {what} should be")
        return found

    def _ballot(self, line: int, cells: list[int], shared: bool) -> tuple[tuple[int, ...], int]:
        if len(cells) < 2 or cells[-1] != 0:
            raise self._fault(line, "a ballot must end with 0")
        if cells[0] < 1:
            raise self._fault(line, f"a ballot cast by {cells[0]} voters")
        ranking = tuple(self._candidate(line, cell) for cell in cells[1:-1])
        if len(set(ranking)) != len(ranking):
            twice = next(c for c in ranking if ranking.count(c) > 1)
            raise self._fault(line, f"a ballot ranks candidate {twice + 1} twice")
        self._papers_cut += cells[0] if shared else 0
        return ranking, cells[0]

    def _candidate(self, line: int, written: int) -> int:
        if not 1 <= written <= self._n_candidates:
            raise self._fault(line, f"candidate {written}: there are {self._n_candidates}")
        return written - 1

    def _fault(self, line: int, fault: str) -> ElectionFileInvalid:
        return ElectionFileInvalid(self._path, line, fault)


def write_blt(election: RankedElection) -> str:
    """Write ranked ballots as the text of a .blt file that `parse_blt` reads back."""
    lines = [f"{len(election.candidates)} {election.seats}"]
    if election.withdrawn:
        lines.append(" ".join(str(-number - 1) for number in sorted(election.withdrawn)))
    for ranking, count in election.papers:
        lines.append(" ".join(map(str, (count, *(number + 1 for number in ranking), 0))))
    lines.append("0")
    names = (*election.candidates, election.title)
    lines += ['"' + name.replace("\\", "\\\\").replace('"', '""') + '"' for name in names]
    return "\n".join(lines) + "\n"
