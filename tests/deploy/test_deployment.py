"""``concord init``: made once, kept ever after, and each service gets its own and nothing of another's."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.deployment import prepare
from shared.broker import SERVER_BINARY
from shared.identity import SERVICES, IdentityError, Keys

CONCORD = Path(sys.executable).parent / "concord"


def prepared(directory: Path) -> list[Path]:
    return prepare(directory, nats="nats://nats:4222", postgres="postgres:5432", streams=Path("/data"))


def contents(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_second_run_changes_nothing_but_the_configuration_of_nats(tmp_path: Path) -> None:
    prepared(tmp_path)
    before = contents(tmp_path)
    assert prepared(tmp_path) == [tmp_path / "nats" / "nats.conf"]
    after = contents(tmp_path)
    changed = {path for path in after if before.get(path) != after[path]}
    assert changed <= {tmp_path / "nats" / "nats.conf"}
    assert before.keys() == after.keys()


def test_each_service_gets_its_own_credentials_and_password_and_nothing_of_anothers(tmp_path: Path) -> None:
    prepared(tmp_path)
    keys = Keys.load(tmp_path / "operator" / "keys")
    passwords = {name: (tmp_path / "postgres" / f"{name}.password").read_text() for name in SERVICES}
    assert len(set(passwords.values())) == len(SERVICES)
    for service in SERVICES:
        files = contents(tmp_path / service)
        assert {path.name for path in files} == {"service.creds", "pgpass"}
        assert keys.holder((tmp_path / service / "service.creds").read_text()) == (service, service)
        line = (tmp_path / service / "pgpass").read_text()
        assert line == f"postgres:5432:{service}:{service}:{passwords[service]}\n"
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}  # or PostgreSQL's client ignores it


def test_nats_accepts_the_configuration(tmp_path: Path) -> None:
    prepared(tmp_path)
    checked = subprocess.run(
        [SERVER_BINARY, "-t", "--config", tmp_path / "nats" / "nats.conf"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_the_command_says_what_it_wrote_and_the_operator_can_use_it(tmp_path: Path) -> None:
    made = subprocess.run([CONCORD, "init", tmp_path, "--json"], capture_output=True, text=True, check=True)
    written = json.loads(made.stdout)["answer"]["written"]
    assert str(tmp_path / "operator" / "stack.json") in written
    assert json.loads((tmp_path / "operator" / "stack.json").read_text()) == {"url": "nats://nats:4222"}


def test_a_key_that_cannot_be_read_is_named_and_nothing_is_made_anew(tmp_path: Path) -> None:
    prepared(tmp_path)
    (tmp_path / "operator" / "keys" / "account.nk").write_text("not a key")
    with pytest.raises(IdentityError, match=r"account\.nk cannot be read"):
        prepared(tmp_path)
