"""The co-op's keys: made once, readable by the server alone, never guessed at when damaged."""

from __future__ import annotations

import pytest

from cloud.errors import BadSetting
from cloud.keys import load_or_make_keys


def test_keys_are_made_once_and_found_again(tmp_path):
    first, second = load_or_make_keys(tmp_path), load_or_make_keys(tmp_path)
    assert first.coop.private_bytes_raw() == second.coop.private_bytes_raw()
    assert first.log.private_bytes_raw() == second.log.private_bytes_raw()
    assert first.coop.private_bytes_raw() != first.log.private_bytes_raw()


def test_only_the_server_may_read_them(tmp_path):
    load_or_make_keys(tmp_path)
    modes = {file.stat().st_mode & 0o777 for file in (tmp_path / "keys").iterdir()}
    assert modes == {0o600}
    (tmp_path / "keys" / "log.key").chmod(0o644)
    with pytest.raises(BadSetting, match="chmod 600"):
        load_or_make_keys(tmp_path)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"AAAA", b"\xff" * 44])
def test_a_damaged_key_is_never_replaced_in_silence(tmp_path, content):
    load_or_make_keys(tmp_path)
    file = tmp_path / "keys" / "log.key"
    file.write_bytes(content)
    with pytest.raises(BadSetting, match=r"log\.key"):
        load_or_make_keys(tmp_path)
    assert file.read_bytes() == content
