"""A captured Modbus exchange: request and reply to labelled registers, RTU or TCP.

Source: Modbus Application Protocol V1.1b3 (functions 3 and 4); Modbus over Serial Line V1.02,
section 2.5.1.2 (CRC); Modbus Messaging on TCP/IP V1.0b, section 3.1.3 (MBAP header).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.decode.meter_map import HOLDING, INPUT, RegisterKey
from gateway.errors import BadFrame, MeterRefused

FRAME_BYTES_MAX = 260
"""Longest Modbus frame [bytes]."""

TEXT_CHARACTERS_MAX = 8 * FRAME_BYTES_MAX
"""Longest text of a frame, with everything that may stand between its bytes."""

_BETWEEN = re.compile(r"[\s,:;.<>{}()|'\"\[\]_-]+")
_MBAP_BYTES = 7
_ERROR_FLAG = 0x80


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request and its reply.

    Args:
        framing: `rtu`, `tcp`, or `rtu without crc` as logs show frames that were checked before.
        unit: Address of the meter.
        function: 3 or 4.
        address: First register.
        words: The registers.
    """

    framing: str
    unit: int
    function: int
    address: int
    words: tuple[int, ...]

    @property
    def registers(self) -> dict[RegisterKey, int]:
        """The words with where they are from."""
        return {
            (self.function, self.address + offset): word for offset, word in enumerate(self.words)
        }


def crc16(frame: bytes) -> int:
    """The CRC of an RTU frame; its low byte goes over the wire first."""
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def frame_bytes(text: str, *, place: str) -> bytes:
    r"""Read hex as people copy it from logs and manuals.

    Pairs of digits, with or without anything usual between them: spaces, commas, colons, dots,
    brackets, quotes, `0x`, `\\x`, `$`, `h`. Single digits count where `0x` stands before them, as
    pymodbus writes them; without it they may be decimal, and are refused.

    Raises:
        BadFrame: It is not hex, or too long for a frame.
    """
    if len(text) > TEXT_CHARACTERS_MAX:
        raise _too_long(place)
    # ESPHome ends with the number of bytes, Python's bytes begin with a b.
    bare = re.sub(r"^\s*b(?=['\"])|\(\d+\)\s*$", "", text)
    marked = re.search(r"\\x|0x", bare, flags=re.IGNORECASE) is not None
    bare = re.sub(r"\\x|0x|\$", " ", bare, flags=re.IGNORECASE)
    bare = re.sub(r"(?<=[0-9A-F])h(?![0-9A-Z])", " ", bare, flags=re.IGNORECASE)
    parts = [part for part in _BETWEEN.split(bare) if part]
    single = any(len(part) == 1 for part in parts)
    if single and (not marked or any(len(part) > 2 for part in parts)):
        raise BadFrame(
            place=place,
            problem="has single digits, which may be decimal",
            remedy="write two hex digits for each byte, such as 01 04 00 00 00 02 71 CB",
        )
    try:
        frame = b"".join(bytes.fromhex(part.zfill(2)) for part in parts)
    except ValueError as fault:
        raise BadFrame(
            place=place, problem="not pairs of hex digits", remedy="write 01 04 00 00 00 02 71 CB"
        ) from fault
    if len(frame) > FRAME_BYTES_MAX:
        raise _too_long(place)
    return frame


def _too_long(place: str) -> BadFrame:
    return BadFrame(place=place, problem="longer than a Modbus frame", remedy="give one frame")


def exchange_of(request: bytes, response: bytes) -> Exchange:
    """Check a captured exchange and take out its registers.

    Args:
        request: Read request, TCP with its header, RTU with CRC, or RTU without if the reply is
            without too.
        response: The reply in the same framing.

    Raises:
        BadFrame: CRC, header, length or the pairing of the two does not fit.
        MeterRefused: The reply is a Modbus exception.
    """
    if _is_tcp(request):
        framing, (ask, answer) = "tcp", _payload_tcp(request, response)
    elif _is_without_crc(request, response):
        framing, (ask, answer) = "rtu without crc", (request, response)
    else:
        framing, (ask, answer) = "rtu", _payload_rtu(request, response)
    unit, function, address, count = _read_request(ask)
    if answer[0] != unit:
        raise BadFrame(
            place="response",
            problem=f"unit {answer[0]} answers, but unit {unit} was asked",
            remedy="pair the response with its own request",
        )
    if len(answer) >= 3 and answer[1] == function | _ERROR_FLAG:
        raise MeterRefused(place=f"unit {unit}", exception_code=answer[2])
    if answer[1] != function:
        raise BadFrame(
            place="response",
            problem=f"function {answer[1]} answers, but function {function} was asked",
            remedy="pair the response with its own request",
        )
    body = answer[3:]
    if len(answer) < 3 or answer[2] != len(body) or len(body) != 2 * count:
        raise BadFrame(
            place="response",
            problem=f"holds {len(body) // 2} registers, but {count} were asked",
            remedy="pair the response with its own request, and give all its bytes",
        )
    words = tuple(int.from_bytes(body[at : at + 2], "big") for at in range(0, len(body), 2))
    return Exchange(framing=framing, unit=unit, function=function, address=address, words=words)


def _is_tcp(request: bytes) -> bool:
    """A TCP request has 12 bytes, protocol 0 and a length that fits; RTU has 8."""
    return len(request) == 12 and request[2:6] == b"\x00\x00\x00\x06"


def _is_without_crc(request: bytes, response: bytes) -> bool:
    """Whether both end where the CRC would begin, by the lengths they state themselves."""
    if len(request) != 6 or len(response) < 3:
        return False
    refused = response[1] & _ERROR_FLAG
    return len(response) == (3 if refused else 3 + response[2])


def _payload_rtu(request: bytes, response: bytes) -> tuple[bytes, bytes]:
    parts = []
    for place, frame in (("request", request), ("response", response)):
        if len(frame) < 5:
            raise BadFrame(place=place, problem="too short", remedy="give all its bytes")
        said = int.from_bytes(frame[-2:], "little")
        right = crc16(frame[:-2])
        if said != right:
            shown = right.to_bytes(2, "little").hex(" ").upper()
            raise BadFrame(
                place=place,
                problem=f"CRC is {frame[-2:].hex(' ').upper()}, but {shown} would be right",
                remedy="check the copied bytes; this frame was damaged or cut",
            )
        parts.append(frame[:-2])
    return parts[0], parts[1]


def _payload_tcp(request: bytes, response: bytes) -> tuple[bytes, bytes]:
    if len(response) < _MBAP_BYTES + 2:
        raise BadFrame(place="response", problem="too short", remedy="give all its bytes")
    if response[2:4] != b"\x00\x00" or int.from_bytes(response[4:6], "big") != len(response) - 6:
        raise BadFrame(
            place="response",
            problem="its TCP header does not fit its length",
            remedy="give the whole frame in the framing of the request",
        )
    if response[:2] != request[:2]:
        raise BadFrame(
            place="response",
            problem="it carries another transaction number than the request",
            remedy="pair the response with its own request",
        )
    return request[6:], response[6:]


def _read_request(ask: bytes) -> tuple[int, int, int, int]:
    if len(ask) != 6 or ask[1] not in {HOLDING, INPUT}:
        raise BadFrame(
            place="request",
            problem="not a read of holding (3) or input (4) registers",
            remedy="give a request such as 01 04 00 00 00 02 71 CB",
        )
    address, count = int.from_bytes(ask[2:4], "big"), int.from_bytes(ask[4:6], "big")
    if not 1 <= count <= 125 or address + count > 0x10000:
        raise BadFrame(
            place="request",
            problem=f"asks for {count} registers from {address}",
            remedy="a read asks for 1 to 125 registers up to 65535",
        )
    return ask[0], ask[1], address, count
