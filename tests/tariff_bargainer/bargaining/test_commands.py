"""The commands on real files: what they print, and one clear line when something is wrong."""

import json
import shutil
import sys
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tariff_bargainer.bargaining.offers import price_homes
from tariff_bargainer.cli import app
from tests.tariff_bargainer.bargaining.offer_texts import flat_tariff, offer_text
from tests.tariff_bargainer.bargaining.street import START, hourly_homes, spot_per_mwh

HOMES = 12
DAYS = 35
MANDATE = """
format = "commonwatt-mandate/1"
currency = "EUR"
saving_share_min = 0.04
losers_share_max = 0.03
loss_limit = 40
"""
TARIFF = """
format = "commonwatt-tariff/1"
name = "today"
currency = "EUR"
timezone = "Europe/Vienna"
[[energy]]
name = "energy"
rate_per_kwh = 0.31
[[standing]]
name = "standing"
amount = 8
per = "month"
"""
TENDER = """
format = "commonwatt-tender/1"
tender = "T1"
currency = "EUR"
reserve = 50000
opens_at = 2026-11-01T00:00:00Z
closes_at = 2026-11-15T00:00:00Z
[[lots]]
id = "main"
[[book]]
load = "homes/home-001.csv"
homes = 30
"""


@pytest.fixture(scope="module")
def street(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("street")
    (folder / "homes").mkdir()
    homes = hourly_homes(HOMES, days=DAYS)
    for home, profile in homes.items():
        frame = profile.to_frame()
        frame.index = [start.isoformat() for start in profile.index]
        frame.to_csv(folder / "homes" / f"{home}.csv", index_label="interval_start")
    prices = spot_per_mwh(DAYS * 24).round(2)
    rows = [
        f"{start.isoformat()},{price}" for start, price in zip(profile.index, prices, strict=True)
    ]
    (folder / "spot.csv").write_text("\n".join(["interval_start,price_per_mwh", *rows]) + "\n")
    (folder / "today.toml").write_text(TARIFF)
    (folder / "mandate.toml").write_text(MANDATE)
    (folder / "nordwind.toml").write_text(offer_text(0.279))
    (folder / "tide.toml").write_text(offer_text(0.285, supplier="Tide"))
    (folder / "tender.toml").write_text(TENDER)
    return folder


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == code, result.output
    if code == 2:
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1, "one clear line"
        return result.stderr
    return result.stdout


def test_profile_prints_typical_days_and_reasons(street):
    found = json.loads(run("profile", "--homes", street / "homes", "--timezone", "UTC", "--json"))
    assert found["homes"] == HOMES
    assert len(found["typical_day"]) == 576
    assert sum(cell["energy_wh"] for cell in found["typical_day"]) == found["energy_wh"]
    assert {reason["fault"] for reason in found["insufficient"]} == {"too_short"}
    assert "12 homes" in run("profile", "--homes", street / "homes", "--timezone", "UTC")


def test_compare_equals_the_library(street):
    found = json.loads(
        run(
            "compare", "--homes", street / "homes", "--old", street / "today.toml",
            "--offer", street / "nordwind.toml", "--offer", street / "tide.toml",
            "--mandate", street / "mandate.toml", "--per-home", "--samples", "3", "--json",
        )
    )  # fmt: skip
    homes = hourly_homes(HOMES, days=DAYS)
    nordwind, tide = found["offers"]
    assert nordwind["new_minor"] == sum(price_homes(homes, flat_tariff(0.279)).values())
    assert nordwind["saving_minor"] > tide["saving_minor"] > 0
    assert (
        sum(home["saving_minor"] for home in nordwind["per_home"].values())
        == (nordwind["saving_minor"])
    )
    assert sum(nordwind["histogram"]["counts"]) == HOMES
    assert nordwind["mandate"]["kept"]
    assert nordwind["sure"]["homes_likely_to_save"] == HOMES
    assert nordwind["remedy"]["nobody_worse_off"]["possible"]


def test_compare_hides_single_homes_unless_asked(street):
    found = run(
        "compare", "--homes", street / "homes", "--old", street / "today.toml",
        "--offer", street / "nordwind.toml", "--json",
    )  # fmt: skip
    assert "home-001" not in found


def test_floor_sums_to_its_total(street):
    from decimal import Decimal

    found = json.loads(
        run(
            "floor", "--homes", street / "homes", "--spot", street / "spot.csv",
            "--timezone", "Europe/Vienna", "--currency", "EUR", "--json",
        )
    )  # fmt: skip
    assert sum(Decimal(line["amount"]) for line in found["lines"]) == Decimal(found["total"])
    assert found["meters"] == HOMES


def test_a_negotiation_is_opened_played_and_resumed(street, tmp_path):
    state = tmp_path / "nordwind.json"
    run(
        "negotiate", "open", "--state", state, "--supplier", "Nordwind",
        "--homes", street / "homes", "--old", street / "today.toml", "--floor", "0.27",
    )  # fmt: skip
    cheaper = tmp_path / "cheaper.toml"
    cheaper.write_text(TARIFF.replace("0.31", "0.30"))
    other = json.loads(
        run(
            "negotiate", "open", "--state", tmp_path / "other.json", "--supplier", "Nordwind",
            "--homes", street / "homes", "--old", street / "today.toml", "--floor", "0.27",
            "--alone", cheaper, "--json",
        )
    )  # fmt: skip
    alone = json.loads(run("negotiate", "show", "--state", state, "--json"))["range"]["walk_away"]
    assert float(alone) - float(other["range"]["walk_away"]) == pytest.approx(0.01, abs=2e-4)
    offered = json.loads(run("negotiate", "offer", "0.30", "--state", state, "--json"))
    assert offered["advice"]["advice"] == "counter"
    asked = json.loads(run("negotiate", "ask", "--state", state, "--json"))
    assert asked["moves"][-1]["price_per_kwh"] == offered["advice"]["price_per_kwh"]
    one = json.loads(
        run("negotiate", "simulate", "--state", state, "--seed", "3", "--rounds", "1", "--json")
    )
    assert one["moves"][-1]["round"] == 2
    end = json.loads(run("negotiate", "simulate", "--state", state, "--seed", "3", "--json"))
    assert end["status"] == "agreed"
    assert "is agreed" in run("negotiate", "offer", "0.2", "--state", state, code=2)
    assert end == json.loads(run("negotiate", "show", "--state", state, "--json"))


def test_packages_over_several_issues_are_searched(street, tmp_path):
    state, issues = tmp_path / "tide.json", tmp_path / "issues.toml"
    run(
        "negotiate", "open", "--state", state, "--supplier", "Tide",
        "--homes", street / "homes", "--old", street / "today.toml", "--floor", "0.27",
    )  # fmt: skip
    issues.write_text(
        """
format = "commonwatt-issues/1"
currency = "EUR"
[[issues]]
name = "green"
[[issues.levels]]
label = "none"
worth_per_year = 0
cost_per_year = 0
[[issues.levels]]
label = "all"
worth_per_year = 90
cost_per_year = 30
"""
    )
    found = json.loads(run("negotiate", "packages", "--state", state, "--issues", issues, "--json"))
    assert {package["labels"]["green"] for package in found["packages"]} == {"all"}
    assert found["nash"] in found["packages"]
    assert "Kalai-Smorodinsky" in run("negotiate", "packages", "--state", state, "--issues", issues)
    issues.write_text(issues.read_text().replace("cost_per_year = 30", "cost = 30"))
    told = run("negotiate", "packages", "--state", state, "--issues", issues, code=2)
    assert "issues[0].levels[1]" in told


def test_an_auction_is_sealed_decided_and_counted_again(street, tmp_path):
    sealed, opened = [], []
    for bidder, file in (("Nordwind", "nordwind.toml"), ("Tide", "tide.toml")):
        seal = json.loads(
            run(
                "auction", "seal", "--tender", "T1", "--bidder", bidder, "--lot", "main",
                "--offer", street / file, "--json",
            )
        )  # fmt: skip
        sealed.append(
            {
                "bidder": bidder,
                "lot": "main",
                "seal": seal["seal"],
                "received_at": "2026-11-10T10:00:00Z",
            }
        )
        opened.append({"bidder": bidder, "lot": "main", "file": file, "nonce": seal["nonce"]})
    bids = street / "bids.json"
    bids.write_text(json.dumps({"format": "commonwatt-bids/1", "sealed": sealed, "opened": opened}))
    common = ("--rules", street / "tender.toml", "--bids", bids)
    text = run("auction", "run", *common, "--rehearsal", "--json")
    found = json.loads(text)
    assert found["lots"][0]["winner"] == "Nordwind"
    result = tmp_path / "result.json"
    result.write_text(text)
    assert json.loads(run("auction", "check", *common, "--result", result, "--json"))["same"]
    result.write_text(text.replace('"winner": "Nordwind"', '"winner": "Tide"'))
    told = json.loads(run("auction", "check", *common, "--result", result, "--json", code=1))
    assert told["differs_in"] == ["lots"]


def test_a_tender_pack_of_a_small_street_is_refused(street, tmp_path):
    told = run(
        "auction", "pack", "--rules", street / "tender.toml", "--homes", street / "homes",
        "--timezone", "UTC", "--issuer", "Harbour Lane", "--out", tmp_path / "pack", code=2,
    )  # fmt: skip
    assert "12 homes, at least 100 are needed" in told
    assert not (tmp_path / "pack").exists()


@pytest.fixture(scope="module")
def hundred(street, tmp_path_factory) -> Path:
    """A hundred and one homes: the street's, each at several sizes and hours."""
    folder = tmp_path_factory.mktemp("hundred")
    (folder / "homes").mkdir()
    bases = sorted((street / "homes").glob("*.csv"))
    for number in range(101):
        first, *rows = bases[number % len(bases)].read_text().splitlines()
        starts, loads = zip(*(row.split(",")[:2] for row in rows), strict=True)
        turn = number // len(bases)
        turned = loads[turn:] + loads[:turn]
        text = "\n".join(f"{at},{wh}" for at, wh in zip(starts, turned, strict=True))
        header = ",".join(first.split(",")[:2])
        (folder / "homes" / f"h{number:03d}.csv").write_text(f"{header}\n{text}\n")
    return folder


def pack(tender: Path, homes: Path, out: Path, *more: object, code: int = 0) -> str:
    return run(
        "auction", "pack", "--rules", tender, "--homes", homes, "--timezone", "Europe/Vienna",
        "--issuer", "Harbour Lane", "--out", out, *more, code=code,
    )  # fmt: skip


def tender_on_mean_home(hundred: Path, folder: Path) -> Path:
    run(
        "auction", "book", "--homes", hundred / "homes", "--timezone", "Europe/Vienna",
        "--out", folder / "mean.csv",
    )  # fmt: skip
    text = TENDER.replace("homes/home-001.csv", "mean.csv").replace("homes = 30", "homes = 101")
    (folder / "tender.toml").write_text(text)
    return folder / "tender.toml"


def test_a_tender_pack_of_a_hundred_homes_is_written(hundred, tmp_path, monkeypatch):
    tender = tender_on_mean_home(hundred, tmp_path)
    found = json.loads(pack(tender, hundred / "homes", tmp_path / "pack", "--json"))
    assert [str(Path(name).relative_to(tmp_path / "pack")) for name in found["files"]] == [
        "tender.json", "load.csv", "tender.html", "rules/tender.toml", "rules/mean.csv",
    ]  # fmt: skip
    facts = json.loads((tmp_path / "pack" / "tender.json").read_text())
    assert facts["homes"] == 101
    page = (tmp_path / "pack" / "tender.html").read_text()
    assert "15 November 2026 01:00 CET (15 November, 00:00 UTC)" in page
    assert "from 1 January 2025 to" in page
    if find_spec("weasyprint"):
        pack(tender, hundred / "homes", tmp_path / "printed", "--pdf")
        assert (tmp_path / "printed" / "tender.pdf").read_bytes().startswith(b"%PDF-")
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    assert "commonwatt[pdf]" in pack(tender, hundred / "homes", tmp_path / "p", "--pdf", code=2)


def test_the_mean_home_of_a_book_adds_up_to_the_group_and_a_bidder_counts_with_the_pack(
    hundred, tmp_path
):
    tender = tender_on_mean_home(hundred, tmp_path)
    pack(tender, hundred / "homes", tmp_path / "pack")
    mean = [int(row.split(",")[1]) for row in (tmp_path / "mean.csv").read_text().split()[1:]]
    released = sum(
        row["energy_kwh"]
        for row in json.loads((tmp_path / "pack" / "tender.json").read_text())["load"]
    )
    assert sum(mean) * 101 / 1000 == pytest.approx(released, rel=2e-3)
    bids = tmp_path / "pack" / "bids.json"
    bids.write_text(json.dumps({"format": "commonwatt-bids/1", "sealed": [], "opened": []}))
    decided = ["--rules", tmp_path / "pack" / "rules" / "tender.toml", "--bids", bids]
    result = tmp_path / "result.json"
    result.write_text(run("auction", "run", *decided, "--rehearsal", "--json"))
    assert "the same result" in run("auction", "check", *decided, "--result", result)
    hashed = json.loads((tmp_path / "pack" / "tender.json").read_text())["rules_hash"]
    assert json.loads(result.read_text())["rules_hash"] == hashed


def test_two_packs_that_differ_by_one_home_are_refused(hundred, tmp_path):
    tender = tender_on_mean_home(hundred, tmp_path)
    fewer = tmp_path / "fewer"
    shutil.copytree(hundred / "homes", fewer)
    (fewer / "h100.csv").unlink()
    told = pack(tender, fewer, tmp_path / "second", code=2)
    assert "differ from them by 1" in told
    assert not (tmp_path / "second").exists()
    pack(tender, hundred / "homes", tmp_path / "first")
    pack(tender, hundred / "homes", tmp_path / "again")
    for name in ("tender.json", "load.csv", "tender.html"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    record = tmp_path / "released.json"
    assert len(json.loads(record.read_text())["releases"]) == 1
    assert record.stat().st_mode & 0o077 == 0
    record.write_text("{}")
    assert "released.json" in pack(tender, hundred / "homes", tmp_path / "third", code=2)


def test_a_book_that_is_one_home_is_refused(hundred, tmp_path):
    tender = tender_on_mean_home(hundred, tmp_path)
    shutil.copy(hundred / "homes" / "h007.csv", tmp_path / "mean.csv")
    told = pack(tender, hundred / "homes", tmp_path / "pack", code=2)
    assert "book[0] is the load of one home" in told
    assert not (tmp_path / "pack").exists()


def test_savings_carry_their_evidence(street):
    new = street / "new.toml"
    new.write_text(TARIFF.replace("0.31", "0.279"))
    arguments = (
        "savings", "--homes", street / "homes", "--old", street / "today.toml",
        "--new", new, "--period", "2025", "--json",
    )  # fmt: skip
    found = json.loads(run(*arguments))
    assert found["saving_minor"] == sum(member["saving_minor"] for member in found["members"])
    assert found == json.loads(run(*arguments)), "a rerun gives the same money and hashes"
    assert all(len(member["evidence"]["result"]) == 64 for member in found["members"])


def test_savings_over_a_price_change_and_against_a_reference(street, tmp_path):
    new, first, second = (tmp_path / f"{name}.toml" for name in ("new", "first", "second"))
    new.write_text(TARIFF.replace("0.31", "0.279"))
    first.write_text(TARIFF.replace("\n[[energy]]", "\neffective_to = 2025-02-11\n[[energy]]", 1))
    second.write_text(
        TARIFF.replace("\n[[energy]]", "\neffective_from = 2025-02-11\n[[energy]]", 1)
    )
    asked = ["savings", "--homes", street / "homes", "--new", new, "--period", "2025"]
    whole = json.loads(run(*asked, "--old", street / "today.toml", "--json"))
    split = json.loads(run(*asked, "--old", first, "--old", second, "--json"))
    assert split["saving_minor"] == pytest.approx(whole["saving_minor"], abs=HOMES)
    assert "overlap" in run(*asked, "--old", first, "--old", first, code=2)
    asked += ["--old", street / "today.toml", "--reference", street / "homes"]
    for member in json.loads(run(*asked, "--json"))["members"]:
        assert member["terms"]["usage_minor"] == member["terms"]["interaction_minor"] == 0
        assert member["terms"]["price_minor"] == member["saving_minor"]
    assert "by price" in run(*asked)


def test_tomorrow_and_a_season_are_forecast_from_files(tmp_path):
    (tmp_path / "homes").mkdir()
    for home, profile in hourly_homes(2, days=393).items():
        frame = profile.to_frame()
        frame.index = [start.isoformat() for start in profile.index]
        frame.to_csv(tmp_path / "homes" / f"{home}.csv", index_label="interval_start")
    pool = ("forecast", "--homes", tmp_path / "homes", "--timezone", "Europe/Vienna")
    told = json.loads(run(*pool, "--next", "--quantiles", "--json"))
    assert told["days"] == 1
    assert told["start"] == profile.end.isoformat()
    assert len(told["quantiles_wh"]) == 24
    assert "skill" not in told
    table = run(*pool, "--next").splitlines()
    assert len(table) == 2 + 24
    assert len({len(line) for line in table[1:]}) == 1
    season = json.loads(run(*pool, "--season", "90", "--json"))
    assert season["days"] == 90
    months = [line.split() for line in run(*pool, "--season", "90").splitlines()[2:]]
    assert sum(float(kwh.replace(",", "")) for _, kwh in months) == pytest.approx(
        season["expected_kwh"], abs=1
    )
    assert "exclude" in run(*pool, "--next", "--season", "9", code=2)


def weather_files(folder: Path, *, saved_share: float) -> list[object]:
    """Two years of a home that heats below 15 degrees, and saves in the second."""
    days = np.arange(730)
    rng = np.random.default_rng(3)
    degrees = 10 - 9 * np.cos(2 * np.pi * days / 365) + rng.normal(0, 4, size=days.size)
    kwh = 12 + 0.6 * np.maximum(0, 15 - degrees) + rng.normal(0, 0.4, size=days.size)
    kwh *= np.where(days < 365, 1, 1 - saved_share)
    starts = [START + timedelta(days=int(day)) for day in days]
    for name, column, values in (
        ("homes/a.csv", "import_kwh", kwh),
        ("t.csv", "temperature_c", degrees),
    ):
        rows = [f"{at.isoformat()},{one:.3f}" for at, one in zip(starts, values, strict=True)]
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("\n".join([f"interval_start,{column}", *rows, ""]))
    return [
        "weather", "--homes", folder / "homes", "--temperature", folder / "t.csv", "--timezone", "UTC",
    ]  # fmt: skip


@pytest.mark.parametrize("saved_share", [0.1, 0.0])
def test_a_saving_beyond_the_weather_is_reported_and_pays_nobody(tmp_path, saved_share):
    asked = weather_files(tmp_path, saved_share=saved_share)
    found = json.loads(run(*asked, "--since", "2026-01-01", "--json"))
    assert found["saved_share"] == pytest.approx(saved_share, abs=0.01)
    assert found["heating_balance_c"] == pytest.approx(15, abs=1)
    assert found["basis_of_payment"] is False
    words = run(*asked, "--since", "2026-01-01")
    assert "never the basis of a payment" in words
    assert ("not clear" in words) == (not found["is_clear"])
    assert "needs 300" in run(*asked, "--since", "2025-03-01", code=2)
    assert "--since" in run(*asked, "--since", "March", code=2)
    shutil.copy(tmp_path / "homes" / "a.csv", tmp_path / "t.csv")
    assert "temperature_c" in run(*asked, "--since", "2026-01-01", code=2)


def test_archetypes_are_found_on_files(street):
    found = json.loads(
        run(
            "archetypes", "--homes", street / "homes", "--timezone", "UTC",
            "--tariff", street / "today.toml", "--json",
        )
    )  # fmt: skip
    assert sum(one["homes"] for one in found["archetypes"]) == HOMES
    assert set(found["archetype_of"]) == {path.stem for path in (street / "homes").glob("*.csv")}


def test_archetypes_are_described_by_hand_computed_figures(tmp_path):
    """Ten like homes: 3 kW for four hours at a price of 200, 1 kW for twenty hours at 80."""
    (tmp_path / "homes").mkdir()
    starts = pd.date_range("2025-01-01", periods=48, freq="h", tz="UTC")
    busy = (starts.hour >= 18) & (starts.hour < 22)
    index = pd.Index([start.isoformat() for start in starts], name="interval_start")
    homes = [tmp_path / "homes" / f"h{number}.csv" for number in range(10)]
    for path in homes:
        pd.DataFrame({"import_wh": np.where(busy, 3000, 1000)}, index=index).to_csv(path)
    spot = tmp_path / "spot.csv"
    pd.DataFrame({"price_per_mwh": np.where(busy, 200, 80)}, index=index).to_csv(spot)
    (tmp_path / "today.toml").write_text(TARIFF)
    given = ("--timezone", "UTC", "--spot", spot)
    arguments = ("archetypes", "--homes", homes[0].parent, *given, "--tariff",
                 tmp_path / "today.toml", "--standard", homes[0])  # fmt: skip
    (row,) = json.loads(run(*arguments, "--json"))["archetypes"]
    assert row["peak_w"] == 30_000
    assert row["coincidence"] == 1
    assert row["load_factor"] == pytest.approx((12 + 20) / 24 / 3)
    ratio = (12 * 200 + 20 * 80) / 32 / ((4 * 200 + 20 * 80) / 24)
    assert row["capture_ratio"] == pytest.approx(ratio)
    assert row["distance"] == {
        "flat": pytest.approx(12 / 32 - 4 / 24),
        "h0": pytest.approx(0, abs=1e-6),
    }
    header, values = run(*arguments).splitlines()[1:]
    assert len(header) == len(values)
    assert header.split()[-3:] == ["flat", "to", "h0"]
    profile = json.loads(run("profile", "--homes", homes[0].parent, *given, "--json"))
    assert profile["capture_ratio"] == pytest.approx(ratio)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("profile", "--homes", "absent", "--timezone", "UTC"), "has 0 load files"),
        (("profile", "--homes", "homes", "--timezone", "Mars/Olympus"), "time zone"),
        (
            ("compare", "--homes", "homes", "--old", "absent.toml", "--offer", "tide.toml"),
            "cannot be read",
        ),
        (
            ("compare", "--homes", "homes", "--old", "today.toml", "--offer", "mandate.toml"),
            "commonwatt-offer/1",
        ),
        (
            ("floor", "--homes", "homes", "--spot", "today.toml", "--timezone", "UTC",
             "--currency", "EUR"),
            "line 1",
        ),
        (("negotiate", "show", "--state", "absent.json"), "start with"),
        (("negotiate", "show", "--state", "tender.toml"), "is not JSON"),
        (("negotiate", "offer", "cheap", "--state", "tender.toml"), ""),
        (("auction", "run", "--rules", "today.toml", "--bids", "bids.json"), "commonwatt-tender/1"),
        (("forecast", "--homes", "homes", "--timezone", "UTC", "--days", "10"), "at least"),
        (
            ("archetypes", "--homes", "homes", "--timezone", "UTC", "--tariff", "spot.csv"),
            "spot.csv",
        ),
    ],
)  # fmt: skip
def test_bad_input_gives_one_line_and_exit_code_two(street, monkeypatch, arguments, says):
    monkeypatch.chdir(street)
    assert says in run(*arguments, code=2)


def test_a_broken_price_line_is_named(street, tmp_path):
    broken = tmp_path / "spot.csv"
    broken.write_text("interval_start,price_per_mwh\n2025-01-01T00:00,40\n")
    told = run(
        "floor", "--homes", street / "homes", "--spot", broken, "--timezone", "UTC",
        "--currency", "EUR", code=2,
    )  # fmt: skip
    assert "line 2" in told
    assert "offset" in told


def test_a_home_with_gaps_is_named_with_its_folder(street, tmp_path):
    (tmp_path / "gappy.csv").write_text(
        "interval_start,import_wh\n2025-01-01T00:00:00Z,5\n2025-01-01T01:00:00Z,\n"
        "2025-01-01T02:00:00Z,5\n"
    )
    told = run(
        "compare", "--homes", tmp_path, "--old", street / "today.toml",
        "--offer", street / "tide.toml", code=2,
    )  # fmt: skip
    assert f"error: {tmp_path}: gappy: 1 of 3 intervals are missing" in told


@pytest.mark.parametrize(
    "command",
    [("profile",), ("compare",), ("floor",), ("savings",), ("archetypes",), ("forecast",)]
    + [
        ("negotiate", verb)
        for verb in ("open", "offer", "ask", "accept", "leave", "simulate", "packages")
    ]
    + [("auction", verb) for verb in ("seal", "run", "check", "pack")],
)
def test_every_command_shows_an_example(command):
    assert "Example: tariff-bargainer" in run(*command, "--help").replace("\n", " ")


def open_talk(street: Path, state: Path) -> None:
    run(
        "negotiate", "open", "--state", state, "--supplier", "Nordwind", "--homes",
        street / "homes", "--old", street / "today.toml", "--floor", "0.262", "--rounds", "4",
    )  # fmt: skip


def say(state: Path, *lines: str) -> str:
    result = CliRunner().invoke(
        app,
        ["negotiate", "talk", "--state", str(state)],
        input="".join(f"{one}\n" for one in lines),
    )
    assert result.exit_code == 0, result.output
    return result.output


def test_a_talk_with_a_person_goes_on_where_it_was_broken_off(street, tmp_path):
    state = tmp_path / "nordwind.json"
    open_talk(street, state)
    first = say(state, "0.295", "")
    assert "Nordwind offers" in first
    assert "kept in" in first
    moves = json.loads(run("negotiate", "show", "--state", state, "--json"))["moves"]
    assert [move["party"] for move in moves] == ["supplier", "coop"]
    second = say(state, "29.1", "nothing", "0.288", "0.27", "final 0.281", "accept")
    assert second.count("not done") == 2
    assert "no price in EUR per kWh" in second
    end = json.loads(run("negotiate", "show", "--state", state, "--json"))
    assert (end["status"], end["agreed_price_per_kwh"]) == ("agreed", "0.2810")
    assert end["moves"][:2] == moves
    assert "offers [" not in say(state)


def test_an_offer_in_cents_is_a_slip(street, tmp_path):
    state = tmp_path / "nordwind.json"
    open_talk(street, state)
    assert "no price in EUR per kWh" in run("negotiate", "offer", "29.5", "--state", state, code=2)


def test_a_slip_says_nothing_of_what_we_aim_for(street, tmp_path):
    state = tmp_path / "nordwind.json"
    open_talk(street, state)
    limits = json.loads(run("negotiate", "show", "--state", state, "--json"))["range"]
    told = run("negotiate", "offer", "29.5", "--state", state, code=2)
    assert limits["target"] not in told
    assert limits["walk_away"] not in told
    assert "far above" in run(
        "negotiate", "open", "--state", tmp_path / "n.json", "--supplier", "N", "--homes",
        street / "homes", "--old", street / "today.toml", "--floor", "26.2", code=2,
    )  # fmt: skip


def test_what_is_shown_to_the_supplier_is_the_prices_and_nothing_else(street, tmp_path):
    state = tmp_path / "nordwind.json"
    open_talk(street, state)
    run("negotiate", "offer", "0.30", "--state", state)
    run("negotiate", "ask", "--state", state)
    run("negotiate", "offer", "0.29", "--state", state, "--final")
    assert "their last word" in run("negotiate", "show", "--state", state)
    whole = json.loads(run("negotiate", "show", "--state", state, "--json"))
    seen = json.loads(run("negotiate", "show", "--state", state, "--for-supplier", "--json"))
    assert set(seen) == {"supplier", "status", "currency", "rounds_max", "moves"}
    assert {key for move in seen["moves"] for key in move} == {
        "round", "party", "price_per_kwh", "final",
    }  # fmt: skip
    words = run("negotiate", "show", "--state", state, "--for-supplier")
    for secret in ("floor", "floor_low", "target", "walk_away"):
        named = {move["price_per_kwh"] for move in seen["moves"]}
        assert whole["range"][secret] in named or whole["range"][secret] not in words
    assert "walking away" not in words


def test_a_move_that_somebody_else_made_meanwhile_is_not_overwritten(street, tmp_path, monkeypatch):
    state = tmp_path / "nordwind.json"
    open_talk(street, state)
    before = state.read_text()
    run("negotiate", "offer", "0.30", "--state", state)
    theirs = state.read_text()
    asked = iter(["0.31"])

    def answer(_prompt: str) -> str:
        state.write_text(theirs)
        return next(asked)

    state.write_text(before)
    monkeypatch.setattr("builtins.input", answer)
    assert "somebody else" in run("negotiate", "talk", "--state", state, code=2)
    assert state.read_text() == theirs


def test_a_talk_that_is_broken_off_by_hand_says_where_it_goes_on(street, tmp_path, monkeypatch):
    state = tmp_path / "nordwind.json"
    open_talk(street, state)

    def broken_off(_prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", broken_off)
    assert "kept in" in run("negotiate", "talk", "--state", state)
    assert state.stat().st_mode & 0o077 == 0


def test_patience_sets_the_power_and_packages_keep_it(street, tmp_path):
    state, issues = tmp_path / "tide.json", tmp_path / "issues.toml"
    common = [
        "negotiate", "open", "--state", state, "--supplier", "Tide", "--homes", street / "homes",
        "--old", street / "today.toml", "--floor", "0.27",
    ]  # fmt: skip
    assert "one of them" in run(*common, "--patience", "0.9,0.9", "--power", "0.5", code=2)
    assert "ours and theirs" in run(*common, "--patience", "0.9", code=2)
    assert "between 0 and 1" in run(*common, "--patience", "1,0.9", code=2)
    limits = json.loads(run(*common, "--patience", "0.9,0.8", "--json"))["range"]
    # (1 - theirs) / (1 - ours x theirs), Rubinstein 1982.
    room = float(limits["walk_away"]) - float(limits["floor"])
    got = (float(limits["walk_away"]) - float(limits["target"])) / room
    assert got == pytest.approx(0.2 / 0.28, abs=0.01)
    issues.write_text('format = "commonwatt-issues/1"\ncurrency = "EUR"\nissues = []\n')
    pack = ["negotiate", "packages", "--state", state, "--issues", issues]
    assert float(json.loads(run(*pack, "--json"))["power"]) == pytest.approx(0.71, abs=0.011)
    for wrong in ("1.5", "-0.1"):
        assert "between 0 and 1" in run(*pack, "--power", wrong, code=2)
    issues.write_text(issues.read_text().replace("EUR", "USD"))
    assert "currency: is 'USD'" in run(*pack, code=2)


def test_who_joins_pays_the_exit_fee_as_well_as_who_leaves_alone(street, tmp_path):
    bound = tmp_path / "bound.toml"
    bound.write_text(TARIFF.replace('currency = "EUR"', 'currency = "EUR"\nexit_fee = 20'))
    common = ["--homes", street / "homes", "--floor", "0.2", "--supplier", "N", "--json"]
    free, held = (
        json.loads(run("negotiate", "open", "--state", tmp_path / name, "--old", tariff, *common))[
            "range"
        ]
        for name, tariff in (("free.json", street / "today.toml"), ("held.json", bound))
    )
    fees = 20 * HOMES * DAYS / 365
    apart = float(free["walk_away"]) - float(held["walk_away"])
    assert apart * float(free["energy_kwh"]) == pytest.approx(fees, rel=0.02)


def test_own_tariffs_that_follow_spot_prices_are_billed_with_them(street, tmp_path):
    spot = tmp_path / "spot.toml"
    spot.write_text(
        TARIFF.replace(
            "rate_per_kwh = 0.31", 'index = { series = "day-ahead", markup_per_kwh = 0.1 }'
        )
    )
    asked = [
        "negotiate", "open", "--state", tmp_path / "n.json", "--supplier", "N", "--homes",
        street / "homes", "--old", spot, "--floor", "0.1",
    ]  # fmt: skip
    assert "day-ahead" in run(*asked, code=2)
    limits = json.loads(run(*asked, "--spot", street / "spot.csv", "--json"))["range"]
    assert 0.1 < float(limits["walk_away"]) < 0.4


def test_compare_names_exit_fees_and_who_does_better_alone(street, tmp_path):
    bound, alone = tmp_path / "bound.toml", tmp_path / "alone.toml"
    bound.write_text(TARIFF.replace('currency = "EUR"', 'currency = "EUR"\nexit_fee = 20'))
    alone.write_text(TARIFF.replace("0.31", "0.2"))
    asked = [
        "compare", "--homes", street / "homes", "--old", bound, "--offer", street / "nordwind.toml",
        "--alone", alone, "--samples", "4",
    ]  # fmt: skip
    words = run(*asked)
    assert "pay exit fees to join" in words
    assert "do better alone" in words
    row = json.loads(run(*asked, "--per-home", "--json"))["offers"][0]
    homes = row["homes"]
    assert row["walk_away"]["exit_fees_minor"] == 2000 * homes
    one = next(iter(row["per_home"].values()))
    assert 0 <= one["chance_of_saving"] <= 1
    assert one["walk_away_minor"] <= one["old_minor"]
    assert one["exit_fee_minor"] == 2000
    without = json.loads(run(*asked, "--json"))["offers"][0]
    assert "per_home" not in without


def test_a_floor_says_where_each_assumption_is_from(street, tmp_path):
    given = tmp_path / "floor.toml"
    given.write_text(
        'format = "commonwatt-floor/1"\nmargin_per_kwh = 0.004\nrisk_weight = 0.5\n'
        '[sources]\nmargin_per_kwh = "Annual report 2025"\n'
    )
    asked = [
        "floor", "--homes", street / "homes", "--spot", street / "spot.csv", "--timezone",
        "Europe/Vienna", "--currency", "EUR", "--assumptions", given,
    ]  # fmt: skip
    found = json.loads(run(*asked, "--json"))
    notes = {one["key"]: one for one in found["assumption_notes"]}
    assert set(notes) == set(found["assumptions"])
    assert notes["margin_per_kwh"]["source"] == "Annual report 2025"
    assert notes["margin_per_kwh"]["unit"] == "EUR/kWh"
    assert notes["risk_weight"]["source"] == "stated without a source"
    assert notes["credit_days"]["source"] == "our assumption"
    words = run(*asked)
    assert "EUR/MWh" in words
    assert all(key in words for key in notes)
    given.write_text(given.read_text() + 'credit_days = "guessed"\n')
    assert "sources.credit_days" in run(*asked, code=2)


def test_sharing_is_exact_for_twelve_and_sampled_or_nested_for_more(street, tmp_path):
    found = json.loads(
        run("sharing", "--homes", street / "homes", "--price-per-kw", "60", "--json")
    )
    assert found["method"] == "exact Shapley values"
    assert sum(found["shares"].values()) == pytest.approx(found["cost"])
    assert sum(found["least_core"]) == pytest.approx(found["cost"])
    assert found["cost"] < found["cost_alone"]
    assert found["least_core_excess"] <= found["worst_coalition_pays_beyond_its_own"] + 1e-9
    more = tmp_path / "more"
    more.mkdir()
    for home, path in enumerate(sorted((street / "homes").glob("*.csv")) * 2):
        (more / f"home-{home:02d}.csv").write_text(path.read_text())
    sampled = json.loads(run("sharing", "--homes", more, "--price-per-kw", "60", "--json"))
    assert sampled["good_enough"]
    assert sampled["error_share"] <= 0.01
    assert sum(sampled["shares"].values()) == pytest.approx(sampled["cost"])
    nested = json.loads(
        run("sharing", "--homes", more, "--price-per-kw", "60", "--json",
            "--archetypes-by", street / "today.toml", "--timezone", "Europe/Vienna")
    )  # fmt: skip
    assert sum(one["cost"] for one in nested["archetypes"]) == pytest.approx(nested["cost"])
    assert sum(one["homes"] for one in nested["archetypes"]) == 24
    assert "24 homes" in run("sharing", "--homes", more, "--price-per-kw", "60")
    assert "none.toml" in run(
        "sharing", "--homes", more, "--price-per-kw", "1", "--archetypes-by", "none.toml", code=2
    )
