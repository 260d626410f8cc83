"""Check a consent receipt of an energy co-op without the co-op: one file, plain Python 3.11.

Usage: python3 standalone_verifier.py RECEIPT.json --log-key KEY --origin NAME --signer-key KEY

RECEIPT.json is what `/api/v1/consents/<id>/receipts/<version>` gave you. The keys are base64, as
your gateway pinned them at pairing: `log_key`, and the gateway's own key or `coop_key`, whoever
signed the event. It checks four things, and says which one fails:

1. the event was signed by that key;
2. the log entry is a commitment to exactly this event;
3. the entry is in the log at its place;
4. the log's key signed the checkpoint of that log.

Source: RFC 8032 (Ed25519), RFC 6962 (tree), C2SP signed-note, tlog-checkpoint and tlog-proof.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path

FIELD = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
CURVE_D = -121665 * pow(121666, FIELD - 2, FIELD) % FIELD
ROOT_OF_MINUS_ONE = pow(2, (FIELD - 1) // 4, FIELD)
RECEIPT_BYTES_MAX = 1_000_000
Point = tuple[int, int, int, int]


class NotGenuine(Exception):
    """Something in the receipt does not fit."""


def add(first: Point, second: Point) -> Point:
    """Add two points of the curve in extended coordinates."""
    a = (first[1] - first[0]) * (second[1] - second[0]) % FIELD
    b = (first[1] + first[0]) * (second[1] + second[0]) % FIELD
    c = 2 * first[3] * second[3] * CURVE_D % FIELD
    d = 2 * first[2] * second[2] % FIELD
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % FIELD, g * h % FIELD, f * g % FIELD, e * h % FIELD)


def times(factor: int, point: Point) -> Point:
    """Multiply a point."""
    total: Point = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            total = add(total, point)
        point = add(point, point)
        factor >>= 1
    return total


def same(first: Point, second: Point) -> bool:
    """Whether two points are one."""
    return (first[0] * second[2] - second[0] * first[2]) % FIELD == 0 and (
        first[1] * second[2] - second[1] * first[2]
    ) % FIELD == 0


def read_point(raw: bytes) -> Point:
    """Read a compressed point."""
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if len(raw) != 32 or y >= FIELD:
        raise NotGenuine("a key or signature is no point of the curve")
    square = (y * y - 1) * pow(CURVE_D * y * y + 1, FIELD - 2, FIELD) % FIELD
    x = pow(square, (FIELD + 3) // 8, FIELD)
    if (x * x - square) % FIELD:
        x = x * ROOT_OF_MINUS_ONE % FIELD
    if (x * x - square) % FIELD or (x == 0 and sign):
        raise NotGenuine("a key or signature is no point of the curve")
    if x & 1 != sign:
        x = FIELD - x
    return (x, y, 1, x * y % FIELD)


BASE = read_point((4 * pow(5, FIELD - 2, FIELD) % FIELD).to_bytes(32, "little"))


def check_signature(public_key: bytes, message: bytes, signature: bytes, what: str) -> None:
    """Check an Ed25519 signature."""
    if len(public_key) != 32 or len(signature) != 64:
        raise NotGenuine(f"{what}: key or signature has the wrong length")
    scalar = int.from_bytes(signature[32:], "little")
    if scalar >= ORDER:
        raise NotGenuine(f"{what}: the signature does not fit")
    commitment, key = read_point(signature[:32]), read_point(public_key)
    digest = hashlib.sha512(signature[:32] + public_key + message).digest()
    challenge = int.from_bytes(digest, "little") % ORDER
    if not same(times(scalar, BASE), add(commitment, times(challenge, key))):
        raise NotGenuine(f"{what}: the signature does not fit")


def root_from(entry: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """Root that an entry at a place and its audit path lead to."""
    if not 0 <= index < size:
        raise NotGenuine("the entry's place is outside the log")
    running, node, last = hashlib.sha256(b"\x00" + entry).digest(), index, size - 1
    for sibling in path:
        if last == 0:
            raise NotGenuine("the proof is too long")
        if node & 1 or node == last:
            running = hashlib.sha256(b"\x01" + sibling + running).digest()
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            running = hashlib.sha256(b"\x01" + running + sibling).digest()
        node, last = node >> 1, last >> 1
    if last != 0:
        raise NotGenuine("the proof is too short")
    return running


def read_checkpoint(note: str, origin: str, log_key: bytes) -> tuple[int, bytes]:
    """Size and root of a checkpoint that the log's key signed."""
    body, _, signatures = note.partition("\n\n")
    lines = body.split("\n")
    if lines[0] != origin or len(lines) < 3:
        raise NotGenuine(f"the checkpoint is not of the log {origin!r}")
    hint = hashlib.sha256(origin.encode() + b"\n\x01" + log_key).digest()[:4]
    for line in signatures.split("\n"):
        raw = base64.b64decode(line.rsplit(" ", 1)[-1]) if line.startswith("\u2014 ") else b""
        if line.startswith(f"\u2014 {origin} ") and raw[:4] == hint:
            check_signature(log_key, f"{body}\n".encode(), raw[4:], "checkpoint")
            return int(lines[1]), base64.b64decode(lines[2])
    raise NotGenuine("the log's key did not sign the checkpoint")


def check_receipt(
    receipt: dict[str, object], *, origin: str, log_key: bytes, signer_key: bytes
) -> str:
    """Check a receipt and say what it shows; raises `NotGenuine` if anything does not fit."""
    event = receipt["event"]
    if not isinstance(event, dict):
        raise NotGenuine("this is no receipt")
    payload = str(event["payload"]).encode()
    signed = b"commonwatt/consent/1\x00" + payload
    check_signature(signer_key, signed, base64.b64decode(str(event["sig"])), "consent event")
    commitment = hashlib.sha256(bytes.fromhex(str(receipt["salt"])) + payload).hexdigest()
    entry = str(receipt["entry"])
    if json.loads(entry)["facts"].get("commitment") != commitment:
        raise NotGenuine("the log entry is about something else")
    head, _, note = str(receipt["proof"]).partition("\n\n")
    lines = head.split("\n")
    if lines[0] != "c2sp.org/tlog-proof@v1":
        raise NotGenuine("the proof is of an unknown form")
    size, root = read_checkpoint(note, origin, log_key)
    index = int(lines[1].removeprefix("index "))
    path = [base64.b64decode(line, validate=True) for line in lines[2:]]
    if root_from(entry.encode(), index, size, path) != root:
        raise NotGenuine("the entry is not in the log")
    said = json.loads(payload)
    return (
        f"genuine: consent {said['consent_id']} version {said['version']} was {said['event']} "
        f"at {said['at']}; entry {index} of a log of {size}"
    )


def read_receipt(file: Path) -> dict[str, object]:
    """Read a receipt from a file of bounded size."""
    if file.stat().st_size > RECEIPT_BYTES_MAX:
        raise NotGenuine("the file is far too large")
    receipt = json.loads(file.read_text("utf-8"))
    if not isinstance(receipt, dict):
        raise NotGenuine("this is no receipt")
    return receipt


def main() -> int:
    """Check the receipt named on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("receipt", type=Path)
    parser.add_argument("--log-key", required=True, help="base64, as pinned by your gateway")
    parser.add_argument("--origin", required=True, help="name of the log, as pinned")
    parser.add_argument("--signer-key", required=True, help="base64: gateway key or co-op key")
    given = parser.parse_args()
    try:
        shown = check_receipt(
            read_receipt(given.receipt),
            origin=given.origin,
            log_key=base64.b64decode(given.log_key),
            signer_key=base64.b64decode(given.signer_key),
        )
    except NotGenuine as fault:
        sys.stdout.write(f"NOT GENUINE: {fault}\n")
        return 1
    except (OSError, ValueError, KeyError, TypeError, IndexError) as fault:
        sys.stderr.write(f"error: {given.receipt}: this is no receipt ({fault})\n")
        return 2
    sys.stdout.write(f"{shown}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
