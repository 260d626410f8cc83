"""The tender pack: what suppliers are handed, and what must never be in it."""

from __future__ import annotations

import csv
import io
import json
import sys

import pytest

from cloud.negotiations import repository
from cloud.negotiations.tender_pack import pack_html
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


def test_the_csv_has_a_line_for_each_season_and_hour(coop: Coop) -> None:
    tender_on(coop, group_of(coop, 2), load=LOAD)
    _, nordwind = supplier_of(coop, "Nordwind")

    answer = nordwind.get("/api/v1/tenders/t1/pack.csv")

    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 48
    assert rows[3] == {"season": "winter", "hour": "3", "mean_w": "1150.0", "homes": "2"}


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
