"""What a service process is told from outside, in environment variables that begin with ``CONCORD_``."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from shared.contracts.message import MailAddress
from shared.streams import INBOUND_MAX_AGE

PREFIX = "CONCORD_"
MAY_HOLD_A_PASSWORD = ("store", "trace_endpoint", "mail_server", "public_url")
"""Addresses that are not said again."""
MAIL_SCHEMES = ("smtp", "smtps", "smtp+plain")
STORES = ("sqlite", "postgresql")


class Settings(BaseSettings):
    """The settings of one service process; each is ``CONCORD_`` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    nats: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("nats://127.0.0.1:4222",), description="addresses of the NATS servers, separated by commas"
    )
    credentials: Path = Field(description="path of the service's .creds file")
    store: str = Field(
        description="address of the service's own store: sqlite:////path/to/file or postgresql+psycopg://user@host/name"
    )
    batch_size: int = Field(default=500, ge=1, le=1000, description="messages in one transaction at most")
    publish_singly: int = Field(
        default=32, ge=1, le=500, description="events up to which each is published by itself; more go as one batch"
    )
    outbox_retention_days: int = Field(
        default=90, ge=1, description="days from its recording that a published event stays, to rebuild a stream"
    )
    inbox_retention_days: int = Field(
        default=INBOUND_MAX_AGE.days + 5,
        gt=INBOUND_MAX_AGE.days,
        description="days the id of a handled message is remembered; longer than the inbound stream keeps a message",
    )
    delivery_log_days: int = Field(
        default=396, ge=30, description="days notifications remembers who was told what; others do not use it"
    )
    webhook_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(),
        description="private networks that notifications may post into, such as 10.0.0.0/8, separated by commas; over "
        "http as well",
    )
    mail_server: str | None = Field(
        default=None,
        description="where notifications hands in mail, such as smtp://user:password@host:587: over TLS begun by "
        "STARTTLS; smtps:// is TLS from the start, smtp+plain:// none; none if not set, and then no mail is sent",
    )
    mail_from: str | None = Field(default=None, description="the address mail comes from, such as concord@example.org")
    mail_domains: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="domains that are mailed to, with those below them, such as gov.uk,nhs.uk; any if not set",
    )
    public_url: str | None = Field(
        default=None,
        description="where people reach what notifications serves on CONCORD_PUBLIC_PORT, such as https://concord.example.org",
    )
    public_port: int | None = Field(
        default=None, ge=1, le=65_535, description="port on which mail is ended with one click; none if not set"
    )
    stream_replicas: Literal[1, 3, 5] = Field(default=1, description="NATS servers that hold each stream")
    health_port: int | None = Field(
        default=None, ge=1, le=65_535, description="port on which readiness can be asked over HTTP; none if not set"
    )
    trace_endpoint: str | None = Field(
        default=None,
        description="where spans are sent by OTLP over HTTP, such as http://collector:4318; none if not set",
    )
    trace_share: float = Field(
        default=0.01, ge=0, le=1, description="share of the traces begun here that are recorded; 0 to 1, 1 for all"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least important log lines that are written"
    )

    @field_validator("nats", mode="before")
    @classmethod
    def _separated_by_commas(cls, value: Any) -> Any:
        return _parts(value) if isinstance(value, str) else value

    @field_validator("mail_domains", mode="before")
    @classmethod
    def _domains(cls, value: Any) -> Any:
        return tuple(part.lower().strip("@.*") for part in _parts(value)) if isinstance(value, str) else value

    @field_validator("mail_server")
    @classmethod
    def _by_smtp(cls, value: str | None) -> str | None:
        try:
            parts = urlsplit(value or "smtp://host")
            beyond = parts.path.strip("/") or parts.query or parts.fragment
            if parts.scheme not in MAIL_SCHEMES or not parts.hostname or beyond or parts.port == 0:
                raise ValueError
        except ValueError:
            raise ValueError(
                "it is not an address such as smtp://user:password@host:587; in a user or password / ? # @ and : are "
                "written as %2F %3F %23 %40 and %3A"
            ) from None
        if parts.scheme == "smtp+plain" and parts.password:
            raise ValueError("a password is said over TLS alone: begin it with smtp:// or smtps://")
        return value

    @field_validator("public_url")
    @classmethod
    def _plain_address(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "https://host")
        beyond = parts.query or parts.fragment or parts.username or any(mark.isspace() for mark in value or "")
        if parts.scheme not in ("http", "https") or not parts.hostname or beyond:
            raise ValueError("it is not an address such as https://concord.example.org, with nothing behind a ? or #")
        return value

    @field_validator("mail_from")
    @classmethod
    def _mail_address(cls, value: str | None) -> str | None:
        try:
            return None if value is None else TypeAdapter(MailAddress).validate_python(value)
        except ValidationError:
            raise ValueError("it is not an address such as concord@example.org") from None

    @field_validator("webhook_networks", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        return tuple(map(_network, _parts(value))) if isinstance(value, str) else value

    @field_validator("nats")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("there must be one at least")
        for url in value:
            if urlsplit(url).scheme not in ("nats", "tls") or not urlsplit(url).hostname:
                raise ValueError(f"{url!r} is not an address such as nats://host:4222")
        return value

    @field_validator("credentials")
    @classmethod
    def _is_there(cls, value: Path) -> Path:
        if not value.is_file():
            raise ValueError(f"there is no file {value}")
        return value

    @field_validator("store")
    @classmethod
    def _known_store(cls, value: str) -> str:
        try:
            backend = make_url(value).get_backend_name()
        except ArgumentError:
            backend = ""
        if backend not in STORES:
            raise ValueError(f"only stores of {' and '.join(STORES)} are known")
        return value

    @field_validator("trace_endpoint")
    @classmethod
    def _over_http(cls, value: str | None) -> str | None:
        if value is not None and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
            raise ValueError("it is not an address that begins with http:// or https://")
        return value

    @model_validator(mode="after")
    def _what_belongs_together(self) -> "Settings":
        if self.mail_server is not None and self.mail_from is None:
            raise ValueError(f"{PREFIX}MAIL_SERVER is set and {PREFIX}MAIL_FROM is not: the address mail comes from")
        if self.public_url is not None and self.public_port is None:
            raise ValueError(f"{PREFIX}PUBLIC_URL is set and {PREFIX}PUBLIC_PORT is not: mails would have a dead link")
        return self

    @field_validator("trace_endpoint", "mail_server", "mail_from", "public_url", "public_port", mode="before")
    @classmethod
    def _none_if_empty(cls, value: Any) -> Any:
        return value or None  # a compose file passes on what is not set as an empty text

    @field_validator("stream_replicas", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return int(value) if isinstance(value, str) and value.isdecimal() else value

    @classmethod
    def from_environment(cls) -> "Settings":
        """Reads the environment; a missing or wrong setting ends the process with a sentence for each."""
        try:
            return cls()
        except ValidationError as error:
            raise SystemExit("\n".join(_sentence(problem) for problem in error.errors())) from None


def _parts(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _network(part: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(part)
    except ValueError:
        raise ValueError(f"{part!r} is not a network such as 10.0.0.0/8") from None


def _sentence(problem: Any) -> str:
    if not problem["loc"]:  # it is of several settings
        return f"{problem['msg'].removeprefix('Value error, ')}."
    name = str(problem["loc"][0])
    what = Settings.model_fields[name].description
    if problem["type"] == "missing":
        return f"{PREFIX}{name.upper()} is not set: {what}."
    why = problem["msg"].removeprefix("Value error, ")
    given = "the address given" if name in MAY_HOLD_A_PASSWORD else repr(str(problem["input"]))
    return f"{PREFIX}{name.upper()} cannot be {given}: {why[0].lower()}{why[1:]} ({what})."
