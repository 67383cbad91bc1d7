"""``docker compose`` with deploy/compose/cluster.yml: three NATS servers, of which any may be lost.

Skipped, and said so, where ``test_compose.py`` is.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from deploy.people import People
from shared.identity import OPERATOR
from shared.streams import api, platform_streams
from shared.testing.ports import free_ports
from tests.deploy.test_compose import Compose, all_ready, missing, on_an_engine, register

SERVERS = ("nats", "nats-2", "nats-3")

pytestmark = on_an_engine("deploy/compose/cluster.yml")


@pytest.fixture(scope="module")
def ports() -> list[int]:
    return free_ports(len(SERVERS))


@pytest.fixture(scope="module")
def compose(ports: list[int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    names = ("CONCORD_NATS_PORT", "CONCORD_NATS_2_PORT", "CONCORD_NATS_3_PORT")
    stack = Compose(
        tmp_path_factory.mktemp("cluster"),
        "deploy/compose/cluster.yml",
        **{name: str(port) for name, port in zip(names, ports, strict=True)},
    )
    try:
        stack("build", "--quiet")
        stack.up()
        yield stack
    finally:
        stack("down", "--volumes", "--timeout", "20")


@asynccontextmanager
async def operator_of(compose: Compose, ports: list[int]) -> AsyncIterator[People]:
    people = People(compose.operator(), ",".join(f"nats://127.0.0.1:{port}" for port in ports))
    await people.enter(OPERATOR, OPERATOR)
    try:
        yield people
    finally:
        await people.leave()


async def test_every_stream_is_on_all_three_servers(compose: Compose, ports: list[int]) -> None:
    async with operator_of(compose, ports) as people:
        nc = await people.enter(OPERATOR, OPERATOR)
        for stream in platform_streams():
            cluster = (await api(nc, f"STREAM.INFO.{stream.name}"))["cluster"]
            assert {cluster["leader"], *(each["name"] for each in cluster["replicas"])} == {
                "nats-1",
                "nats-2",
                "nats-3",
            }


async def test_any_server_may_be_lost_while_people_work(compose: Compose, ports: list[int]) -> None:
    async with operator_of(compose, ports) as people:
        await all_ready(people)
        for server in SERVERS:
            names = [f"Council of {server} {number}" for number in range(20)]
            registering = asyncio.create_task(register(people, names))
            await asyncio.to_thread(compose, "kill", server)
            await registering
            await all_ready(people)
            assert await missing(people, names) == set()
            await asyncio.to_thread(compose.up, "--no-recreate")


def test_the_servers_run_as_hardened_as_one_alone(compose: Compose) -> None:
    for container in compose.containers():
        name, host = container["Name"], container["HostConfig"]
        assert container["Config"]["User"] not in ("", "root", "0", "0:0"), name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert host["Memory"] > 0, name
