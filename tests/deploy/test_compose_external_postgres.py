"""``docker compose`` with deploy/compose/external-postgres.yml: everything is kept on the server of somebody else.

Skipped, and said so, where ``test_compose.py`` is.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uuid_utils

from shared.identity import SERVICES
from tests.deploy.test_compose import ROOT, Compose, all_ready, missing, on_an_engine, operator_of, register

SERVICE_SQL = ROOT / "deploy" / "postgres" / "service.sql"
LISTENS_WITHIN = 60

pytestmark = on_an_engine("deploy/compose/external-postgres.yml")


class Database:
    """PostgreSQL with TLS in a container of no compose project, reached through the engine's own bridge."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.name = f"concord-test-postgres-{uuid_utils.uuid7().hex[-8:]}"
        self.host = self.docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
        passwords = directory / "passwords"
        passwords.mkdir()
        for service in SERVICES:
            (passwords / f"{service}.password").write_text(f"{service}: from outside")
        names = ["-subj", f"/CN={self.host}", "-addext", f"subjectAltName=IP:{self.host}"]
        keys = ["-keyout", str(directory / "server.key"), "-out", str(directory / "server.crt")]
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *keys],
                       check=True, capture_output=True)  # fmt: skip
        start = (
            "install -o postgres -m 0600 /tls/server.key /tls/server.crt /var/lib/postgresql/ && "
            "exec docker-entrypoint.sh postgres -c ssl=on -c ssl_key_file=/var/lib/postgresql/server.key "
            "-c ssl_cert_file=/var/lib/postgresql/server.crt"
        )
        self.docker(
            "run", "--detach", "--name", self.name, "--publish", "5432", "--env", "POSTGRES_PASSWORD=administrator",
            "--volume", f"{directory}:/tls:ro", "--volume", f"{SERVICE_SQL.parent}:/sql:ro",
            "--entrypoint", "bash", "postgres:17", "-c", start,
        )  # fmt: skip
        self.port = self.docker("port", self.name, "5432/tcp").splitlines()[0].rsplit(":", 1)[1]

    def docker(self, *words: str) -> str:
        return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()

    def administer(self) -> None:
        """What its administrator does, once it listens."""
        give_up_at = time.monotonic() + LISTENS_WITHIN
        listens = ["docker", "exec", self.name, "pg_isready", "--quiet", "--host", "127.0.0.1"]
        while subprocess.run(listens, check=False).returncode:
            assert time.monotonic() < give_up_at, self.docker("logs", self.name)
            time.sleep(0.2)
        for service in SERVICES:
            self.docker(
                "exec", "--user", "postgres", self.name, "psql", "--set=ON_ERROR_STOP=1", f"--set=service={service}",
                f"--set=password={service}: from outside", "--file=/sql/service.sql",
            )  # fmt: skip


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    made = Database(tmp_path_factory.mktemp("database"))
    try:
        made.administer()
        yield made
    finally:
        made.docker("rm", "--force", "--volumes", made.name)


@pytest.fixture(scope="module")
def compose(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    stack = Compose(
        tmp_path_factory.mktemp("external"),
        "deploy/compose/external-postgres.yml",
        CONCORD_POSTGRES_HOST=database.host,
        CONCORD_POSTGRES_PORT=database.port,
        CONCORD_POSTGRES_PASSWORDS=str(database.directory / "passwords"),
        CONCORD_POSTGRES_CA=str(database.directory / "server.crt"),
    )
    try:
        stack("build", "--quiet")
        stack.up()
        yield stack
    finally:
        stack("down", "--volumes", "--timeout", "20")


def test_it_may_be_used_together_with_a_cluster(tmp_path: Path) -> None:
    both = Compose(
        tmp_path, "deploy/compose/cluster.yml", "deploy/compose/external-postgres.yml",
        CONCORD_POSTGRES_HOST="db.example.org", CONCORD_POSTGRES_PASSWORDS=str(tmp_path),
    )  # fmt: skip
    services = json.loads(both("config", "--format", "json"))["services"]
    assert "postgres" not in services
    told = services["init"]["environment"]
    assert told.keys() == {"CONCORD_NATS", "CONCORD_CLUSTER", "CONCORD_POSTGRES", "CONCORD_PASSWORDS"}
    for service in SERVICES:
        told = services[service]["environment"]
        assert told["CONCORD_STREAM_REPLICAS"] == "3"
        assert "@db.example.org:5432/" in told["CONCORD_STORE"]
        assert {"init", "nats", "nats-2", "nats-3"} <= services[service]["depends_on"].keys()


async def test_the_platform_keeps_everything_on_a_server_of_somebody_elses(
    compose: Compose, database: Database
) -> None:
    assert len(compose.containers()) == len(SERVICES) + 1  # no PostgreSQL of its own
    names = ["Elsewhere Borough Council", "Elsewhere City Council"]
    async with operator_of(compose) as people:
        await register(people, names)
        await all_ready(people)
        assert await missing(people, names) == set()
    encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'membership'"
    words = ("exec", "--user", "postgres", database.name, "psql", "--tuples-only", "--no-align", "--command", encrypted)
    assert database.docker(*words) == "t"
