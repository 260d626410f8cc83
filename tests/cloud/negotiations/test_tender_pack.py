"""The tender pack: what suppliers are handed, and what must never be in it."""

from __future__ import annotations

import csv
import io
import json
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cloud.negotiations import repository
from cloud.negotiations.released_load import load_of
from cloud.negotiations.tender_pack import pack_html
from cloud.profiles.coarsening import typical_day_shapes
from cloud.profiles.release import Released
from tests.cloud.coop_builder import Coop
from tests.cloud.group_builder import board_of, group_of, supplier_of, tender_on

LOAD = {
    "cells_w": {
        "winter": [1000.0 + 50 * hour for hour in range(24)],
        "summer": [800.0] * 24,
    },
    "peak_w": 2150.0,
    "evening_share": 0.31,
}
SECRETS = ("walk_away", "floor_low", "target", "old_minor", "loss_limit", "household")


def test_board_and_suppliers_get_the_same_json_without_secrets(coop: Coop) -> None:
    homes = group_of(coop, 2)
    tender_on(coop, homes, load=LOAD)
    _, board = board_of(coop, "Amara")
    _, nordwind = supplier_of(coop, "Nordwind")

    text = nordwind.get("/api/v1/tenders/t1/pack.json").text

    assert board.get("/board/t1/pack.json").text == text
    pack = json.loads(text)
    assert pack["issuer"] == coop.services.settings.coop_name
    assert pack["homes"] == 2
    assert pack["load"]["typical_working_day_mean_w"] == LOAD["cells_w"]
    assert pack["offer_schema"]["properties"]["format"]["const"] == "commonwatt-offer/1"
    assert not [word for word in SECRETS if word in text]
    assert not [home.household for home in homes if home.household in text]


def test_the_csv_of_an_older_tender_has_a_line_for_each_season_and_hour(coop: Coop) -> None:
    tender_on(coop, group_of(coop, 2), load=LOAD)
    _, nordwind = supplier_of(coop, "Nordwind")

    answer = nordwind.get("/api/v1/tenders/t1/pack.csv")

    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 48
    assert rows[3] == {"season": "winter", "hour": "3", "mean_w": "1150.0", "homes": "2"}


def released(step: str) -> dict[str, Any]:
    """A year of 120 alike homes as the floor would let it through at a step."""
    index = pd.date_range("2025-10-31T23:00Z", "2026-10-31T23:00Z", freq="h", inclusive="left")
    local = index.tz_convert("Europe/Vienna")
    kw = np.where(local.month.isin([6, 7, 8]), 0.5, 1.0) + 0.1 * local.hour
    frame = pd.DataFrame({f"h{number}": kw * 1000 for number in range(120)}, index=index)
    shapes = {
        shape.step: shape
        for shape in (make() for make in typical_day_shapes(frame, timezone="Europe/Vienna"))
    }
    finer = list(shapes)[: list(shapes).index(step)]
    return load_of(
        Released(
            release_no=1,
            kind="typical_day",
            homes=120,
            cohort_root="",
            step=step,
            made_coarser=tuple(f"{one}: in 3 of 9 figures one home makes up 22%" for one in finer),
            frame=shapes[step].frame,
            profile=None,
            output_sha256="",
            log_index=0,
        ),
        timezone="Europe/Vienna",
    )


@pytest.mark.parametrize(
    ("step", "rows", "part"),
    [
        ("month-hour", 576, "month"),
        ("season-hour", 192, "season"),
        ("season-block", 32, "season"),
        ("year-daytype", 2, "season"),
    ],
)
def test_suppliers_get_every_figure_that_passed_the_floor(
    coop: Coop, step: str, rows: int, part: str
) -> None:
    tender_on(coop, group_of(coop, 2), load=released(step))
    _, nordwind = supplier_of(coop, "Nordwind")

    pack = nordwind.get("/api/v1/tenders/t1/pack.json").json()["load"]
    lines = list(csv.DictReader(io.StringIO(nordwind.get("/api/v1/tenders/t1/pack.csv").text)))

    assert pack["step"] == step
    assert len(pack["rows"]) == len(lines) == rows
    assert list(lines[0]) == list(pack["rows"][0])
    assert part in lines[0]
    assert sum(row["energy_wh"] for row in pack["rows"]) == sum(
        int(line["energy_wh"]) for line in lines
    )
    july = next(
        row for row in pack["rows"] if row.get("month", row.get("season")) in {7, "summer", "year"}
    )
    if step == "month-hour":
        assert (july["hour"], july["mean_w"], july["homes"]) == (0, 60_000.0, 120)


def test_the_page_says_how_fine_the_load_is_and_why_not_finer(coop: Coop) -> None:
    homes = group_of(coop, 2)
    tender_on(coop, homes, load=released("month-hour"))
    tender_on(coop, homes, load=released("season-block"), tender_id="t2")
    with coop.services.database.reading() as connection:
        fine, coarse = (repository.tender_row(connection, name) for name in ("t1", "t2"))
    assert fine is not None
    assert coarse is not None

    page = pack_html(fine, issuer="x")
    assert "month by month" in page
    assert "the finest step there is" in page
    assert page.count("<tr>") > 24 * 2 + 12
    assert "Mean power on weekends, kW" in page
    page = pack_html(coarse, issuer="x")
    assert "block of six hours" in page
    assert "did not pass the cooperative’s privacy floor" in page
    assert "22%" not in page


def test_the_board_gets_a_pdf(coop: Coop) -> None:
    pytest.importorskip("weasyprint")
    tender_on(coop, group_of(coop, 2), load=LOAD)
    _, board = board_of(coop, "Amara")

    answer = board.get("/board/t1/pack.pdf")

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/pdf"
    assert "tender-t1.pdf" in answer.headers["content-disposition"]
    assert answer.content.startswith(b"%PDF-")
    assert len(answer.content) > 5_000
    assert "/board/t1/pack.pdf" in board.get("/board/t1").text


def test_without_the_extra_the_board_is_told_what_to_install(
    coop: Coop, monkeypatch: pytest.MonkeyPatch
) -> None:
    tender_on(coop, group_of(coop, 2), load=LOAD)
    _, board = board_of(coop, "Amara")
    monkeypatch.setitem(sys.modules, "weasyprint", None)

    answer = board.get("/board/t1/pack.pdf")

    assert answer.status_code == 409
    assert "commonwatt[pdf]" in answer.text


def test_a_pack_is_for_the_board_and_for_suppliers_only(coop: Coop) -> None:
    homes = group_of(coop, 2)
    tender_on(coop, homes, load=LOAD)
    member = coop.browser_of(homes[0].person)
    _, nordwind = supplier_of(coop, "Nordwind")
    _, board = board_of(coop, "Amara")

    assert member.get("/board/t1/pack.json").status_code == 403
    assert member.get("/api/v1/tenders/t1/pack.json").status_code == 403
    assert nordwind.get("/board/t1/pack.json").status_code == 403
    assert board.get("/board/nothing/pack.json").status_code == 404
    assert board.get("/board/t1/pack.docx").status_code == 422


def test_words_of_a_tender_cannot_become_markup(coop: Coop) -> None:
    tender_on(coop, group_of(coop, 2), title="<script>alert(1)</script>", load={})
    with coop.services.database.reading() as connection:
        tender = repository.tender_row(connection, "t1")
    assert tender is not None

    page = pack_html(tender, issuer="A & B <b>")

    assert "<script" not in page
    assert "A &amp; B &lt;b&gt;" in page
    assert "No load profile has been released" in page
