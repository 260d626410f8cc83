"""The same seed gives the same street at any hour of a day."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from pathlib import Path

import numpy as np
import pytest

from cloud.demo import story
from cloud.demo.story import Street, StreetPlan


def street_at(moment: datetime, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Street:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return moment

    monkeypatch.setattr(story, "datetime", Clock)
    return Street(StreetPlan(homes=3, seed=7, port=0), lambda _: None, folder)


def test_the_load_is_the_same_at_any_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    early = street_at(datetime(2026, 11, 22, 0, 20, tzinfo=UTC), tmp_path, monkeypatch)
    late = street_at(datetime(2026, 11, 22, 22, 50, tzinfo=UTC), tmp_path, monkeypatch)
    for number, load in early.loads.items():
        assert load.start == late.loads[number].start
        assert np.array_equal(load.import_wh, late.loads[number].import_wh)
        assert load.import_wh.sum() > 0
