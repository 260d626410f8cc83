"""Listening on a wire, and looking for a number in whatever form it may have taken.

`Tap` is a TCP proxy that keeps every byte; it works everywhere. `Sniffer` reads packets from the
loopback interface itself, where the system lets it (Linux, CAP_NET_RAW).
"""

from __future__ import annotations

import base64
import binascii
import gzip
import itertools
import json
import re
import socket
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

FLOW_BYTES_MAX = 4_000_000
ALL_BYTES_MAX = 200_000_000
MANY_BYTES = 1_000_000
"""In more than this, four bytes alone prove nothing: somebody else's flow, or a large file."""
_ETH_P_ALL = 3
_PACKET_OUTGOING = 4
_IPV4, _IPV6, _TCP, _UDP = 0x0800, 0x86DD, 6, 17


@dataclass
class Tap:
    """Bytes by direction, in the order they passed."""

    port: int = 0
    sent: bytearray = field(default_factory=bytearray)
    answered: bytearray = field(default_factory=bytearray)


def _join(near: socket.socket, port: int, tap: Tap) -> None:
    """Pass bytes both ways until one side has said all."""
    with near:
        try:
            far = socket.create_connection(("127.0.0.1", port), timeout=5)
        except OSError:
            return
        with far:
            far.settimeout(None)
            back = threading.Thread(target=_pump, args=(far, near, tap.answered), daemon=True)
            back.start()
            _pump(near, far, tap.sent)
            back.join(timeout=10)


def _pump(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
    with suppress(OSError):
        while piece := source.recv(65_536):
            kept.extend(piece)
            target.sendall(piece)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def tapped(port: int) -> Iterator[Tap]:
    """Put a recording proxy in front of a port of this machine."""
    tap = Tap()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.2)
    tap.port = listener.getsockname()[1]
    over = threading.Event()
    threads: list[threading.Thread] = []

    def accept() -> None:
        while not over.is_set():
            try:
                near, _ = listener.accept()
            except TimeoutError:
                continue
            near.settimeout(None)
            joined = threading.Thread(target=_join, args=(near, port, tap), daemon=True)
            joined.start()
            threads.append(joined)

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield tap
    finally:
        over.set()
        accepting.join(timeout=5)
        listener.close()
        for thread in threads:
            thread.join(timeout=5)


class Sniffer:
    """Packets on loopback, put together again by flow.

    Args:
        not_from: Ports whose answers are left out, such as those of the meters.
        not_to: Ports of which only others are asked, such as a broker behind a proxy.
    """

    def __init__(self, not_from: Iterable[int], not_to: Iterable[int]) -> None:
        self._not_from, self._not_to = frozenset(not_from), frozenset(not_to)
        self._flows: dict[tuple[str, int, int, int], dict[int, bytes]] = {}
        self._sizes: dict[tuple[str, int, int, int], int] = {}
        self._total = 0
        self.dropped = 0

    def flows(self) -> dict[str, bytes]:
        """What was said from port to port, in order, and each datagram for itself."""
        return {
            f"{kind} {source}>{target} #{number}": b"".join(
                piece for _, piece in sorted(pieces.items())
            )
            for (kind, source, target, number), pieces in self._flows.items()
        }

    def to_port(self, port: int) -> bytes:
        """Everything that was sent to a port."""
        return b"\n".join(content for name, content in self.flows().items() if f">{port} " in name)

    def take(self, frame: bytes) -> None:
        """Take in one Ethernet frame."""
        (kind,) = struct.unpack_from("!H", frame, 12)
        packet = frame[14:]
        if kind == _IPV4:
            length = (packet[0] & 15) * 4
            protocol, packet = packet[9], packet[length : struct.unpack_from("!H", packet, 2)[0]]
        elif kind == _IPV6:
            protocol, packet = packet[6], packet[40 : 40 + struct.unpack_from("!H", packet, 4)[0]]
        else:
            return
        if protocol == _TCP:
            source, target, at = struct.unpack_from("!HHI", packet)
            self._keep(("tcp", source, target, 0), at, packet[(packet[12] >> 4) * 4 :])
        elif protocol == _UDP:
            source, target = struct.unpack_from("!HH", packet)
            self._keep(("udp", source, target, 0), len(self._flows), packet[8:])

    def _keep(self, flow: tuple[str, int, int, int], at: int, content: bytes) -> None:
        if not content or flow[1] in self._not_from or flow[2] in self._not_to:
            return
        pieces = self._flows.setdefault(flow, {})
        if len(content) <= len(pieces.get(at, b"")):
            return
        size = self._sizes.get(flow, 0) + len(content)
        if size > FLOW_BYTES_MAX or self._total > ALL_BYTES_MAX:
            self.dropped += 1
            return
        self._sizes[flow], self._total = size, self._total + len(content)
        pieces[at] = content


@contextmanager
def sniffing(not_from: Iterable[int], not_to: Iterable[int]) -> Iterator[Sniffer | None]:
    """Read all packets of the loopback interface; None where the system does not allow it."""
    sniffer = Sniffer(not_from, not_to)
    try:
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        wire.bind(("lo", _ETH_P_ALL))
    except (AttributeError, OSError):
        yield None
        return
    with wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        wire.settimeout(0.2)
        over = threading.Event()

        def listen() -> None:
            while not over.is_set():
                try:
                    frame, address = wire.recvfrom(1 << 17)
                except TimeoutError:
                    continue
                if address[2] == _PACKET_OUTGOING:
                    sniffer.take(frame)

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield sniffer
        finally:
            over.set()
            thread.join(timeout=5)


def binary_forms(number: int) -> dict[str, bytes]:
    """A number as machines write it: whole and in thousandths, both byte orders, words swapped."""
    forms: dict[str, bytes] = {}
    for order in "><":
        if number < 1 << 32:
            forms[f"int32{order}"] = struct.pack(f"{order}I", number)
        forms[f"int64{order}"] = struct.pack(f"{order}q", number)
        forms[f"float64{order}"] = struct.pack(f"{order}d", float(number))
        for name, scaled in (("", float(number)), (" in thousands", number / 1000)):
            forms[f"float32{order}{name}"] = struct.pack(f"{order}f", scaled)
            forms[f"float64{order}{name}"] = struct.pack(f"{order}d", scaled)
    for name, form in list(forms.items()):
        words = [form[at : at + 2] for at in range(0, len(form), 2)]
        forms[f"{name}, words swapped"] = b"".join(reversed(words))
    # Forms that are mostly zeros, or that round numbers share, prove nothing.
    return {name: form for name, form in forms.items() if len(set(form)) > 2}


def needles(number: int, *, bytes_min: int = 4) -> dict[str, re.Pattern[bytes]]:
    """Patterns that find a number: digits that stand alone, and binary forms plain and in hex.

    Args:
        number: What to look for.
        bytes_min: Shorter binary forms are left out; in much random data they turn up by chance.
    """
    thousandths = f"{number / 1000:.3f}".rstrip("0").rstrip(".")
    texts = {str(number), f"{number:,}", thousandths, repr(float(number)), f"{number:x}"}
    texts |= {f"{number:e}".rstrip("0"), f"{number / 1000:.6g}"}
    found = {
        f"text {text}": re.compile(rb"(?<![0-9a-zA-Z.])" + re.escape(text.encode()) + rb"(?![0-9])")
        for text in texts
        if len(text) >= 6
    }
    for name, form in binary_forms(number).items():
        if len(form) >= bytes_min:
            found[name] = re.compile(re.escape(form), re.DOTALL)
            found[f"{name} in hex"] = re.compile(form.hex().encode(), re.IGNORECASE)
    return found


def unpacked(content: bytes) -> list[bytes]:
    """The bytes as they came, and what is packed in them: gzip, zlib, base64 and JSON escapes."""
    layers = [content]
    for at in (
        found.start() for found in re.finditer(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]", content)
    ):
        engine = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        try:
            plain = engine.decompress(content[at:], 32_000_000)
        except zlib.error:
            continue
        if plain:
            layers.append(plain)
    for layer in list(layers):
        for token in set(re.findall(rb"[A-Za-z0-9+/_-]{16,}={0,2}", layer)):
            try:
                layers.append(
                    base64.urlsafe_b64decode(token.translate(bytes.maketrans(b"+/", b"-_")) + b"==")
                )
            except (binascii.Error, ValueError):
                continue
        if b"\\" in layer:
            layers.append(layer.replace(b"\\", b""))
    return layers


def places_of(numbers: Iterable[int], places: Mapping[str, bytes]) -> list[str]:
    """Where any of the numbers shows up in any form: `place: form of number`."""
    exactly = [(number, needles(number)) for number in numbers]
    roughly = [(number, needles(number, bytes_min=8)) for number in numbers]
    hits = []
    for name, content in places.items():
        wanted = roughly if len(content) > MANY_BYTES else exactly
        layers = unpacked(content)
        for (number, forms), layer in itertools.product(wanted, layers):
            hits += [
                f"{name}: {form} of {number}" for form, look in forms.items() if look.search(layer)
            ]
    return sorted(set(hits))


def hide(number: int) -> dict[str, bytes]:
    """A number hidden in many ways, to prove that a search finds it."""
    noise = bytes(range(256)) * 4
    text = json.dumps({"meter": "m", "wh": [1, number, 2]}).encode()
    hidden = {"text": text, "gzip": noise + gzip.compress(text), "zlib": zlib.compress(text)}
    hidden["base64"] = base64.b64encode(noise[:7] + text)
    hidden["thousandths"] = f'{{"kwh":{number / 1000}}}'.encode()
    for name, form in binary_forms(number).items():
        hidden[name] = noise + form + noise
        hidden[f"{name} in hex"] = form.hex().encode()
        for skipped in range(3):
            around = b"\xff" * (9 + skipped), b"\xee" * 5
            hidden[f"{name} in base64 from {skipped}"] = base64.b64encode(form.join(around))
    return hidden
