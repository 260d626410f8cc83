"""Signed bodies out over real HTTP, bounded answers in, and patience when nobody answers."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import CloudRefused, CloudUnreachable
from gateway.uplink import https
from gateway.uplink.backoff import LONGEST_S, Backoff
from gateway.uplink.https import HttpsLink
from gateway.wire.signing import key_id_of, public_bytes, signature_of
from tests.gateway.coop_server import serving
from tests.gateway.fake_coop import FakeCoop
from tests.gateway.home import Home


def link_to(url: str, **more) -> HttpsLink:
    key = Ed25519PrivateKey.generate()
    return HttpsLink(
        url=url,
        key_id=lambda: key_id_of(public_bytes(key)),
        sign=lambda domain, payload: signature_of(key, domain, payload),
        **more,
    )


async def answering(raw: bytes):
    """A server that answers everything with the same bytes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def ask(raw: bytes) -> None:
    server, url = await answering(raw)
    link = link_to(url, timeout_s=2.0)
    try:
        await link.send(b"{}")
    finally:
        await link.close()
        server.close()
        await server.wait_closed()


def plain(status: str, body: bytes = b"", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}connection: close\r\n\r\n"
    return head.encode() + body


async def test_nobody_there_is_unreachable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    link = link_to(url)
    with pytest.raises(CloudUnreachable, match="try again later"):
        await link.send(b"{}")
    await link.close()


@pytest.mark.parametrize("status", ["500 x", "502 x", "503 x", "404 x", "302 x", "429 x"])
async def test_answers_of_servers_in_trouble_and_captive_portals_mean_later(status: str) -> None:
    with pytest.raises(CloudUnreachable):
        await ask(plain(status, b"<html>login</html>"))


@pytest.mark.parametrize("status", [400, 401, 403, 409, 413, 422])
async def test_a_clear_no_is_a_no(status: int) -> None:
    kind = "content-type: application/problem+json\r\n"
    with pytest.raises(CloudRefused) as raised:
        await ask(plain(f"{status} x", b'{"detail":"bad\\u0007"}\n\x1b[31m', kind))
    assert raised.value.status == status
    assert raised.value.problem.isprintable()


async def test_of_a_problem_report_only_the_detail_is_shown() -> None:
    body = b'{"type":"urn:x","title":"Forbidden","detail":"the code is used; make another"}'
    with pytest.raises(CloudRefused) as raised:
        await ask(plain("403 x", body, headers="content-type: application/problem+json\r\n"))
    assert raised.value.problem == "the code is used; make another"


async def test_the_server_may_say_when_to_come_back() -> None:
    with pytest.raises(CloudUnreachable) as raised:
        await ask(plain("503 x", headers="retry-after: 77\r\n"))
    assert raised.value.retry_after_s == 77


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"seq":1}', b"\xff\xfe", b"[" * 100_000])
async def test_a_success_that_is_no_answer_counts_as_none(body: bytes) -> None:
    with pytest.raises(CloudUnreachable):
        await ask(plain("200 OK", body))


async def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(https, "ANSWER_BYTES_MAX", 10_000)
    with pytest.raises(CloudUnreachable, match="far too long"):
        await ask(plain("200 OK", b" " * 200_000))


def test_the_whole_way_over_real_http(tmp_path: Path) -> None:
    coop = FakeCoop()
    with serving(coop) as (server, url):
        (tmp_path / "second").mkdir()
        home = Home(tmp_path)

        async def talk() -> None:
            link = HttpsLink(
                url=url,
                key_id=lambda: home.daemon.identity.key_id,
                sign=home.daemon.identity.signature,
            )
            home.daemon.uplink._link = link
            await home.daemon.uplink.pair("7KQ2-M9XF-40PD")
            await home.daemon.uplink.sync()
            await link.close()

        asyncio.run(talk())
        assert coop.syncs == 1
        assert len(server.captured) == 4


@given(st.integers(0, 40), st.one_of(st.none(), st.floats(0, 10_000)))
def test_waiting_grows_but_never_beyond_its_bound(failures: int, asked_s: float | None) -> None:
    backoff = Backoff()
    for _ in range(failures):
        backoff.next_s()
    wait_s = backoff.next_s(asked_s)
    assert wait_s >= min(asked_s or 0, LONGEST_S)
    assert wait_s <= 2 * LONGEST_S


def test_homes_that_fail_together_do_not_come_back_together() -> None:
    waits = set()
    for _ in range(50):
        backoff = Backoff()
        for _ in range(8):
            backoff.next_s()
        waits.add(round(backoff.next_s()))
    assert len(waits) > 25


async def test_a_server_that_answers_a_byte_at_a_time_does_not_hold_the_line_for_ever() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 x\r\ncontent-length: 100000\r\n\r\n")
        try:
            for _ in range(2_000):
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    link = link_to(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout_s=0.1)
    try:
        async with asyncio.timeout(30):
            with pytest.raises(CloudUnreachable, match="Timeout"):
                await link.send(b"{}")
    finally:
        await link.close()
        server.close()


async def test_no_pause_a_server_may_ask_for_is_taken_for_a_hang(tmp_path: Path) -> None:
    home = Home(tmp_path)
    stop = asyncio.Event()
    running = asyncio.create_task(home.daemon.run(stop))
    await asyncio.sleep(0.1)
    longest = Backoff(draw=lambda _low, high: high)
    for _ in range(30):
        pause_s = longest.next_s(retry_after_s=86_400)
    progress = home.daemon.progress
    for loop in ("sync", "send"):
        assert progress._deadlines_s[loop] > pause_s + 10 * home.settings.cloud.timeout_s
    stop.set()
    await running


async def test_a_certificate_that_is_not_accepted_is_named_and_not_called_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expired = ssl.SSLCertVerificationError(1, "certificate verify failed")
    expired.verify_message = "certificate has expired"

    async def handshake(*_: object, **__: object) -> None:
        raise httpx.ConnectError("certificate verify failed") from expired

    link = link_to("https://coop.example")
    monkeypatch.setattr(link._client._transport, "handle_async_request", handshake)
    with pytest.raises(CloudUnreachable, match=r"not accepted \(certificate has expired\).*clock"):
        await link.send(b"{}")
    await link.close()


@pytest.mark.parametrize("status", [400, 409, 422])
async def test_a_proxys_own_page_of_refusal_sets_no_reading_aside(status: int) -> None:
    with pytest.raises(CloudUnreachable, match=str(status)):
        await ask(plain(f"{status} x", b"<html>Bad Request</html>", "content-type: text/html\r\n"))
