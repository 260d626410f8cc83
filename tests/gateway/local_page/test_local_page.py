"""The household's page: who may look, what it says, and what a form may change."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import httpx
import pytest

from gateway.local_page.app import STATIC, LocalPage
from gateway.local_page.guard import CSP
from gateway.meters.source import Sample
from gateway.wire.reading import Purpose, Resolution
from tests.gateway.fake_coop import CLAIM_CODE, FakeCoop, offer
from tests.gateway.home import Home

HOST = "127.0.0.1:8480"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.pair()
    home.sync()
    home.daemon.live.expect(["main"])
    home.live(600)
    return home


def browser(home: Home, *, client: str = "127.0.0.1", host: str = HOST) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=LocalPage(home.daemon).app(), client=(client, 50_000))
    return httpx.AsyncClient(
        transport=transport,
        base_url=f"http://{host}",
        headers={"sec-fetch-site": "same-origin"},
    )


async def token_of(page: httpx.AsyncClient, path: str = "/") -> str:
    found = re.search(r'name="token" value="([0-9a-f]+)"', (await page.get(path)).text)
    assert found is not None
    return found.group(1)


@pytest.mark.parametrize("path", ["/", "/meters", "/leaves", "/settings", "/live.json"])
async def test_every_page_is_served_under_a_strict_policy(home: Home, path: str) -> None:
    async with browser(home) as page:
        answer = await page.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == CSP
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert " style=" not in answer.text
    assert not re.search(r"<script(?![^>]*\bsrc=)", answer.text)
    assert not re.search(r"\son[a-z]+=", answer.text)
    assert "https://" not in answer.text.replace("https://w3id.org", "")


async def test_a_stranger_outside_the_home_network_sees_nothing(home: Home) -> None:
    async with browser(home, client="203.0.113.9") as page:
        assert (await page.get("/")).status_code == 403
    async with browser(home, client="192.168.1.20") as page:
        assert (await page.get("/")).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "203.0.113.9", "[::ffff"]
)
async def test_a_name_that_is_not_ours_is_refused(home: Home, host: str) -> None:
    async with browser(home) as page:
        assert (await page.get("/", headers={"host": host})).status_code == 403


@pytest.mark.parametrize(
    "host", ["gateway.local:8480", "localhost", "192.168.1.5:8480", "[::1]:8480"]
)
async def test_our_own_names_and_addresses_are_taken(home: Home, host: str) -> None:
    async with browser(home) as page:
        assert (await page.get("/", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "same-origin", "origin": "http://evil.example"},
        {"sec-fetch-site": "", "origin": "null"},
    ],
)
async def test_a_form_from_another_site_changes_nothing(
    home: Home, headers: dict[str, str]
) -> None:
    async with browser(home) as page:
        token = await token_of(page)
        answer = await page.post("/pause", data={"token": token}, headers=headers)
    assert answer.status_code == 403
    assert home.daemon.store.fact("paused") is None


async def test_a_form_without_our_token_changes_nothing(home: Home) -> None:
    async with browser(home) as page:
        assert (await page.post("/pause", data={"token": "0" * 64})).status_code == 403
        assert (await page.post("/pause", data={})).status_code == 403
    assert home.daemon.store.fact("paused") is None


async def test_a_form_that_is_far_too_long_is_refused(home: Home) -> None:
    async with browser(home) as page:
        answer = await page.post("/pause", data={"token": "0" * 20_000})
    assert answer.status_code == 413


async def test_the_light_is_hollow_until_someone_says_yes(home: Home) -> None:
    async with browser(home) as page:
        assert "Nothing leaves this house" in (await page.get("/")).text
        home.give()
        assert "Only totals leave this house" in (await page.get("/")).text


async def test_the_light_is_a_triangle_when_minutes_leave(tmp_path: Path) -> None:
    minutes = offer("own", purpose=Purpose.OWN_INSIGHT, resolution=Resolution.MINUTE)
    home = Home(tmp_path, coop=FakeCoop(offers=(minutes,)))
    home.pair()
    home.sync()
    home.give("own")
    async with browser(home) as page:
        assert 'class="light detail"' in (await page.get("/")).text


async def test_pausing_and_going_on_take_one_button_each(home: Home) -> None:
    home.give()
    async with browser(home) as page:
        token = await token_of(page)
        await page.post("/pause", data={"token": token})
        assert home.daemon.store.fact("paused") is not None
        assert "Nothing leaves this house" in (await page.get("/")).text
        await page.post("/resume", data={"token": token, "waiting": "send"})
    assert home.daemon.store.fact("paused") is None


async def test_saying_yes_needs_the_local_secret(home: Home) -> None:
    async with browser(home) as page:
        form = {"token": await token_of(page), "meter": "main", "secret": "wrong"}
        refused = await page.post("/consents/group-tariff/give", data=form)
        assert refused.status_code == 400
        assert "secret does not fit" in refused.text
        assert list(home.daemon.pipeline.book.live()) == []
        form["secret"] = home.secret
        given = await page.post("/consents/group-tariff/give", data=form)
    assert given.status_code == 303
    (grant,) = home.daemon.pipeline.book.live()
    assert grant.terms.meters == ("main",)


async def test_saying_no_needs_no_secret_and_the_page_shows_it(home: Home) -> None:
    home.give()
    async with browser(home) as page:
        form = {"token": await token_of(page, "/leaves")}
        await page.post("/consents/group-tariff/withdraw", data=form)
        text = (await page.get("/leaves")).text
    assert list(home.daemon.pipeline.book.live()) == []
    assert "withdrawn" in text


async def test_narrowing_by_a_form_takes_a_coarser_step_only(home: Home) -> None:
    home.give()
    async with browser(home) as page:
        form = {"token": await token_of(page), "resolution": "PT1H"}
        await page.post("/consents/group-tariff/narrow", data=form)
        (grant,) = home.daemon.pipeline.book.live()
        assert grant.terms.resolution is Resolution.HOUR
        form["resolution"] = "PT1M"
        assert (await page.post("/consents/group-tariff/narrow", data=form)).status_code == 400
    (grant,) = home.daemon.pipeline.book.live()
    assert grant.terms.resolution is Resolution.HOUR


async def test_the_last_message_is_shown_exactly_as_sent(home: Home) -> None:
    home.give()
    home.sync()
    home.live(3600)
    home.flush()
    home.send()
    async with browser(home) as page:
        shown = (await page.get("/")).text
        log = (await page.get("/leaves")).text
        everything = (await page.get("/export.json")).json()
    assert "&#34;seq&#34;: 1" in shown
    assert "group-tariff@1" in log
    assert everything["last_message"]["parts"][0]["grant"] == "group-tariff@1"


async def test_a_gateway_is_paired_on_its_page_by_code_and_secret(tmp_path: Path) -> None:
    home = Home(tmp_path)
    async with browser(home) as page:
        text = (await page.get("/settings?code=7KQ2%22%3E%3Cscript%3E")).text
        assert "<script>" not in text
        form = {
            "token": await token_of(page, "/settings"),
            "code": CLAIM_CODE,
            "secret": home.secret,
        }
        answer = await page.post("/pair", data=form)
    assert answer.status_code == 303
    assert home.daemon.identity.pinned is not None


async def test_names_from_meters_and_the_co_op_are_never_markup(tmp_path: Path) -> None:
    nasty = offer()
    nasty = type(nasty)(
        offer_id=nasty.offer_id,
        title="<img src=x onerror=alert(1)>",
        notice_text="<script>alert(1)</script>",
        terms=nasty.terms,
    )
    home = Home(tmp_path, coop=FakeCoop(offers=(nasty,)))
    home.pair()
    home.daemon.take(Sample(meter="main", taken_at=home.clock.at, quantities={"<b>power</b>": 1.0}))
    async with browser(home) as page:
        text = (await page.get("/leaves")).text + (await page.get("/meters")).text
    assert "<img src=x" not in text
    assert "<script>alert" not in text
    assert "<b>power" not in text


async def test_all_of_the_page_is_under_sixty_kilobytes(home: Home) -> None:
    async with browser(home) as page:
        pages = [(await page.get("/")).content]
        pages += [(await page.get(f"/static/{name}")).content for name in STATIC]
        missing = await page.get("/static/../app.py")
    total = sum(len(gzip.compress(content)) for content in pages)
    assert total < 60_000
    assert missing.status_code == 404


async def test_the_page_says_when_the_card_takes_nothing_or_is_nearly_full(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = home.daemon.store.reserve
    async with browser(home) as page:
        monkeypatch.setattr(reserve, "is_scarce", lambda: False)
        assert "writes fine" in (await page.get("/")).text
        monkeypatch.setattr(reserve, "is_scarce", lambda: True)
        assert "nearly full" in (await page.get("/")).text
        home.daemon.problems["disk"] = "database or disk is full"
        assert "takes nothing (database or disk is full)" in (await page.get("/")).text
