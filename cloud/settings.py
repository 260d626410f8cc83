"""Settings of the cloud: defaults, then `cloud.toml`, then `COMMONWATT_…` variables, then flags.

A nested setting is `[influx] url` in the file and `COMMONWATT_INFLUX__URL` in the environment.
`docs/api.md` and `coop-cloud settings` list them all.
"""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from cloud.errors import BadSetting

SETTINGS_FILE = "cloud.toml"


class InfluxSettings(BaseModel):
    """The mirror into InfluxDB 2.x, off until a url is given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(default="", description="Address of InfluxDB 2.x; empty means no mirror")
    token: SecretStr = Field(default=SecretStr(""), description="Token that may write")
    org: str = Field(default="commonwatt", description="Organisation")
    bucket: str = Field(default="readings", description="Bucket")


class MailSettings(BaseModel):
    """How e-mail leaves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    smtp_host: str = Field(default="", description="SMTP server; empty prints mail to the log")
    smtp_port: int = Field(default=587, ge=1, le=65_535, description="SMTP port")
    smtp_user: str = Field(default="", description="SMTP user; empty means no login")
    smtp_password: SecretStr = Field(default=SecretStr(""), description="SMTP password")
    smtp_tls: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="`none` is for loopback only"
    )
    sender: str = Field(default="coop@localhost", description="From address")


class PrivacySettings(BaseModel):
    """The privacy floor under every release."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    group_min_inside: int = Field(
        default=15, ge=10, description="Least homes in a figure shown inside the co-op"
    )
    group_min_outside: int = Field(
        default=100, ge=10, description="Least homes in a figure that leaves the co-op"
    )
    dominance_share_max: Decimal = Field(
        default=Decimal("0.15"), gt=0, le=1, description="Largest share of one home in any cell"
    )


class Settings(BaseSettings):
    """All settings; unknown ones are refused."""

    model_config = SettingsConfigDict(
        env_prefix="COMMONWATT_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    data_dir: Path = Field(default=Path("commonwatt-data"), description="Where everything is kept")
    host: str = Field(default="127.0.0.1", description="Address to listen on")
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(
        default=8500, description="Port to listen on"
    )
    public_url: str = Field(
        default="", description="Address people use; empty means http://host:port"
    )
    database_url: str = Field(
        default="", description="SQLAlchemy address; empty means SQLite in data_dir"
    )
    coop_name: str = Field(
        default="Our energy co-op", min_length=1, max_length=200, description="Name of the co-op"
    )
    coop_contact: str = Field(
        default="", max_length=200, description="Contact of the controller in consent records"
    )
    jurisdiction: str = Field(default="EU", max_length=20, description="Law in consent records")
    timezone: str = Field(default="Europe/Berlin", description="Local calendar of the co-op")
    currency: str = Field(default="EUR", pattern="^[A-Z]{3}$", description="ISO 4217 code")
    log_origin: str = Field(
        default="commonwatt.local/log",
        pattern=r"^[^\s+]{1,100}$",
        description="Name of the transparency log; never change it after the first start",
    )
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = Field(
        default=0, description="Port on loopback for /metrics; 0 means none"
    )
    demo: bool = Field(
        default=False, description="Say on every page that all people and figures are made up"
    )
    privacy: PrivacySettings = Field(default_factory=PrivacySettings)
    mail: MailSettings = Field(default_factory=MailSettings)
    influx: InfluxSettings = Field(default_factory=InfluxSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic passes it by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic passes it by name
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment, then the TOML file."""
        toml = TomlConfigSettingsSource(settings_cls)
        return (init_settings, env_settings, toml)

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as fault:
            raise ValueError(f"{name!r} is no IANA time zone such as Europe/Berlin") from fault
        return name

    @field_validator("public_url")
    @classmethod
    def _plain_origin(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("give it as https://name or http://name:port")
        return url.rstrip("/")

    @property
    def zone(self) -> ZoneInfo:
        """The co-op's time zone."""
        return ZoneInfo(self.timezone)

    @property
    def base_url(self) -> str:
        """Address people use, without a slash at the end."""
        return self.public_url or f"http://{self.host}:{self.port}"

    @property
    def is_https(self) -> bool:
        """Whether cookies may travel over TLS only."""
        return self.base_url.startswith("https://")

    @property
    def database_address(self) -> str:
        """SQLAlchemy address of the database."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'cloud.sqlite'}"


def load_settings(data_dir: Path | None = None, **flags: Any) -> Settings:
    """Read all settings; flags that are None do not count.

    Args:
        data_dir: Folder that may hold a `cloud.toml`.
        flags: Settings given on the command line.

    Raises:
        BadSetting: The file is no TOML, or a setting is unknown or out of range.
    """
    given = {name: setting for name, setting in flags.items() if setting is not None}
    if data_dir is not None:
        given["data_dir"] = data_dir
    file = (data_dir or Path(Settings.model_fields["data_dir"].default)) / SETTINGS_FILE

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    try:
        return FromFile(**given)
    except tomllib.TOMLDecodeError as fault:
        raise BadSetting(f"{file}: {fault}; correct the file") from fault
    except ValidationError as fault:
        first = fault.errors()[0]
        where = ".".join(str(step) for step in first["loc"]) or "settings"
        raise BadSetting(
            f"setting {where}: {first['msg']}; look in {file} and COMMONWATT_ variables"
        ) from fault


def describe_settings() -> list[tuple[str, str, str]]:
    """List name, default and meaning of every setting."""
    return _describe(Settings, "")


def _describe(model: type[BaseModel], prefix: str) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            rows += _describe(kind, f"{prefix}{name}.")
            continue
        default = field.get_default(call_default_factory=True)
        shown = "" if isinstance(default, SecretStr) else str(default)
        rows.append((prefix + name, shown, field.description or ""))
    return rows
