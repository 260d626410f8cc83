"""A Modbus server by pymodbus in a process of its own, for tests.

Reads a JSON object from standard input: `{"kind": "tcp" | "rtu" | "rtu_over_tcp", "port": ...,
"device": ..., "units": {"1": {"3": {"40000": 21365}, "4": {}}}, "delays_s": [0, 1.2]}` and prints
`ready` when it serves. Registers not named are refused with exception 2; unknown units are silent.
The delays apply to one request after the other, then to none.
"""

from __future__ import annotations

import asyncio
import json
import sys

from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


def runs(registers: dict[int, int]) -> list[SimData]:
    """Neighbouring registers as blocks; something must be there, so an odd corner is."""
    blocks: list[list[int]] = []
    starts: list[int] = []
    for address in sorted(registers):
        if starts and address == starts[-1] + len(blocks[-1]):
            blocks[-1].append(registers[address])
        else:
            starts.append(address)
            blocks.append([registers[address]])
    if not blocks:
        return [SimData(0xFFF0, values=[0], datatype=DataType.REGISTERS)]
    return [
        SimData(start, values=words, datatype=DataType.REGISTERS)
        for start, words in zip(starts, blocks, strict=True)
    ]


async def main() -> None:
    spec = json.loads(sys.stdin.readline())
    delays = list(spec.get("delays_s", []))

    async def slow(*_request: object) -> None:
        if delays:
            await asyncio.sleep(delays.pop(0))

    bits = [SimData(0, values=[True] * 16, datatype=DataType.BITS)]
    devices = []
    for unit, tables in spec["units"].items():
        holding, inputs = (
            runs({int(address): word for address, word in tables.get(function, {}).items()})
            for function in ("3", "4")
        )
        devices.append(
            SimDevice(int(unit), simdata=(list(bits), list(bits), holding, inputs), action=slow)
        )
    server: ModbusTcpServer | ModbusSerialServer
    if spec["kind"] == "rtu":
        server = ModbusSerialServer(
            devices, port=spec["device"], baudrate=9600, ignore_missing_devices=True
        )
    else:
        framer = FramerType.RTU if spec["kind"] == "rtu_over_tcp" else FramerType.SOCKET
        server = ModbusTcpServer(
            devices,
            framer=framer,
            address=("127.0.0.1", spec["port"]),
            ignore_missing_devices=True,
        )
    await server.serve_forever(background=True)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


asyncio.run(main())
