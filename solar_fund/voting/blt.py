"""Read and write .blt files, the common form of ranked ballots for STV.

First line: candidates and seats. Then, optionally, withdrawn candidates as negative numbers. Then
one ballot a line: how many papers, the candidates in order, 0. A lone 0 ends the ballots; names
follow, in quotes (then several may share a line) or bare, and last the title. Comments begin with
#. Equal places, weights in parts and options in square brackets are refused by name.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from solar_fund.errors import ElectionFileInvalid, ElectionInvalid

FILE_BYTES_MAX = 64 * 1024 * 1024
CANDIDATES_MAX = 1_000
PAPERS_MAX = 100_000_000

# A quote inside is doubled or follows a backslash.
_QUOTED = re.compile(r'"((?:[^"\\]|""|\\.)*)"')
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
    """

    candidates: tuple[str, ...]
    seats: int
    papers: tuple[tuple[tuple[int, ...], int], ...]
    withdrawn: frozenset[int] = frozenset()
    title: str = ""

    def __post_init__(self) -> None:
        standing = len(self.candidates) - len(self.withdrawn)
        if self.seats < 1 or standing < 1:
            raise ElectionInvalid(f"{self.seats} seats and {standing} candidates: nothing to elect")
        if len(set(self.candidates)) != len(self.candidates):
            raise ElectionInvalid("two candidates have the same name: tell them apart")

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
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ElectionFileInvalid(
                str(path), 0, f"is larger than the limit of {FILE_BYTES_MAX} bytes"
            )
        written = path.read_bytes()
    except OSError as error:
        raise ElectionFileInvalid(str(path), 0, f"cannot be read: {error.strerror}") from None
    try:
        text = written.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Older council files are in the Windows encoding of western Europe.
        text = written.decode("cp1252", errors="replace")
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

    def election(self) -> RankedElection:
        line, cells = self._next_numbers("candidates and seats")
        if len(cells) != 2 or cells[0] < 1 or cells[1] < 1:
            raise self._fault(line, "expected the number of candidates and of seats, as in '9 3'")
        if cells[0] > CANDIDATES_MAX:
            raise self._fault(line, f"more than {CANDIDATES_MAX} candidates")
        self._n_candidates, seats = cells
        withdrawn: set[int] = set()
        papers: dict[tuple[int, ...], int] = {}
        while True:
            line, cells = self._next_numbers("a ballot or the closing 0")
            if cells == [0]:
                break
            if all(cell < 0 for cell in cells):
                withdrawn |= {self._candidate(line, -cell) for cell in cells}
                continue
            ranking, count = self._ballot(line, cells)
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
                withdrawn=frozenset(withdrawn),
                title=title,
            )
        except ElectionInvalid as error:
            raise self._fault(0, str(error)) from None

    @staticmethod
    def _significant(text: str) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(text.splitlines(), start=1):
            stripped = line.strip()
            if stripped and not stripped.startswith("#"):
                yield number, stripped

    def _next_numbers(self, what: str) -> tuple[int, list[int]]:
        line, text = self._next(what)
        if text.startswith("("):
            text = text.partition(")")[2]
        text = text.split("#")[0]
        if "=" in text:
            raise self._fault(line, "a ballot with equal places ('='): STV needs one order")
        if text.startswith("["):
            raise self._fault(
                line, "an option in square brackets is not read: use numbers and remove it"
            )
        cells = text.split()
        if cells and re.fullmatch(r"\d*[./]\d+", cells[0]):
            raise self._fault(
                line, f"a weight of {cells[0]} papers: write whole papers, one ballot a voter"
            )
        try:
            # A dash stands for a place left empty; the places after it move up.
            return line, [int(cell) for cell in cells if cell != "-"]
        except ValueError:
            raise self._fault(line, f"expected {what}, found {text[:40]!r}") from None

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

    def _ballot(self, line: int, cells: list[int]) -> tuple[tuple[int, ...], int]:
        if len(cells) < 2 or cells[-1] != 0:
            raise self._fault(line, "a ballot must end with 0")
        if cells[0] < 1:
            raise self._fault(line, f"a ballot cast by {cells[0]} voters")
        ranking = tuple(self._candidate(line, cell) for cell in cells[1:-1])
        if len(set(ranking)) != len(ranking):
            twice = next(c for c in ranking if ranking.count(c) > 1)
            raise self._fault(line, f"a ballot ranks candidate {twice + 1} twice")
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
