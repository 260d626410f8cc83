"""The one-file verifier: agrees with the real cryptography, and finds every forgery."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.transparency import standalone_verifier
from cloud.transparency.standalone_verifier import NotGenuine, check_receipt, check_signature
from gateway.wire.signing import public_bytes

SOURCE = Path(standalone_verifier.__file__)


@settings(max_examples=20, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100), st.integers(0, 63))
def test_signatures_count_exactly_when_cryptography_says_so(seed, message, flipped):
    key = Ed25519PrivateKey.from_private_bytes(seed)
    signature = key.sign(message)
    check_signature(public_bytes(key), message, signature, "test")
    broken = bytearray(signature)
    broken[flipped] ^= 1
    for bad_message, bad_signature in ((message + b"x", signature), (message, bytes(broken))):
        with pytest.raises(NotGenuine):
            check_signature(public_bytes(key), bad_message, bad_signature, "test")


@pytest.fixture
def receipt(coop, terms, tmp_path):
    """A receipt as a member downloads it, the keys a gateway pinned, and a file of it."""
    from tests.cloud.coop_builder import HomeGateway

    _person, browser = coop.member()
    gateway = HomeGateway(client=coop.client, clock=coop.clock)
    gateway.pair(browser.post("/api/v1/gateways/claims").json()["claim_code"])
    gateway.give(terms)
    found = browser.get("/api/v1/consents/group-tariff/receipts/1").json()
    pinned = {
        "origin": coop.services.settings.log_origin,
        "log_key": public_bytes(coop.services.keys.log),
        "signer_key": public_bytes(gateway.key),
    }
    return found, pinned


def test_a_genuine_receipt_is_found_genuine(receipt):
    found, pinned = receipt
    assert check_receipt(found, **pinned).startswith("genuine: consent group-tariff version 1")


def forge_event(found):
    found["event"]["payload"] = found["event"]["payload"].replace('"given"', '"renewed"')


def forge_salt(found):
    found["salt"] = "00" * 32


def forge_entry(found):
    entry = json.loads(found["entry"]) | {"kind": "consent.forged"}
    found["entry"] = json.dumps(entry, sort_keys=True, separators=(",", ":"))


def forge_place(found):
    found["proof"] = re.sub(r"index \d+", "index 3", found["proof"])


def drop_proof(found):
    head, _, note = found["proof"].partition("\n\n")
    found["proof"] = "\n".join(head.split("\n")[:-1]) + "\n\n" + note


def forge_size(found):
    head, _, note = found["proof"].partition("\n\n")
    lines = note.split("\n")
    lines[1] = str(int(lines[1]) + 1)
    found["proof"] = head + "\n\n" + "\n".join(lines)


def drop_signature(found):
    found["proof"] = found["proof"][: found["proof"].rindex("—")]


@pytest.mark.parametrize(
    "forge",
    [forge_event, forge_salt, forge_entry, forge_place, drop_proof, forge_size, drop_signature],
)
def test_every_forgery_is_found(receipt, forge):
    found, pinned = receipt
    before = json.dumps(found)
    forge(found)
    assert json.dumps(found) != before, "this forgery changed nothing"
    with pytest.raises(NotGenuine):
        check_receipt(found, **pinned)


@pytest.mark.parametrize("name", ["log_key", "signer_key"])
def test_another_key_is_not_trusted(receipt, name):
    found, pinned = receipt
    pinned[name] = public_bytes(Ed25519PrivateKey.generate())
    with pytest.raises(NotGenuine):
        check_receipt(found, **pinned)


def run_verifier(file, pinned):
    command = [
        sys.executable,
        "-I",
        str(SOURCE),
        str(file),
        "--origin",
        pinned["origin"],
        "--log-key",
        base64.b64encode(pinned["log_key"]).decode(),
        "--signer-key",
        base64.b64encode(pinned["signer_key"]).decode(),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_as_a_program_it_needs_nothing_of_ours(receipt, tmp_path):
    found, pinned = receipt
    file = tmp_path / "receipt.json"
    file.write_text(json.dumps(found))
    done = run_verifier(file, pinned)
    assert (done.returncode, done.stdout[:8]) == (0, "genuine:")
    forge_salt(found)
    file.write_text(json.dumps(found))
    assert run_verifier(file, pinned).returncode == 1
    file.write_text("not json")
    assert run_verifier(file, pinned).returncode == 2
    imports = [
        line for line in SOURCE.read_text().splitlines() if line.startswith(("import", "from"))
    ]
    assert not [
        line for line in imports if "gateway" in line or "cloud" in line or "crypto" in line
    ]


def test_members_can_download_it(coop):
    assert coop.client.get("/log/verifier.py").text == SOURCE.read_text()
