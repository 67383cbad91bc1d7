"""A service is started with settings it can work with, or it says in a sentence what is wrong."""

import re
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from shared.settings import Settings


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    (tmp_path / "membership.creds").write_text("credentials")
    monkeypatch.setenv("CONCORD_CREDENTIALS", str(tmp_path / "membership.creds"))
    monkeypatch.setenv("CONCORD_STORE", "sqlite:////tmp/membership.sqlite")
    return monkeypatch


def test_what_is_not_set_has_a_default(environment: pytest.MonkeyPatch) -> None:
    settings = Settings.from_environment()
    assert settings.nats == ("nats://127.0.0.1:4222",)
    assert (settings.batch_size, settings.stream_replicas) == (500, 1)


def test_values_are_read_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CONCORD_NATS", "nats://one:4222, nats://two:4222")
    environment.setenv("CONCORD_WEBHOOK_NETWORKS", "10.0.0.0/8, fd00::/8")
    environment.setenv("CONCORD_STREAM_REPLICAS", "3")
    environment.setenv("CONCORD_STORE", "postgresql+psycopg://concord@db/membership")
    settings = Settings.from_environment()
    assert settings.nats == ("nats://one:4222", "nats://two:4222")
    assert settings.webhook_networks == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert settings.stream_replicas == 3
    assert settings.store == "postgresql+psycopg://concord@db/membership"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("CONCORD_NATS", "somewhere", "CONCORD_NATS cannot be 'somewhere': 'somewhere' is not an address"),
        ("CONCORD_NATS", "", "CONCORD_NATS cannot be '': there must be one at least"),
        (
            "CONCORD_WEBHOOK_NETWORKS",
            "10.0.0.0/8,10.0.0.1/8",
            "CONCORD_WEBHOOK_NETWORKS cannot be '10.0.0.0/8,10.0.0.1/8': '10.0.0.1/8' is not a network such as",
        ),
        ("CONCORD_CREDENTIALS", "/nowhere.creds", "CONCORD_CREDENTIALS cannot be '/nowhere.creds': there is no file"),
        ("CONCORD_BATCH_SIZE", "many", "CONCORD_BATCH_SIZE cannot be 'many': input should be a valid integer"),
        (
            "CONCORD_BATCH_SIZE",
            "1001",
            "CONCORD_BATCH_SIZE cannot be '1001': input should be less than or equal",
        ),
        ("CONCORD_STREAM_REPLICAS", "2", "CONCORD_STREAM_REPLICAS cannot be '2': input should be 1, 3 or 5"),
        ("CONCORD_LOG_LEVEL", "loud", "CONCORD_LOG_LEVEL cannot be 'loud'"),
        ("CONCORD_MAIL_FROM", "nobody", "CONCORD_MAIL_FROM cannot be 'nobody': it is not an address such as"),
        ("CONCORD_PUBLIC_URL", "https://c.example/?a", "CONCORD_PUBLIC_URL cannot be the address given: it is not an"),
    ],
)
def test_a_wrong_setting_ends_the_start_with_its_name_its_value_and_what_would_be_right(
    environment: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        Settings.from_environment()
    assert str(ended.value).startswith(sentence)


def test_a_missing_setting_is_named(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("CONCORD_STORE")
    with pytest.raises(SystemExit, match="CONCORD_STORE is not set: address of the service's own store"):
        Settings.from_environment()


def test_a_wrong_store_is_not_repeated_since_it_may_hold_a_password(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CONCORD_STORE", "mysql://concord:secret@db/membership")
    with pytest.raises(SystemExit) as ended:
        Settings.from_environment()
    assert str(ended.value).startswith(
        "CONCORD_STORE cannot be the address given: only stores of sqlite and postgresql"
    )
    assert "secret" not in str(ended.value)


@pytest.mark.parametrize(
    "address",
    [
        "http://concord:secret@mail",
        "smtp://",
        "mail:secret",
        "smtp://concord:secret@mail:many",
        "smtp://[secret",
        "smtp://concord:1#secret@mail",
        "smtp://concord:1/secret@mail",
    ],
)
def test_a_wrong_mail_server_is_not_repeated_since_it_may_hold_a_password(
    environment: pytest.MonkeyPatch, address: str
) -> None:
    environment.setenv("CONCORD_MAIL_SERVER", address)
    environment.setenv("CONCORD_MAIL_FROM", "concord@example.org")
    with pytest.raises(SystemExit) as ended:
        Settings.from_environment()
    assert str(ended.value).startswith("CONCORD_MAIL_SERVER cannot be the address given: it is not an address such as")
    assert ":secret@mail" not in str(ended.value)


def test_mail_has_a_sender_or_there_is_none(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CONCORD_MAIL_SERVER", "smtp://concord:secret@mail.example.org")
    with pytest.raises(SystemExit) as ended:
        Settings.from_environment()
    assert str(ended.value) == "CONCORD_MAIL_SERVER is set and CONCORD_MAIL_FROM is not: the address mail comes from."
    environment.setenv("CONCORD_MAIL_FROM", "concord@example.org")
    environment.setenv("CONCORD_MAIL_DOMAINS", "GOV.uk, @nhs.uk, *.police.uk")
    assert Settings.from_environment().mail_domains == ("gov.uk", "nhs.uk", "police.uk")


def test_what_a_compose_file_passes_on_as_empty_is_not_set(environment: pytest.MonkeyPatch) -> None:
    for name in ("MAIL_SERVER", "MAIL_FROM", "MAIL_DOMAINS", "PUBLIC_URL", "PUBLIC_PORT"):
        environment.setenv(f"CONCORD_{name}", "")
    settings = Settings.from_environment()
    assert (settings.mail_server, settings.mail_from, settings.mail_domains) == (None, None, ())
    assert (settings.public_url, settings.public_port) == (None, None)


def test_ids_are_remembered_for_longer_than_the_stream_could_deliver_them_again(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("CONCORD_INBOX_RETENTION_DAYS", "30")
    with pytest.raises(SystemExit, match="should be greater than 30"):
        Settings.from_environment()


def test_the_page_for_operators_lists_every_setting_with_its_default() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(CONCORD_\w+)` \| [^|]+ \| ([^|]+) \|", page, re.MULTILINE)
    listed = {name: default.strip("` ") for name, default in rows}
    assert listed == {f"CONCORD_{name.upper()}": said(field) for name, field in Settings.model_fields.items()}


def said(field: FieldInfo) -> str:
    if field.is_required():
        return "none, must be set"
    if isinstance(field.default, tuple):
        return ",".join(field.default) or "none"
    return "none" if field.default is None else str(field.default)
