"""Starting and stopping the other processes of the street, all on 127.0.0.1."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0


class DemoFault(Exception):
    """Something the demo needs did not work; the message says what to do."""


@dataclass(slots=True)
class Processes:
    """Everything the demo started; stopped in reverse order, whatever happens.

    Args:
        log_dir: Where their output goes.
    """

    log_dir: Path
    _running: list[tuple[str, subprocess.Popen[str]]] = field(default_factory=list)
    _logs: list[TextIO] = field(default_factory=list)

    def start(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a process whose output goes to a file."""
        log = (self.log_dir / f"{name}.log").open("a", encoding="utf-8")
        self._logs.append(log)
        process = subprocess.Popen(
            list(command),
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env=dict(os.environ) | dict(env or {}),
            start_new_session=True,
        )
        self._running.append((name, process))
        return process

    def check(self) -> None:
        """Say so if one of them has died.

        Raises:
            DemoFault: One has; with the end of its output.
        """
        for name, process in self._running:
            if process.poll() is not None and process.returncode not in (0, -signal.SIGTERM):
                end = (self.log_dir / f"{name}.log").read_text(encoding="utf-8")[-800:]
                raise DemoFault(f"{name} stopped with exit code {process.returncode}: {end}")

    def stop(self, name: str) -> None:
        """Stop one process and wait for it."""
        for entry in [one for one in self._running if one[0] == name]:
            _end(entry[1])
            self._running.remove(entry)

    def stop_all(self) -> None:
        """Stop everything that still runs."""
        for _name, process in reversed(self._running):
            _end(process)
        self._running.clear()
        for log in self._logs:
            log.close()
        self._logs.clear()


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, what: str, processes: Processes) -> None:
    """Wait until somebody listens.

    Raises:
        DemoFault: Nobody does in time.
    """

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    wait_until(listens, f"{what} does not listen on port {port}", processes)


def wait_until(
    condition: Callable[[], bool],
    complaint: str,
    processes: Processes,
    timeout_s: float = START_TIMEOUT_S,
    every_s: float = 0.1,
) -> None:
    """Wait until a condition holds.

    Raises:
        DemoFault: It does not in time, or a process died.
    """
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return
        processes.check()
        time.sleep(every_s)
    raise DemoFault(f"{complaint}, after {timeout_s:.0f} s")


def start_broker(processes: Processes, folder: Path) -> tuple[int, str]:
    """Start an MQTT broker: mosquitto when it is installed, else amqtt.

    Returns:
        Its port, and which one it is.
    """
    port = free_port()
    program = shutil.which("mosquitto") or shutil.which(
        "mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
    )
    if program:
        config = folder / "mosquitto.conf"
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
        processes.start("broker", [program, "-c", str(config)])
        kind = "mosquitto"
    else:
        config = folder / "amqtt.yaml"
        config.write_text(
            f"listeners:\n  default:\n    type: tcp\n    bind: 127.0.0.1:{port}\n"
            "plugins:\n  amqtt.plugins.authentication.AnonymousAuthPlugin:\n"
            "    allow_anonymous: true\n"
        )
        processes.start("broker", [str(Path(sys.executable).parent / "amqtt"), "-c", str(config)])
        kind = "amqtt"
    wait_for_port(port, "the MQTT broker", processes)
    return port, kind


def start_meter(processes: Processes, name: str, folder: Path, config: dict[str, Any]) -> int:
    """Start a simulated Modbus meter in a process of its own; returns its port."""
    port = free_port()
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config | {"port": port}), encoding="utf-8")
    processes.start(name, [sys.executable, "-m", "cloud.demo.meter_server", str(path)])
    return port


def gateway_command() -> list[str]:
    """How to run the gateway's command with this Python."""
    return [sys.executable, "-m", "gateway"]


def run_gateway_command(config: Path, *arguments: str) -> dict[str, Any]:
    """Run one command of a gateway and return its JSON.

    Raises:
        DemoFault: It failed.
    """
    command = [*gateway_command(), *arguments, "--config", str(config), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise DemoFault(f"coop-gateway {' '.join(arguments)}: {done.stderr.strip()[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGINT end the block as Ctrl-C does, so that everything is stopped."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
