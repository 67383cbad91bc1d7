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


def test_the_servers_of_a_cluster_read_one_configuration_and_share_a_password(tmp_path: Path) -> None:
    def prepare_cluster() -> str:
        prepare(
            tmp_path,
            nats="nats://a:4222,nats://b:4222,nats://c:4222",
            postgres="postgres:5432",
            streams=tmp_path / "streams",
            cluster=["a", "b", "c:6333"],
        )
        return (tmp_path / "nats" / "nats.conf").read_text()

    written = prepare_cluster()
    password = (tmp_path / "nats" / "routes.password").read_text()
    assert f"nats://route:{password}@a:6222\n" in written
    assert f"nats://route:{password}@c:6333\n" in written
    assert json.loads((tmp_path / "operator" / "stack.json").read_text())["url"].count("nats://") == 3
    prepare_cluster()
    assert (tmp_path / "nats" / "routes.password").read_text() == password
    command = [SERVER_BINARY, "-t", "--name", "nats-1", "--config", tmp_path / "nats" / "nats.conf"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_addresses_are_written_as_they_are_now_and_passwords_stay(tmp_path: Path) -> None:
    prepared(tmp_path)
    before = contents(tmp_path)
    prepare(tmp_path, nats="nats://elsewhere:4222", postgres="db.example.org:6432", streams=Path("/data"))
    password = (tmp_path / "postgres" / "events.password").read_text()
    assert (tmp_path / "events" / "pgpass").read_text() == f"db.example.org:6432:events:events:{password}\n"
    changed = {path.name for path, now in contents(tmp_path).items() if before[path] != now}
    assert changed <= {"pgpass", "stack.json", "nats.conf"}


def test_a_cluster_of_two_is_refused_with_a_sentence(tmp_path: Path) -> None:
    refused = subprocess.run(
        [CONCORD, "init", tmp_path, "--cluster", "a,b"], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "A cluster has 3 or 5 different servers" in refused.stderr
