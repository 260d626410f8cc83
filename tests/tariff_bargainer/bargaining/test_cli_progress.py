"""The progress bar: seen on a terminal, silent everywhere else."""

import io
import sys

import pytest

from tariff_bargainer.bargaining.offers import price_homes
from tariff_bargainer.cli_progress import progress_bar
from tests.tariff_bargainer.bargaining.offer_texts import flat_tariff
from tests.tariff_bargainer.bargaining.street import hourly_homes


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_bar_names_the_work_and_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("bills today") as shown:
        assert shown is not None
        shown(3, 3)
    assert "bills today" in screen.getvalue()
    assert "100%" in screen.getvalue()


def test_in_a_pipe_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    with progress_bar("bills today") as shown:
        assert shown is None
    assert pipe.getvalue() == ""


@pytest.mark.parametrize("quick", [False, True])
def test_every_home_is_counted(quick: bool) -> None:
    told: list[tuple[int, int]] = []
    homes = hourly_homes(3, days=31)
    price_homes(homes, flat_tariff(0.3), quick=quick, progress=lambda *at: told.append(at))
    assert told[-1] == (3, 3)
    assert told == sorted(told)
