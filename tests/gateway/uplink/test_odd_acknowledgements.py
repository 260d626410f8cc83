"""An acknowledgement that does not fit deletes nothing, ends nothing and starts no storm."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from gateway.errors import CloudUnreachable
from gateway.wire.batch import BatchAnswer, PartAnswer, RefusedInterval
from gateway.wire.reading import Quantity
from tests.gateway.home import Home

Change = Callable[[BatchAnswer], BatchAnswer]


def of_parts(**changed: object) -> Change:
    """An answer whose parts say something else."""

    def change(answer: BatchAnswer) -> BatchAnswer:
        parts: tuple[PartAnswer, ...] = tuple(
            msgspec.structs.replace(part, **changed) for part in answer.parts
        )
        return msgspec.structs.replace(answer, parts=parts)

    return change


def of_batch(**changed: object) -> Change:
    """An answer that says something else as a whole."""
    return lambda answer: msgspec.structs.replace(answer, **changed)


LONG_AGO = RefusedInterval(start=datetime(2020, 1, 1, tzinfo=UTC), reason="overlap")
ODD: dict[str, Change] = {
    "of a batch never sent": of_batch(seq=8),
    "of other bytes": of_batch(sha256="0" * 64),
    "without its parts": of_batch(parts=()),
    "that counts too few": of_parts(accepted=0, duplicate=0),
    "that counts too many": of_parts(duplicate=5),
    "with a negative count": of_parts(accepted=-3, duplicate=6),
    "that refuses another interval": of_parts(accepted=2, refused=(LONG_AGO,)),
}


@pytest.mark.parametrize("name", ODD)
def test_an_acknowledgement(name: str, tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.pair()
    home.sync()
    home.give(quantities=[Quantity.IMPORT_WH])
    home.sync()
    home.live(3600)
    home.flush()
    assert home.daemon.store.waiting() == 3
    send, asked = home.coop.send, []

    async def answers(payload: bytes) -> BatchAnswer:
        asked.append(payload)
        return ODD[name](await send(payload))

    home.coop.send = answers  # type: ignore[method-assign]  one odd server
    with pytest.raises(CloudUnreachable, match="was not acknowledged"):
        home.send()
    assert len(asked) == 1, "it must not be sent again at once"
    assert home.daemon.store.waiting() == 3
    home.coop.send = send  # type: ignore[method-assign]
    home.send()
    assert home.daemon.store.waiting() == 0
    assert len(home.coop.readings) == 3
