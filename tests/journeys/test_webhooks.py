"""A program is posted what it is told, by the real service: in order, signed, and whatever becomes of either side."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from standardwebhooks import Webhook as Verifier

from shared.contracts.notifications import (
    ListWebhooks,
    RegisterWebhook,
    ResumeWebhook,
    ShowWebhookSecret,
    Subscribe,
)
from shared.testing.nats import NatsServer
from shared.testing.receiver import Receiver
from tests.journeys.test_notifications import ask, happened, new_id

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0


class Notifications:
    """The service as a process of its own, on one store."""

    def __init__(self, server: NatsServer, directory: Path) -> None:
        self._environment = os.environ | {
            "CONCORD_NATS": server.url,
            "CONCORD_CREDENTIALS": str(server.creds("notifications", "notifications")),
            "CONCORD_STORE": f"sqlite:///{directory / 'notifications.sqlite'}",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, networks: str = "127.0.0.0/8") -> None:
        environment = self._environment | {"CONCORD_WEBHOOK_NETWORKS": networks}
        command = [sys.executable, "-m", "services.notifications.main"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment)

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(PATIENCE) == 0

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with NatsServer(tmp_path) as running:
        yield running


@pytest.fixture
def notifications(server: NatsServer, tmp_path: Path) -> Iterator[Notifications]:
    service = Notifications(server, tmp_path)
    yield service
    service.kill()


async def enter(server: NatsServer, name: str, receiver: Receiver) -> tuple[Client, str]:
    """Somebody who subscribes to everything of membership and has it posted; with the id of the webhook."""
    nc = await server.connect("subscriber", name)
    assert (await ask(nc, Subscribe(topic="membership"), name))["outcome"] == "done"
    return nc, (await ask(nc, RegisterWebhook(url=receiver.url), name))["done"]["id"]


async def happen(server: NatsServer, count: int) -> list[str]:
    """Networks are registered; their names."""
    membership = await server.connect("membership")
    names = [f"Network {number}" for number in range(count)]
    for name in names:
        await happened(membership, new_id(), name)
    return names


async def webhooks(nc: Client, name: str) -> Any:
    return (await ask(nc, ListWebhooks(), name))["answer"]["webhooks"]


async def until(nc: Client, name: str, **state: Any) -> dict[str, Any]:
    """The webhook of somebody, once it is so."""
    async with asyncio.timeout(PATIENCE):
        while True:
            [found] = await webhooks(nc, name)
            if {field: found[field] for field in state} == state:
                return dict(found)
            await asyncio.sleep(0.05)


async def test_a_program_is_posted_what_its_delivery_subject_says_and_can_verify_it(
    server: NatsServer, notifications: Notifications
) -> None:
    notifications.start()
    async with Receiver() as receiver:
        zoe, hook = await enter(server, "zoe", receiver)
        delivered = await zoe.subscribe("notifications.v1.delivery.zoe.>")
        names = await happen(server, 20)
        await receiver.until(20)
        on_subject = [(await delivered.next_msg(PATIENCE)).data for _ in names]
        verifier = Verifier((await ask(zoe, ShowWebhookSecret(webhook=hook), "zoe"))["answer"]["secret"])
        posted = [verifier.verify(post.body, dict(post.headers)) for post in receiver.posts]
        assert [post.body for post in receiver.posts] == on_subject
        assert [event["id"] for event in posted] == [post.id for post in receiver.posts]
        assert [event["sequence"] for event in posted] == list(range(1, 21))
        assert [event["data"]["sentence"] for event in posted] == [
            f"{name} is registered as a network." for name in names
        ]
        assert (await until(zoe, "zoe", after=20))["waiting"] == 0


async def test_a_kill_loses_no_post_and_puts_none_out_of_order(
    server: NatsServer, notifications: Notifications
) -> None:
    notifications.start()
    async with Receiver(delay=1) as receiver:
        zoe, _ = await enter(server, "zoe", receiver)
        await happen(server, 60)
        receiver.delay = 0.02  # from now on, so that there is something left to be posted
        for _ in range(2):
            await receiver.until(len(receiver.posts) + 10)
            notifications.kill()
            notifications.start()
        await until(zoe, "zoe", after=60)
    sequences = [json.loads(post.body)["sequence"] for post in receiver.posts]
    assert list(dict.fromkeys(sequences)) == list(range(1, 61))
    assert len({post.id for post in receiver.posts}) == 60


async def test_a_clean_stop_posts_nothing_twice(server: NatsServer, notifications: Notifications) -> None:
    notifications.start()
    async with Receiver(delay=1) as receiver:
        zoe, _ = await enter(server, "zoe", receiver)
        await happen(server, 60)
        receiver.delay = 0.02  # from now on, so that there is something left to be posted
        for _ in range(2):
            await receiver.until(len(receiver.posts) + 10)
            await asyncio.to_thread(notifications.stop)
            notifications.start()
        await until(zoe, "zoe", after=60)
    assert [json.loads(post.body)["sequence"] for post in receiver.posts] == list(range(1, 61))


async def test_a_receiver_that_is_slow_or_away_holds_up_nobody_else(
    server: NatsServer, notifications: Notifications
) -> None:
    notifications.start()
    async with Receiver(delay=PATIENCE) as slow, Receiver(answers=(500,)) as broken, Receiver() as quick:
        await enter(server, "ada", slow)
        ben, _ = await enter(server, "ben", broken)
        zoe, _ = await enter(server, "zoe", quick)
        await happen(server, 30)
        await until(zoe, "zoe", after=30)
        assert len(slow.posts) == 1
        failing = await until(ben, "ben", status=500)
        assert (failing["after"], failing["waiting"], failing["stopped"]) == (0, 30, None)
        assert failing["next_attempt_at"] is not None


async def test_posting_goes_on_once_a_receiver_is_back(server: NatsServer, notifications: Notifications) -> None:
    notifications.start()
    async with Receiver(answers=(503, 503, 204)) as receiver:
        zoe, _ = await enter(server, "zoe", receiver)
        await happen(server, 5)
        await until(zoe, "zoe", after=5)
    ids = [post.id for post in receiver.posts]
    assert ids[0] == ids[1] == ids[2]
    assert len(set(ids)) == 5


async def test_what_is_gone_stops_and_goes_on_when_it_is_resumed(
    server: NatsServer, notifications: Notifications
) -> None:
    notifications.start()
    async with Receiver(answers=(410, 204)) as receiver:
        zoe, hook = await enter(server, "zoe", receiver)
        await happen(server, 3)
        await until(zoe, "zoe", stopped="gone")
        assert (await ask(zoe, ResumeWebhook(webhook=hook), "zoe"))["done"]["events"] == ["webhook-resumed"]
        await until(zoe, "zoe", after=3, stopped=None)
        await ask(zoe, ResumeWebhook(webhook=hook, after=1), "zoe")
        await receiver.until(6)
    assert [json.loads(post.body)["sequence"] for post in receiver.posts] == [1, 1, 2, 3, 2, 3]


async def test_nothing_is_posted_into_a_network_that_the_operator_did_not_allow(
    server: NatsServer, notifications: Notifications
) -> None:
    notifications.start(networks="")
    async with Receiver() as receiver:
        zoe, _ = await enter(server, "zoe", receiver)
        await happen(server, 1)
        stopped = await until(zoe, "zoe", stopped="not-allowed")
    assert stopped["trouble"] == "its address is private, and in no network that the operator allows"
    assert receiver.posts == []
