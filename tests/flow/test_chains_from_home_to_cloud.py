"""The real gateway and the real cloud: parts stay chained, and what breaks a chain is said."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from cloud.readings.embedded import EmbeddedStore
from gateway.daemon import build_link
from gateway.errors import CloudRefused
from gateway.uplink.https import HttpsLink
from gateway.wire.batch import BatchAnswer
from gateway.wire.session import (
    PairAnswer,
    PairRequest,
    RotateRequest,
    SyncAnswer,
    SyncRequest,
)
from tests.cloud.coop_builder import Coop, open_coop
from tests.gateway.home import Home, run

_Answer = TypeVar("_Answer")


class RealCoop:
    """The port `CloudLink` to a whole cloud in this process, over its HTTP door."""

    def __init__(self, coop: Coop) -> None:
        self.coop = coop
        self.home: Home | None = None
        self.now = coop.clock()

    async def pair(self, request: PairRequest) -> PairAnswer:
        return await self._ask(lambda link: link.pair(request))

    async def sync(self, request: SyncRequest) -> SyncAnswer:
        return await self._ask(lambda link: link.sync(request))

    async def send(self, payload: bytes) -> BatchAnswer:
        return await self._ask(lambda link: link.send(payload))

    async def rotate(self, request: RotateRequest) -> None:
        await self._ask(lambda link: link.rotate(request))

    async def _ask(self, question: Callable[[HttpsLink], Awaitable[_Answer]]) -> _Answer:
        assert self.home is not None
        self.coop.clock.now = self.home.clock.at
        link = build_link(self.home.settings, self.home.daemon.identity)
        await link._client.aclose()
        transport = httpx.ASGITransport(app=self.coop.app)
        link._client = httpx.AsyncClient(transport=transport)
        try:
            return await question(link)
        finally:
            await link.close()


@pytest.fixture
def paired(tmp_path: Path) -> Iterator[tuple[Home, Coop]]:
    """A home that said yes, and a cloud whose clock follows the home's."""
    with (
        closing(EmbeddedStore(tmp_path / "store")) as store,
        open_coop(tmp_path / "cloud", store=store) as coop,
    ):
        _person, browser = coop.member()
        code = browser.post("/api/v1/gateways/claims").json()["claim_code"]
        link = RealCoop(coop)
        (tmp_path / "home").mkdir()
        home = Home(tmp_path / "home", coop=link)
        link.home = home
        home.clock.at = coop.clock()
        run(home.daemon.uplink.pair(code))
        home.daemon.reload_book()
        home.sync()
        home.give("group-tariff")
        home.sync()
        yield home, coop
        home.daemon.store.close()


def an_hour(home: Home) -> None:
    """Read for an hour and send what there is."""
    home.live(3600)
    home.flush()
    home.sync()
    home.send()


def stored(coop: Coop) -> int:
    return coop.services.store.counts().intervals_distinct


def test_batches_after_one_another_break_no_chain(paired: tuple[Home, Coop]) -> None:
    home, coop = paired
    for _ in range(4):
        an_hour(home)
    assert stored(coop) >= 14
    assert coop.services.store.broken_chains() == ()


def test_a_withdrawal_and_a_new_yes_break_no_chain(paired: tuple[Home, Coop]) -> None:
    home, coop = paired
    an_hour(home)
    home.live(3600)
    home.flush()
    assert home.daemon.store.seal(
        key_id=home.daemon.identity.key_id,
        now=home.clock.at,
        purposes=home.daemon.uplink.purposes_now(),
    )
    home.withdraw("group-tariff")
    with home.daemon.store.reading() as connection:
        assert connection.execute("SELECT DISTINCT head FROM stream").fetchall() == [("",)]
    home.sync()
    home.clock.advance(900)
    home.give("group-tariff")
    home.sync()
    an_hour(home)
    an_hour(home)
    assert stored(coop) > 0
    assert coop.services.store.broken_chains() == ()


def test_a_changed_key_breaks_no_chain(paired: tuple[Home, Coop]) -> None:
    home, coop = paired
    an_hour(home)
    run(home.daemon.uplink.rotate())
    an_hour(home)
    an_hour(home)
    assert stored(coop) >= 10
    assert coop.services.store.broken_chains() == ()


def test_a_gateway_from_an_old_copy_goes_on_loses_nothing_and_is_noticed(
    paired: tuple[Home, Coop], tmp_path: Path
) -> None:
    home, coop = paired
    an_hour(home)
    home.daemon.store.close()
    shutil.copytree(home.state_dir, tmp_path / "copy")
    home.start()
    home.daemon.reload_book()
    for _ in range(6):
        an_hour(home)
    before = stored(coop)

    home.daemon.store.close()
    shutil.rmtree(home.state_dir)
    shutil.copytree(tmp_path / "copy", home.state_dir)
    home.start()
    home.daemon.reload_book()
    with pytest.raises(CloudRefused, match="counter"):
        home.sync()
    for _ in range(3):
        an_hour(home)

    assert home.daemon.store.waiting() == 0
    assert stored(coop) >= before + 10
    with home.daemon.store.reading() as connection:
        assert connection.execute("SELECT count(*) FROM dead_letter").fetchone() == (0,)
        said = [row[0] for row in connection.execute("SELECT said FROM notable")]
    assert any("another device uses its key" in line for line in said)
    broken = coop.services.store.broken_chains()
    assert broken
    assert all(one.chain.reused == 1 and one.chain.forked == 0 for one in broken)


def test_a_batch_lost_for_good_is_missing_and_a_late_one_fills_the_place(
    paired: tuple[Home, Coop],
) -> None:
    home, coop = paired
    an_hour(home)
    home.live(3600)
    home.flush()
    sealed = home.daemon.store
    assert sealed.seal(
        key_id=home.daemon.identity.key_id,
        now=home.clock.at,
        purposes=home.daemon.uplink.purposes_now(),
    )
    held = sealed.next_sealed(home.daemon.uplink.purposes_now())
    assert held is not None
    with sealed.transaction() as connection:
        connection.execute("UPDATE sealed SET purposes = 'nobody'")
    an_hour(home)
    missing = coop.services.store.broken_chains()
    assert {one.chain.parts_missing for one in missing} == {1}
    run(home.coop.send(held.payload))
    assert coop.services.store.broken_chains() == ()
