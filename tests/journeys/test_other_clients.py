"""Concord speaks plain NATS and CloudEvents: a client that is not ours, in another language, gets along with it."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.people import People
from shared.contracts import cloudevent
from shared.contracts.membership import NetworkRegistered, RegisterOrganisation
from shared.contracts.notifications import Notice
from shared.identity import DELIVERIES
from shared.streams import api

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[2]
NODE_MODULES = ROOT / "build" / "node" / "node_modules"
PROGRAM = ROOT / "tests" / "deploy" / "node" / "subscriber.mjs"


async def test_a_client_in_node_sends_commands_and_reads_a_notice_from_its_durable(people: People) -> None:
    if shutil.which("node") is None:
        pytest.skip("Node is not on this machine: no client but our own is tried")
    if not (NODE_MODULES / "@nats-io" / "transport-node").is_dir():
        pytest.skip("the npm packages are not installed (run `make node`): @nats-io/transport-node is missing")
    await people.enter("zoe", "subscriber")
    await people.enter("mia")
    home = await people.make("operator", RegisterOrganisation(key="leeds", name="Leeds City Council", type="council"))
    creds = [people.credentials(principal) for principal in ("zoe", "mia")]
    command = ["node", PROGRAM, NODE_MODULES, people.url, *creds, home]
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)

    assert said["subscribed"]["outcome"] == "done"
    assert said["registered"]["done"]["events"] == [NetworkRegistered.wire.name]
    heard = said["heard"]
    assert heard["subject"] == "notifications.v1.delivery.zoe.membership"
    read = cloudevent.read({"content-type": heard["contentType"]}, json.dumps(heard["message"]).encode())
    assert isinstance(read, cloudevent.Envelope)
    notice = cloudevent.parse(read, Notice)
    assert isinstance(notice, Notice)
    assert notice.sentence == "Leeds staff network is registered as a network."
    assert notice.about == said["registered"]["done"]["id"]
    assert notice.why

    durable = await api(people.connection("zoe"), f"CONSUMER.INFO.{DELIVERIES}.zoe")
    assert (durable["num_ack_pending"], durable["num_pending"]) == (0, 0)
