"""Real wires for tests: Modbus servers in other processes, serial line pairs, brokers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gateway.decode.meter_map import RegisterKey
from tests.ports import free_port

HERE = Path(__file__).parent
LIBMODBUS_SOURCE = HERE.parents[1] / "data" / "gateway" / "libmodbus_server.c"
Image = Mapping[RegisterKey, int]


def needed(program: str, package: str) -> str:
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if path is None:
        pytest.fail(f"{program} is missing; install it with: apt-get install {package}")
    return path


@contextlib.contextmanager
def running(command: list[str], stdin: str | None = None) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        if stdin is not None and process.stdin is not None:
            process.stdin.write(stdin)
            process.stdin.flush()
        yield process
    finally:
        process.kill()
        process.communicate()


def _units(images: Mapping[int, Image]) -> dict[str, dict[str, dict[str, int]]]:
    units: dict[str, dict[str, dict[str, int]]] = {}
    for unit, image in images.items():
        tables: dict[str, dict[str, int]] = {"3": {}, "4": {}}
        for (function, address), word in image.items():
            tables[str(function)][str(address)] = word
        units[str(unit)] = tables
    return units


@contextlib.contextmanager
def pymodbus_server(
    images: Mapping[int, Image],
    *,
    kind: str = "tcp",
    device: str = "",
    delays_s: list[float] | None = None,
) -> Iterator[int]:
    port = free_port()
    spec = {
        "kind": kind,
        "port": port,
        "device": device,
        "units": _units(images),
        "delays_s": delays_s or [],
    }
    command = [sys.executable, str(HERE / "serve_registers.py")]
    with running(command, stdin=json.dumps(spec) + "\n") as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        if said.strip() != "ready":
            pytest.fail(f"the pymodbus server did not start: {said}{process.stdout.read()}")
        yield port


def libmodbus_program(folder: Path) -> Path:
    """Compile our small server against libmodbus; once per folder."""
    program = folder / "libmodbus_server"
    if not program.exists():
        compiler = needed("gcc", "gcc libmodbus-dev")
        flags = ["-I/usr/include/modbus", "-O1", "-Wall", "-Werror"]
        built = subprocess.run(
            [compiler, *flags, str(LIBMODBUS_SOURCE), "-o", str(program), "-lmodbus"],
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode != 0:
            pytest.fail(
                "libmodbus could not be used; install it with: apt-get install libmodbus-dev\n"
                + built.stderr
            )
    return program


@contextlib.contextmanager
def libmodbus_server(program: Path, image: Image) -> Iterator[int]:
    lines = [f"{function} {address} {word}\n" for (function, address), word in image.items()]
    with running([str(program)], stdin="".join([*lines, "go\n"])) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


@contextlib.contextmanager
def serial_pair() -> Iterator[tuple[str, str]]:
    """Two ends of a serial line, as devices."""
    socat = needed("socat", "socat")
    with tempfile.TemporaryDirectory() as folder:
        ends = [f"{folder}/a", f"{folder}/b"]
        command = [socat, *(f"pty,raw,echo=0,link={end}" for end in ends)]
        with running(command):
            deadline = time.monotonic() + 5
            while not all(os.path.exists(end) for end in ends):  # noqa: PTH110 - links to devices
                if time.monotonic() > deadline:
                    pytest.fail("socat did not make a serial line")
                time.sleep(0.01)
            yield ends[0], ends[1]


@contextlib.contextmanager
def mosquitto(extra: str = "", port: int | None = None) -> Iterator[int]:
    """A real broker, on a free port unless one is named."""
    program = needed("mosquitto", "mosquitto")
    port = port or free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "mosquitto.conf"
        if "allow_anonymous" not in extra:
            extra += "\nallow_anonymous true\n"
        config.write_text(f"listener {port} 127.0.0.1\npersistence false\n{extra}")
        with running([program, "-c", str(config)]) as process:
            deadline = time.monotonic() + 5
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail("mosquitto did not start")
                time.sleep(0.02)
            yield port


def publish(port: int, topic: str, payload: str, *more: str) -> None:
    """Send one message with mosquitto's own client."""
    program = needed("mosquitto_pub", "mosquitto-clients")
    address = ["-h", "127.0.0.1", "-p", str(port)]
    subprocess.run([program, *address, "-t", topic, "-m", payload, "-q", "1", *more], check=True)
