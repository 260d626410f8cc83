"""From `[[mqtt]]` in the settings to brokers as sources."""

from __future__ import annotations

import ssl
from pathlib import Path

from gateway.catalogue import load_preset
from gateway.errors import BadSettings
from gateway.meters.mqtt import BrokerAddress, ListenedMeter, MqttSource
from gateway.settings import MqttBroker

PASSWORD_BYTES_MAX = 4096


def mqtt_sources(
    brokers: tuple[MqttBroker, ...], *, client_id: str, directory: Path = Path()
) -> list[MqttSource]:
    """Make one source for each broker; nothing is opened yet.

    Args:
        brokers: From gateway.toml.
        client_id: From the gateway's key. Each broker gets its own, made from it.
        directory: Of gateway.toml; password and certificate files count from it.

    Raises:
        GatewayError: A preset, a password or a certificate cannot be used.
    """
    return [
        MqttSource(
            broker.name,
            _address(broker, directory),
            tuple(
                ListenedMeter(
                    meter=meter.name,
                    preset=load_preset(meter.preset),
                    device=meter.topic,
                )
                for meter in broker.meter
            ),
            client_id=f"{client_id}-{position}",
        )
        for position, broker in enumerate(brokers)
        if broker.meter
    ]


def _address(broker: MqttBroker, directory: Path) -> BrokerAddress:
    return BrokerAddress(
        host=broker.broker,
        port=broker.port,
        username=broker.username,
        password=_password(broker, directory),
        tls=_tls(broker, directory),
    )


def _password(broker: MqttBroker, directory: Path) -> str | None:
    if broker.password_file is None:
        return None
    path = directory / broker.password_file
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline(PASSWORD_BYTES_MAX).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as fault:
        raise _fault(broker, "password_file", path, "check the path and who may read it") from fault


def _tls(broker: MqttBroker, directory: Path) -> ssl.SSLContext | None:
    if broker.ca_file is None:
        return None
    path = directory / broker.ca_file
    try:
        context = ssl.create_default_context(cafile=str(path))
    except (OSError, ssl.SSLError) as fault:
        raise _fault(broker, "ca_file", path, "name a file with PEM certificates") from fault
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _fault(broker: MqttBroker, key: str, path: Path, remedy: str) -> BadSettings:
    return BadSettings(
        file="gateway.toml",
        place=f"mqtt {broker.name!r}, {key}",
        problem=f"{path} cannot be used",
        remedy=remedy,
    )
