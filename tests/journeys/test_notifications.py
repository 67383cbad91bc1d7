"""A program subscribes, something happens in membership, and the program reads of it on its delivery subject."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import uuid_utils
from nats.aio.client import Client
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NothingCame

from shared import clock
from shared.contracts import cloudevent
from shared.contracts.membership import NetworkRegistered
from shared.contracts.message import Message, subject_of
from shared.contracts.notifications import ListDeliveries, Subscribe
from shared.identity import DELIVERIES
from shared.streams import api
from shared.testing.nats import NatsServer

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0


def new_id() -> str:
    return str(uuid_utils.uuid7())


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with NatsServer(tmp_path) as running:
        yield running


@pytest.fixture
def notifications(server: NatsServer, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The service as a process of its own."""
    environment = os.environ | {
        "CONCORD_NATS": server.url,
        "CONCORD_CREDENTIALS": str(server.creds("notifications", "notifications")),
        "CONCORD_STORE": f"sqlite:///{tmp_path / 'notifications.sqlite'}",
    }
    process = subprocess.Popen([sys.executable, "-m", "services.notifications.main"], cwd=ROOT, env=environment)
    yield process
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


async def ask(nc: Client, message: Message, principal: str) -> Any:
    """Sends a command or query, the same one each time, until somebody answers it."""
    payload = cloudevent.write(message, id=new_id(), source=f"/{principal}", time=clock.now())
    subject = subject_of(type(message), principal, "notifications")
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                reply = await nc.request(subject, payload, timeout=5, headers=dict(cloudevent.STRUCTURED_HEADERS))
            except NoRespondersError:
                await asyncio.sleep(0.02)  # it is still starting
            except NothingCame:
                continue  # it was killed over this one, or the server had not yet seen that it was dead
            else:
                return json.loads(reply.data)


async def happened(nc: Client, network: str, name: str) -> None:
    """Says as membership that a network was registered."""
    event = NetworkRegistered(
        network=network, name=name, reach="national", organisation=None, parent=None, office=None, umbrella=None,
        steering_group=None, steward="uma",
    )  # fmt: skip
    payload = cloudevent.write(
        event, id=new_id(), source="/concord/membership", subject=network, sequence=1, time=clock.now()
    )
    headers = dict(cloudevent.STRUCTURED_HEADERS)
    answer = await nc.request(subject_of(NetworkRegistered, network), payload, timeout=5, headers=headers)
    assert "seq" in json.loads(answer.data)


async def test_a_program_reads_what_it_subscribed_to_from_a_durable_of_its_own(
    server: NatsServer, notifications: subprocess.Popen[bytes]
) -> None:
    zoe, membership = await server.connect("subscriber", "zoe"), await server.connect("membership")
    assert (await ask(zoe, Subscribe(topic="membership"), "zoe"))["outcome"] == "done"

    names = [f"Network {number}" for number in range(20)]
    for name in names:
        await happened(membership, new_id(), name)

    own = "notifications.v1.delivery.zoe.>"
    durable = {"durable_name": "zoe", "name": "zoe", "ack_policy": "explicit", "filter_subject": own}
    body = {"stream_name": DELIVERIES, "config": durable, "action": "create"}
    await api(zoe, f"CONSUMER.CREATE.{DELIVERIES}.zoe.{own}", body)
    pull = await zoe.jetstream().pull_subscribe_bind("zoe", DELIVERIES)
    notices: list[Any] = []
    while len(notices) < len(names):
        for message in await pull.fetch(len(names), timeout=PATIENCE):
            notices.append(cloudevent.read(message.headers, message.data))
            await message.ack()
    assert [notice.sequence for notice in notices] == list(range(1, 21))
    assert [notice.data["sentence"] for notice in notices] == [f"{name} is registered as a network." for name in names]
    await all_published(zoe)


async def all_published(nc: Client) -> None:
    """The log says so a moment after the stream has confirmed: the service notes it in its next transaction."""
    async with asyncio.timeout(PATIENCE):
        while True:
            log = await ask(nc, ListDeliveries(limit=20), "zoe")
            if {line["state"] for line in log["answer"]["deliveries"]} == {"published"}:
                return
