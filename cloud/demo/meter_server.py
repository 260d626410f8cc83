"""A simulated Modbus TCP meter in a process of its own.

`python -m cloud.demo.meter_server CONFIG.json` serves until it is told to stop, and prints
`ready` once it listens.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime
from pathlib import Path

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from cloud.demo.clock import StreetClock
from cloud.demo.meter import REGISTERS, SimulatedMeter

REGISTER_COUNT = 0x0200


async def serve(config: dict[str, object]) -> None:
    """Serve one meter on 127.0.0.1.

    Args:
        config: `map`, `port`, `unit`, `start`, `import_wh`, `export_wh` and `clock`.
    """
    clock = StreetClock.from_json(str(config["clock"]))
    meter = SimulatedMeter(
        start=datetime.fromisoformat(str(config["start"])),
        import_wh=config["import_wh"],  # type: ignore[arg-type]  # JSON of our own making
        export_wh=config["export_wh"],  # type: ignore[arg-type]
    )
    _function_code, registers_of = REGISTERS[str(config["map"])]

    async def refresh(
        _function: int,
        start_address: int,
        _address: int,
        _count: int,
        registers: list[int],
        _set_values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        for address, word in registers_of(meter.display(clock.now())).items():
            if 0 <= address - start_address < len(registers):
                registers[address - start_address] = word
        return None

    device = SimDevice(
        id=int(str(config["unit"])),
        simdata=[SimData(0, count=REGISTER_COUNT, values=0, datatype=DataType.REGISTERS)],
        action=refresh,
    )
    server = ModbusTcpServer(
        device, address=("127.0.0.1", int(str(config["port"]))), ignore_missing_devices=True
    )
    await server.serve_forever(background=True)
    print("ready", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Run until the parent says stop."""
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    asyncio.run(serve(config))


if __name__ == "__main__":
    main()
