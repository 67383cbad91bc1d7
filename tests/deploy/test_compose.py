"""``docker compose up`` on a real engine: the platform starts, does its work, is broken, and loses nothing.

One stack for the whole file. Skipped, and said so, where no engine answers or an image would have to be pulled.
"""

import asyncio
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uuid_utils
from rich.console import Console

from deploy.demo.stage import Stage
from deploy.demo.tale import Tale
from deploy.people import People
from shared.broker import BrokerError, NotAdmitted, connect
from shared.contracts.membership import ListOrganisations, RegisterOrganisation
from shared.contracts.platform import Health, ServiceHealth
from shared.identity import OPERATOR, SERVICES
from shared.testing.ports import free_port

ROOT = Path(__file__).parents[2]
START_WITHIN = 240
COME_BACK_WITHIN = 90


BASE_IMAGES = ("python:3.13-slim", "nats:2-alpine", "postgres:17")


def why_not() -> str:
    """Why this cannot be tried here; nothing is pulled by a test."""
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        return "no Docker engine answers"
    missing = [
        image
        for image in BASE_IMAGES
        if subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode
    ]
    return f"pull {' and '.join(missing)} first" if missing else ""


WHY_NOT = why_not()


def on_an_engine(file: str) -> list[pytest.MarkDecorator]:
    """The marks of what tries a compose file: ``make test ARGS="tests/deploy -m engine"`` runs these alone."""
    return [
        pytest.mark.engine,
        pytest.mark.skipif(bool(WHY_NOT), reason=f"{file} WAS NOT TRIED: {WHY_NOT}"),
        pytest.mark.timeout(900),
        # While NATS is away, Docker's proxy takes a connection and drops it; the client leaves its end to be collected.
        pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    ]


pytestmark = on_an_engine("docker-compose.yml")


class Compose:
    """A stack of its own name, volumes and port. ``overrides`` are compose files beside docker-compose.yml."""

    def __init__(self, directory: Path, *overrides: str, **environment: str) -> None:
        self.port = free_port()
        self._name = f"concord-test-{uuid_utils.uuid7().hex[-8:]}"
        self._environment = {**os.environ, "CONCORD_NATS_PORT": str(self.port), **environment}
        self._files = [word for file in ("docker-compose.yml", *overrides) for word in ("--file", file)]
        self._directory = directory

    def also(self, override: Path) -> None:
        """Takes another compose file in, over the first."""
        self._files += ["--file", str(override)]

    def __call__(self, *words: str) -> str:
        done = self.run(words)
        if done.returncode:
            raise AssertionError(f"docker compose {' '.join(words)}:\n{done.stdout.decode()}{done.stderr.decode()}")
        return done.stdout.decode()

    def run(self, words: Sequence[str], **options: Any) -> "subprocess.CompletedProcess[bytes]":
        command = ["docker", "compose", *self._files, "--project-name", self._name, *words]
        return subprocess.run(
            command, cwd=ROOT, env=self._environment, capture_output=True, timeout=600, check=False, **options
        )

    def up(self, *words: str) -> None:
        self("up", "--detach", "--wait", "--wait-timeout", str(START_WITHIN), *words)

    def operator(self) -> Path:
        """The operator's directory, as an operator would take it out."""
        told = self.run(["run", "--rm", "--no-TTY", "--no-deps", "--entrypoint", "tar", "concord", "-cf", "-", "."])
        assert told.returncode == 0, told.stderr.decode()
        with tarfile.open(fileobj=io.BytesIO(told.stdout)) as archive:
            archive.extractall(self._directory, filter="data")
        return self._directory / OPERATOR

    def inside(self, service: str, program: str) -> "subprocess.CompletedProcess[bytes]":
        """Runs a piece of Python beside a service, in its container."""
        return self.run(["exec", "--no-TTY", service, "python3", "-c", program])

    def containers(self) -> list[dict[str, Any]]:
        ids = self("ps", "--quiet").split()
        told: list[dict[str, Any]] = json.loads(subprocess.check_output(["docker", "inspect", *ids]))
        return told


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    stack = Compose(tmp_path_factory.mktemp("compose"))
    try:
        stack("build", "--quiet")
        stack.up()
        yield stack
    finally:
        stack("down", "--volumes", "--timeout", "20")


async def all_ready(people: People) -> None:
    """Returns when every service says that it is ready, and has nothing left to send."""

    async def each_is() -> bool:
        try:
            told: list[ServiceHealth] = [await people.ask(OPERATOR, Health(), service) for service in SERVICES]
        except BrokerError:
            return False
        return all(health.ready and not health.unsent_events for health in told)

    async with asyncio.timeout(COME_BACK_WITHIN):
        while not await each_is():  # noqa: ASYNC110  a container tells nobody
            await asyncio.sleep(0.5)


@asynccontextmanager
async def operator_of(compose: Compose) -> AsyncIterator[People]:
    people = People(compose.operator(), f"nats://127.0.0.1:{compose.port}")
    await people.enter(OPERATOR, OPERATOR)
    try:
        yield people
    finally:
        await people.leave()


async def register(people: People, names: Sequence[str]) -> None:
    """Registers councils, each under an id of its own until it is answered: what breaks meanwhile loses nothing."""
    for name in names:
        command = RegisterOrganisation(key=name.lower().replace(" ", "-"), name=name, type="council", nation="England")
        sent_as = str(uuid_utils.uuid7())
        async with asyncio.timeout(COME_BACK_WITHIN):
            while True:
                try:
                    reply = await people.send(OPERATOR, command, id=sent_as)
                    break
                except BrokerError:
                    await asyncio.sleep(0.5)
        assert reply.outcome == "done", reply


async def missing(people: People, names: Sequence[str]) -> set[str]:
    page = await people.ask(OPERATOR, ListOrganisations(type="council", limit=500))
    return set(names) - {each.name for each in page.organisations}


async def test_the_demonstration_is_told_on_it(compose: Compose) -> None:
    told = Console(file=io.StringIO(), width=100)
    stage = Stage(compose.operator(), f"nats://127.0.0.1:{compose.port}", told)
    try:
        tale = Tale(stage)
        await tale.tell()
        assert stage.notices
        assert tale.plan is not None
        assert tale.standing is not None
    finally:
        await stage.leave()


def test_nothing_runs_as_root_or_could_become_it(compose: Compose) -> None:
    containers = compose.containers()
    assert len(containers) == len(SERVICES) + 2
    for container in containers:
        name, host = container["Name"], container["HostConfig"]
        assert container["Config"]["User"] not in ("", "root", "0", "0:0"), name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert host["Memory"] > 0, name
        assert host["PidsLimit"] > 0, name


def test_nothing_can_be_reached_from_outside_but_nats(compose: Compose) -> None:
    published = {
        f"{container['Config']['Labels']['com.docker.compose.service']} {port}": [each["HostIp"] for each in where]
        for container in compose.containers()
        for port, where in container["NetworkSettings"]["Ports"].items()
        if where
    }
    assert published == {"nats 4222/tcp": ["127.0.0.1"]}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_opens_its_own_database_and_no_other(compose: Compose, service: str) -> None:
    for database in (*SERVICES, "postgres", "template1"):
        address = f"host=postgres user={service} dbname={database} passfile=/platform/own/pgpass"
        own = "open('/platform/own/pgpass').read().strip().rsplit(':', 1)[1]"
        opened = compose.inside(service, f"import psycopg; psycopg.connect('{address}', password={own}).close()")
        assert (opened.returncode == 0) == (database == service), opened.stderr.decode()
        if database != service:
            assert b"permission denied for database" in opened.stderr


def test_a_service_sees_no_credentials_but_its_own(compose: Compose) -> None:
    program = "import pathlib; print(sorted(str(p) for p in pathlib.Path('/platform').rglob('*') if p.is_file()))"
    for service in SERVICES:
        seen = compose.inside(service, program).stdout.decode().strip()
        assert seen == "['/platform/own/pgpass', '/platform/own/service.creds']"


async def test_a_service_that_is_killed_comes_back(compose: Compose) -> None:
    kill = (
        "import os, pathlib, signal\n"
        "for each in pathlib.Path('/proc').glob('[0-9]*'):\n"
        "    if b'services.' in (each / 'cmdline').read_bytes() and int(each.name) not in (1, os.getpid()):\n"
        "        os.kill(int(each.name), signal.SIGKILL)\n"
    )
    async with operator_of(compose) as people:
        for service in SERVICES:
            compose.inside(service, kill)
        await register(people, ["Killed Borough Council"])
        await all_ready(people)
        assert await missing(people, ["Killed Borough Council"]) == set()


async def test_three_of_each_service_outlive_a_restart_of_postgresql_and_nats(compose: Compose) -> None:
    compose.up("--no-recreate", *(word for service in SERVICES for word in ("--scale", f"{service}=3")))
    names = [f"Council {number:02}" for number in range(60)]
    async with operator_of(compose) as people:
        await all_ready(people)
        registering = asyncio.create_task(register(people, names))
        await asyncio.sleep(0.5)
        for part in ("postgres", "nats"):
            await asyncio.to_thread(compose, "restart", part)
        await registering
        await all_ready(people)
        assert await missing(people, names) == set()


async def test_taken_down_and_up_again_it_has_everything(compose: Compose) -> None:
    names = ["Kept Borough Council", "Kept City Council"]
    async with operator_of(compose) as people:
        await register(people, names)
    compose("down", "--timeout", "20")
    compose.up()
    async with operator_of(compose) as people:
        await all_ready(people)
        assert await missing(people, names) == set()


async def test_access_is_taken_back_at_once_and_stays_so_when_nats_starts_again(compose: Compose) -> None:
    url = f"nats://127.0.0.1:{compose.port}"
    compose("run", "--rm", "--no-TTY", "concord", "access", "issue", "--role", "member", "leaver")
    creds = compose.operator() / "creds" / "leaver.creds"
    leaver = await connect([url], creds, patience=COME_BACK_WITHIN)
    compose("run", "--rm", "--no-TTY", "concord", "access", "revoke", "leaver")
    await asyncio.wait_for(leaver.lost.wait(), COME_BACK_WITHIN)
    compose.up()
    compose("restart", "nats")
    with pytest.raises(NotAdmitted):
        await connect([url], creds, patience=COME_BACK_WITHIN)


# ---- the profile observability -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def watched(compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> Compose:
    """Prometheus and Alertmanager beside the platform, in whatever version of their images is here."""
    images: dict[str, dict[str, str]] = {}
    for part in ("prometheus", "alertmanager"):
        told = subprocess.check_output(
            ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"prom/{part}"], text=True
        )
        if not told:
            pytest.skip(f"THE PROFILE observability WAS NOT TRIED: pull prom/{part} first")
        images[part] = {"image": told.split()[0]}
    override = tmp_path_factory.mktemp("override") / "images.json"
    override.write_text(json.dumps({"services": images}))
    compose.also(override)
    compose.up("--no-recreate", "prometheus", "alertmanager")
    return compose


def asked(compose: Compose, path: str) -> Any:
    """What Prometheus answers."""
    return json.loads(
        compose("exec", "--no-TTY", "prometheus", "wget", "-qO-", f"http://127.0.0.1:9090/api/v1/{path}")
    )["data"]


def alerts(compose: Compose) -> set[str]:
    """The alerts whose condition holds, whether they fire already or not yet."""
    return {alert["labels"]["alertname"] for alert in asked(compose, "alerts")["alerts"]}


async def within(seconds: float, happens: Callable[[], bool]) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(happens):  # noqa: ASYNC110  a container tells nobody
            await asyncio.sleep(1)


async def test_prometheus_asks_every_service_and_finds_nothing_to_complain_of(watched: Compose) -> None:
    def up() -> dict[str, int]:
        found = asked(watched, "query?query=sum%20by%20(service)%20(up)")["result"]
        return {each["metric"]["service"]: int(each["value"][1]) for each in found}

    def ready() -> int:
        return len(asked(watched, "query?query=concord_ready%20==%201")["result"])

    await within(COME_BACK_WITHIN, lambda: up() == dict.fromkeys(SERVICES, 1) and ready() == len(SERVICES))
    assert [group["name"] for group in asked(watched, "rules")["groups"]]
    await within(COME_BACK_WITHIN, lambda: len(asked(watched, "alertmanagers")["activeAlertmanagers"]) == 1)
    await within(COME_BACK_WITHIN, lambda: alerts(watched) == set())


async def test_nats_that_is_away_raises_its_own_alert_and_no_other(watched: Compose) -> None:
    watched("stop", "nats")
    try:
        await within(COME_BACK_WITHIN, lambda: alerts(watched) == {"ConcordNatsAway"})
        fires = lambda: {a["labels"]["alertname"] for a in asked(watched, "alerts")["alerts"] if a["state"] == "firing"}  # noqa: E731
        await within(COME_BACK_WITHIN, lambda: fires() == {"ConcordNatsAway"})
        assert alerts(watched) == {"ConcordNatsAway"}
    finally:
        watched.up("--no-recreate", "nats")
    await within(COME_BACK_WITHIN, lambda: alerts(watched) == set())


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A directory of the host in which the user of the containers may write."""
    tmp_path.chmod(0o777)
    return tmp_path


async def test_a_backup_made_while_it_runs_brings_everything_back_where_nothing_was(
    compose: Compose, shelf: Path
) -> None:
    keep = ("run", "--rm", "--no-TTY", "--volume", f"{shelf}:/backup")
    names = ["Backed Up Borough Council", "Backed Up City Council"]
    async with operator_of(compose) as people:
        await register(people, names)
        credentials = (compose.operator() / "creds" / "operator.creds").read_text()
        await asyncio.to_thread(compose, *keep, "keeping", "backup", "/backup/kept")
        assert "Ready: " in await asyncio.to_thread(compose, "run", "--rm", "--no-TTY", "keeping", "upgrade-check")
    compose("down", "--volumes", "--timeout", "20")
    compose(*keep, "--no-deps", "keeping", "restore", "/backup/kept", "--keys")
    compose(*keep, "keeping", "restore", "/backup/kept")
    compose.up()
    async with operator_of(compose) as people:
        await all_ready(people)
        assert await missing(people, names) == set()
        await register(people, ["Restored Borough Council"])
    assert (compose.operator() / "creds" / "operator.creds").read_text() == credentials
