"""From what a person says about a wire to its address."""

from __future__ import annotations

from typing import get_args

from gateway.decode.meter_map import Baud, MeterMap, SerialDefaults
from gateway.errors import BadWiring
from gateway.meters.modbus_link import Address, RtuAddress, RtuOverTcpAddress, TcpAddress

BAUDS: tuple[int, ...] = get_args(Baud)
PARITIES = ("N", "E", "O")


def serial_settings(
    meter_map: MeterMap | None, *, baud: int | None = None, parity: str | None = None
) -> SerialDefaults:
    """Serial settings: as said, otherwise as the map says, otherwise 9600 8N1.

    Raises:
        BadWiring: No meter is set like that.
    """
    usual = (meter_map and meter_map.serial) or SerialDefaults()
    chosen_parity = usual.parity if parity is None else parity.upper()
    chosen_baud = usual.baud if baud is None else baud
    if chosen_baud not in BAUDS:
        raise BadWiring(problem=f"baud {chosen_baud} is unusual", remedy=f"use one of {BAUDS}")
    if chosen_parity not in PARITIES:
        raise BadWiring(problem=f"parity {parity!r} is unknown", remedy="use N, E or O")
    return SerialDefaults(
        baud=chosen_baud, parity=chosen_parity, stop_bits=usual.stop_bits, unit=usual.unit
    )


def address_of(
    *,
    host: str | None,
    port: int,
    device: str | None,
    rtu_over_tcp: bool,
    settings: SerialDefaults,
) -> Address:
    """The wire that host or device name.

    Raises:
        BadWiring: Neither or both are named.
    """
    if (host is None) == (device is None):
        raise BadWiring(
            problem="name one wire",
            remedy="use --host for Modbus TCP or --device for a serial line",
        )
    if device is not None:
        return RtuAddress(device=device, settings=settings)
    if rtu_over_tcp:
        return RtuOverTcpAddress(host=host or "", port=port, settings=settings)
    return TcpAddress(host=host or "", port=port)


def unit_of(meter_map: MeterMap, address: Address, unit: int | None) -> int:
    """The meter's address on the wire: as said, otherwise as it leaves the factory."""
    if unit is not None:
        return unit
    if isinstance(address, TcpAddress) and meter_map.tcp_unit is not None:
        return meter_map.tcp_unit
    return (meter_map.serial or SerialDefaults()).unit
