"""What the NATS server itself lets each role say and hear; every refusal stands beside what is allowed."""

import asyncio
import base64
import json
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client, RawCredentials
from nats.aio.msg import Msg

from shared.broker import Connection, NotAdmitted, NotPermitted, connect, request
from shared.contracts.message import REGISTER, Command, Query, contracts, subject_of
from shared.identity import SERVICES, IdentityError, Keys, inbox_prefix, may_be_answered, write_creds
from shared.streams import ApiError, api, durables, platform_streams, reconcile
from shared.testing.nats import NatsServer


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with NatsServer(tmp_path) as running:
        yield running


async def may_publish(nc: Connection, subject: str, reply: str = "") -> bool:
    forbidden = asyncio.create_task(nc.forbidden(subject))
    await asyncio.sleep(0)
    await nc.publish(subject, b"{}", reply=reply)
    await nc.flush()  # the server answers in order: a refusal comes before the answer to this
    return not await _happened(forbidden)


async def may_subscribe(nc: Connection, subject: str) -> bool:
    forbidden = asyncio.create_task(nc.forbidden(subject))
    await asyncio.sleep(0)
    await nc.subscribe(subject)
    await nc.flush()
    return not await _happened(forbidden)


async def _happened(event: "asyncio.Task[None]") -> bool:
    await asyncio.sleep(0)
    if event.done():
        return True
    event.cancel()
    return False


async def answers(service: Connection, subject: str) -> None:
    async def answer(message: Msg) -> None:
        await message.respond(b"done")

    await service.subscribe(subject, queue=service.principal, cb=answer)
    await service.flush()


async def pulled(nc: Connection, stream: str, durable: str) -> Msg:
    inbox = nc.new_inbox()
    subscription = await nc.subscribe(inbox)
    await nc.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}", b'{"batch":1}', reply=inbox)
    return await subscription.next_msg(timeout=5)


async def test_a_member_sends_commands_and_queries_under_its_own_name_only(server: NatsServer) -> None:
    alice = await server.connect("member", "alice")
    assert await may_publish(alice, "membership.v1.command.appoint-steering-member.alice")
    assert await may_publish(alice, "events.v1.query.list-meetings.alice")
    assert not await may_publish(alice, "membership.v1.command.appoint-steering-member.bob")
    assert not await may_publish(alice, "events.v1.query.list-meetings.bob")


async def test_a_command_is_answered_to_the_inbox_of_whoever_sent_it(server: NatsServer) -> None:
    await answers(await server.connect("membership"), "membership.v1.command.*.*")
    alice = await server.connect("member", "Alice_2")
    answer = await request(alice, "membership.v1.command.appoint-steering-member.Alice_2", b"{}")
    assert answer.data == b"done"


async def test_nobody_reads_the_inbox_of_another(server: NatsServer) -> None:
    for role, name in [
        ("member", "alice"),
        ("operator", "olga"),
        ("publisher", "payroll"),
        ("subscriber", "screen"),
        ("events", "events"),
    ]:
        nc = await server.connect(role, name)
        assert await may_subscribe(nc, f"{inbox_prefix(name)}.*.*")
        assert not await may_subscribe(nc, f"{inbox_prefix('bob')}.>")
        assert not await may_subscribe(nc, "_INBOX.>")
        assert not await may_subscribe(nc, "_INBOX.*.*")
        assert not await may_subscribe(nc, ">")


async def test_a_service_publishes_its_own_events_only(server: NatsServer) -> None:
    await reconcile(await server.connect("events"), platform_streams(), [])
    for service in SERVICES:
        nc = await server.connect(service)
        for owner in SERVICES:
            allowed = await may_publish(nc, f"{owner}.v1.event.something-happened.1")
            assert allowed is (owner == service)


async def test_only_notifications_publishes_deliveries(server: NatsServer) -> None:
    assert await may_publish(await server.connect("notifications"), "notifications.v1.delivery.screen.meetings")
    assert not await may_publish(await server.connect("events"), "notifications.v1.delivery.screen.meetings")


async def test_a_service_hears_its_own_commands_and_queries_only(server: NatsServer) -> None:
    membership = await server.connect("membership")
    assert await may_subscribe(membership, "membership.v1.command.*.*")
    assert await may_subscribe(membership, "membership.v1.query.*.*")
    assert not await may_subscribe(membership, "events.v1.command.*.*")
    assert not await may_subscribe(membership, "*.v1.query.*.*")


async def test_a_service_sends_no_commands_not_even_to_itself(server: NatsServer) -> None:
    events = await server.connect("events")
    assert not await may_publish(events, "membership.v1.command.appoint-steering-member.events")
    assert not await may_publish(events, "events.v1.command.book-meeting.events")


async def test_processes_of_one_service_wake_each_other_and_nobody_else(server: NatsServer) -> None:
    events = await server.connect("events")
    assert await may_subscribe(events, "events.v1.wake")
    assert await may_publish(events, "events.v1.wake")
    assert not await may_publish(events, "membership.v1.wake")


async def test_a_publisher_publishes_under_its_own_name_only(server: NatsServer) -> None:
    payroll = await server.connect("publisher", "payroll")
    assert await may_publish(payroll, "inbound.v1.payroll.staff-joined")
    assert not await may_publish(payroll, "inbound.v1.training.staff-joined")
    assert not await may_publish(payroll, "membership.v1.command.appoint-steering-member.payroll")
    assert not await may_publish(payroll, "membership.v1.event.something-happened.1")


async def test_a_publisher_hears_what_was_refused_of_its_own_messages_only(server: NatsServer) -> None:
    payroll = await server.connect("publisher", "payroll")
    assert await may_subscribe(payroll, "inbound-refused.v1.payroll")
    assert not await may_subscribe(payroll, "inbound-refused.v1.training")
    assert not await may_subscribe(payroll, "inbound.v1.payroll.>")
    assert await may_publish(await server.connect("membership"), "inbound-refused.v1.payroll")
    assert not await may_publish(payroll, "inbound-refused.v1.payroll")


async def test_nobody_gets_in_without_credentials(server: NatsServer) -> None:
    for options in ({}, {"user": "operator", "password": "operator"}, {"token": "operator"}):
        await not_admitted(server.url, **options)
    alice = await connect([server.url], server.creds("member", "alice"), patience=5)
    await alice.close()


async def test_nobody_gets_in_with_keys_of_another_platform(server: NatsServer, tmp_path: Path) -> None:
    forged = tmp_path / "forged.creds"
    write_creds(forged, Keys.create(tmp_path / "other keys").issue("operator", "operator"))
    with pytest.raises(NotAdmitted, match="does not accept the credentials of operator"):
        await connect([server.url], forged, patience=5)


async def test_a_stolen_jwt_is_worth_nothing_without_its_key(server: NatsServer) -> None:
    stolen = server.keys.issue("operator", "operator").split("-----BEGIN USER NKEY SEED")[0]
    own = server.keys.issue("member", "alice").split("-----BEGIN USER NKEY SEED")[1]
    creds = RawCredentials(f"{stolen}-----BEGIN USER NKEY SEED{own}")
    await not_admitted(server.url, user_credentials=creds)


async def not_admitted(url: str, **options: Any) -> None:
    async def ignore(error: Exception) -> None:
        """It is raised as well."""

    nc = Client()
    with pytest.raises(nats.errors.Error, match=r"(?i)authorization violation"):
        await nc.connect(url, allow_reconnect=False, error_cb=ignore, **options)
    await nc.close()


async def test_commands_and_queries_for_operators_are_closed_to_members_and_subscribers(server: NatsServer) -> None:
    alice = await server.connect("member", "alice")
    screen = await server.connect("subscriber", "screen")
    olga = await server.connect("operator", "olga")
    asked = [c for c in [*contracts("command"), *contracts("query")] if issubclass(c, Command | Query)]
    closed = [contract for contract in asked if contract.roles == ("operator",)]
    assert "replay-dead-letter" in {contract.wire.name for contract in closed}
    for contract in closed:
        services = SERVICES if contract.wire.owner == "platform" else [contract.wire.owner]
        for service in services:
            assert await may_publish(olga, subject_of(contract, "olga", service))
            assert not await may_publish(alice, subject_of(contract, "alice", service))
            assert not await may_publish(screen, subject_of(contract, "screen", service))


async def test_a_request_for_operators_is_refused_to_a_member_with_a_sentence(server: NatsServer) -> None:
    await answers(await server.connect("membership"), "membership.v1.command.*.*")
    subject = "membership.v1.command.replay-dead-letter"
    assert (await request(await server.connect("operator", "olga"), f"{subject}.olga")).data == b"done"
    with pytest.raises(NotPermitted, match=f"Not permitted: alice may not publish to {subject}.alice."):
        await request(await server.connect("member", "alice"), f"{subject}.alice")


@pytest.fixture
def new_contract() -> Iterator[Callable[[], type[Command]]]:
    def declare() -> type[Command]:
        class CloseTheHouse(Command):
            """Made after the platform was started."""

            roles = ("operator",)

        return CloseTheHouse

    yield declare
    del REGISTER["concord.test_identity.close-the-house.v1"]


async def test_permissions_follow_the_contracts_at_the_next_start_without_new_credentials(
    server: NatsServer, new_contract: Callable[[], type[Command]]
) -> None:
    alice = await server.connect("member", "alice")
    assert await may_publish(alice, "test_identity.v1.command.close-the-house.alice")
    new_contract()
    server.restart()
    alice = await server.connect("member", "alice")
    assert not await may_publish(alice, "test_identity.v1.command.close-the-house.alice")


async def test_an_operator_watches_events_deliveries_and_refusals(server: NatsServer) -> None:
    olga = await server.connect("operator", "olga")
    for subject in ("*.v1.event.>", "inbound-refused.v1.>", "notifications.v1.delivery.>"):
        assert await may_subscribe(olga, subject)
    assert not await may_subscribe(olga, "inbound.v1.>")  # what others publish may concern a person


async def test_an_operator_reads_streams_and_changes_none(server: NatsServer) -> None:
    await reconcile(await server.connect("events"), platform_streams(), durables("events", ["membership"]))
    olga = await server.connect("operator", "olga")
    assert (await api(olga, "STREAM.INFO.EVENTS"))["config"]["name"] == "EVENTS"
    assert (await api(olga, "CONSUMER.INFO.MEMBERSHIP.events"))["name"] == "events"
    for change in ("STREAM.DELETE.EVENTS", "STREAM.PURGE.EVENTS", "STREAM.UPDATE.EVENTS"):
        assert not await may_publish(olga, f"$JS.API.{change}")
    assert not await may_publish(olga, "$JS.API.CONSUMER.MSG.NEXT.MEMBERSHIP.events")


async def test_a_service_pulls_and_acknowledges_with_its_own_durable_only(server: NatsServer) -> None:
    membership, events = await server.connect("membership"), await server.connect("events")
    await reconcile(membership, platform_streams(), [])
    await reconcile(events, [], durables("events", ["membership"]))
    await membership.request("membership.v1.event.something-happened.1", b"{}")
    message = await pulled(events, "MEMBERSHIP", "events")
    await message.ack_sync()
    assert (await api(events, "CONSUMER.INFO.MEMBERSHIP.events"))["ack_floor"]["stream_seq"] == 1
    benchmark = await server.connect("benchmark")
    assert not await may_publish(benchmark, "$JS.API.CONSUMER.MSG.NEXT.MEMBERSHIP.events")
    assert not await may_publish(benchmark, message.reply)


# ---- subscribers -------------------------------------------------------------------------------------------------

DELIVERED_TO = "notifications.v1.delivery"


def own_durable(principal: str, **changes: object) -> dict[str, object]:
    config: dict[str, object] = {
        "name": principal,
        "durable_name": principal,
        "ack_policy": "explicit",
        "deliver_policy": "all",
    }
    config |= {"filter_subject": f"{DELIVERED_TO}.{principal}.>", **changes}
    return {"stream_name": "DELIVERIES", "config": config}


@pytest.fixture(params=["subscriber", "member"])
async def screen(server: NatsServer, request: pytest.FixtureRequest) -> Connection:
    """Who may subscribe, by either role; a delivery for it and one for another lie in the stream."""
    notifications = await server.connect("notifications")
    await reconcile(notifications, platform_streams(), [])
    for name in ("other", "screen"):
        await notifications.request(f"{DELIVERED_TO}.{name}.meetings", name.encode())
    return await server.connect(request.param, "screen")


async def test_a_subscriber_consumes_its_own_deliveries_through_its_own_durable(screen: Connection) -> None:
    await api(screen, f"CONSUMER.CREATE.DELIVERIES.screen.{DELIVERED_TO}.screen.>", own_durable("screen"))
    message = await pulled(screen, "DELIVERIES", "screen")
    assert message.data == b"screen"
    await message.ack_sync()
    assert (await api(screen, "CONSUMER.INFO.DELIVERIES.screen"))["num_pending"] == 0
    await api(screen, "CONSUMER.DELETE.DELIVERIES.screen")


async def test_an_ordinary_client_library_consumes_deliveries(screen: Connection) -> None:
    js = screen.jetstream()
    config = nats.js.api.ConsumerConfig(name="screen", filter_subject=f"{DELIVERED_TO}.screen.>")
    await js.add_consumer("DELIVERIES", config, durable_name="screen")
    subscription = await js.pull_subscribe_bind("screen", "DELIVERIES")
    [message] = await subscription.fetch(1, timeout=5)
    assert message.data == b"screen"
    await message.ack_sync()


@pytest.mark.parametrize(
    "changes",
    [
        {"filter_subject": f"{DELIVERED_TO}.other.>"},
        {"filter_subject": f"{DELIVERED_TO}.>"},
        {"filter_subject": "", "filter_subjects": [f"{DELIVERED_TO}.other.>"]},
        {"filter_subjects": [f"{DELIVERED_TO}.other.>"]},
        {"filter_subject": ""},
        {"durable_name": "other", "name": "other"},
    ],
)
async def test_a_subscriber_cannot_ask_for_more_in_the_body_than_in_the_subject(
    screen: Connection, changes: dict[str, object]
) -> None:
    with pytest.raises(ApiError):
        await api(
            screen, f"CONSUMER.CREATE.DELIVERIES.screen.{DELIVERED_TO}.screen.>", own_durable("screen", **changes)
        )


async def test_a_subscriber_cannot_turn_to_another_stream(screen: Connection) -> None:
    body = {**own_durable("screen"), "stream_name": "MEMBERSHIP"}
    with pytest.raises(ApiError):
        await api(screen, f"CONSUMER.CREATE.DELIVERIES.screen.{DELIVERED_TO}.screen.>", body)


async def test_a_subscriber_gets_nothing_of_another(screen: Connection) -> None:
    for request_ in (
        "CONSUMER.CREATE.DELIVERIES",
        "CONSUMER.CREATE.DELIVERIES.screen",
        f"CONSUMER.CREATE.DELIVERIES.screen.{DELIVERED_TO}.other.>",
        f"CONSUMER.CREATE.DELIVERIES.screen.{DELIVERED_TO}.>",
        f"CONSUMER.CREATE.DELIVERIES.other.{DELIVERED_TO}.other.>",
        "CONSUMER.DURABLE.CREATE.DELIVERIES.screen",
        "CONSUMER.MSG.NEXT.DELIVERIES.other",
        "CONSUMER.INFO.DELIVERIES.other",
        "CONSUMER.DELETE.DELIVERIES.other",
        "CONSUMER.LIST.DELIVERIES",
        "STREAM.MSG.GET.DELIVERIES",
        "DIRECT.GET.DELIVERIES",
        f"DIRECT.GET.DELIVERIES.{DELIVERED_TO}.other.meetings",
        "STREAM.INFO.DELIVERIES",
    ):
        assert not await may_publish(screen, f"$JS.API.{request_}")
    assert not await may_publish(screen, "$JS.ACK.DELIVERIES.other.1.1.1.1.0")
    assert await may_subscribe(screen, f"{DELIVERED_TO}.screen.>")
    assert not await may_subscribe(screen, f"{DELIVERED_TO}.other.>")
    assert not await may_subscribe(screen, f"{DELIVERED_TO}.>")


async def test_a_subscriber_sends_commands_to_notifications_alone(server: NatsServer) -> None:
    screen = await server.connect("subscriber", "screen")
    assert await may_publish(screen, "notifications.v1.command.subscribe.screen")
    assert await may_publish(screen, "notifications.v1.query.list-subscriptions.screen")
    assert not await may_publish(screen, "notifications.v1.command.subscribe.other")
    assert not await may_publish(screen, "membership.v1.command.appoint-steering-member.screen")


# ---- replies -----------------------------------------------------------------------------------------------------


async def test_a_reply_gets_through_however_late_it_is(server: NatsServer) -> None:
    """A restart forgets what a server grants for a single request, just as time does; a standing permission holds."""
    membership = await server.connect("membership")
    requests: asyncio.Queue[Msg] = asyncio.Queue()
    await membership.subscribe("membership.v1.command.*.*", cb=requests.put)
    await membership.flush()
    alice = await server.connect("member", "alice")
    waiting = asyncio.create_task(alice.request("membership.v1.command.appoint-steering-member.alice", timeout=30))
    held = await requests.get()
    server.restart()
    async with asyncio.timeout(20):
        while not (await _connected(alice) and await _connected(membership)):  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0.05)
    await held.respond(b"done, after all")
    assert (await waiting).data == b"done, after all"


async def _connected(nc: Connection) -> bool:
    if not nc.is_connected:
        return False
    try:
        await nc.flush(timeout=1)
    except nats.errors.Error:
        return False
    return True


async def test_a_caller_cannot_have_a_service_publish_under_the_name_of_another(server: NatsServer) -> None:
    membership = await server.connect("membership")
    requests: asyncio.Queue[Msg] = asyncio.Queue()
    await membership.subscribe("membership.v1.command.*.*", cb=requests.put)
    await membership.flush()
    alice = await server.connect("member", "alice")
    for reply in ("inbound.v1.payroll.staff-joined", "events.v1.command.book-meeting.bob", "events.v1.event.x.1"):
        await alice.publish("membership.v1.command.appoint-steering-member.alice", b"{}", reply=reply)
        asked = await requests.get()
        assert asked.reply == reply
        assert not await may_publish(membership, asked.reply)


def test_a_service_answers_to_inboxes_of_the_caller_only() -> None:
    assert may_be_answered("alice", "_INBOX.alice.x.y")
    assert not may_be_answered("alice", "_INBOX.bob.x.y")
    assert not may_be_answered("alice", "_INBOX.alice2.x")
    assert not may_be_answered("alice", "membership.v1.event.network-registered.1")
    assert not may_be_answered("alice", "")


# ---- keys --------------------------------------------------------------------------------------------------------


def test_keys_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    Keys.create(tmp_path / "keys")
    before = {path.name: path.read_text() for path in (tmp_path / "keys").iterdir()}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").iterdir()} == {0o600}
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    Keys.create(tmp_path / "keys")
    assert {path.name: path.read_text() for path in (tmp_path / "keys").iterdir()} == before


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    Keys.create(tmp_path)
    (tmp_path / "role-member.nk").unlink()
    with pytest.raises(IdentityError, match=r"There is no key .*role-member\.nk"):
        Keys.load(tmp_path)


def test_a_damaged_key_is_named(tmp_path: Path) -> None:
    Keys.create(tmp_path)
    (tmp_path / "account.nk").write_text("SAAB")
    with pytest.raises(IdentityError, match=r"The key .*account\.nk cannot be read"):
        Keys.load(tmp_path)


def test_credentials_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "creds" / "alice.creds"
    for _ in range(2):
        write_creds(path, Keys.create(tmp_path / "keys").issue("member", "alice"))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["", "a.b", "a b", "*", ">", "-a", "_a", "é", "a" * 64, "a\n"])
def test_a_name_that_is_not_one_word_of_a_subject_gets_no_credentials(tmp_path: Path, name: str) -> None:
    with pytest.raises(IdentityError, match="cannot be the name of a principal"):
        Keys.create(tmp_path).issue("member", name)


def test_nobody_else_is_named_like_a_service_and_a_service_like_nothing_else(tmp_path: Path) -> None:
    keys = Keys.create(tmp_path)
    for role, name in [("member", "membership"), ("operator", "events"), ("events", "membership"), ("events", "alice")]:
        with pytest.raises(IdentityError, match="a service has the role of its own name"):
            keys.issue(role, name)


def test_nobody_but_an_operator_is_named_operator(tmp_path: Path) -> None:
    keys = Keys.create(tmp_path)
    for role in ("member", "publisher", "subscriber"):
        with pytest.raises(IdentityError, match="the local stack is run with the credentials of that name"):
            keys.issue(role, "operator")
    assert keys.holder(keys.issue("operator", "operator")) == ("operator", "operator")
    assert keys.holder(keys.issue("operator", "olga")) == ("olga", "operator")


def test_whose_credentials_they_are_is_known_only_of_our_own(tmp_path: Path) -> None:
    keys, others = Keys.create(tmp_path / "keys"), Keys.create(tmp_path / "others")
    assert keys.holder(keys.issue("member", "alice")) == ("alice", "member")
    for strange in (
        others.issue("member", "alice"),
        "",
        "BEGIN NATS USER JWT----- a.!.c",
        "BEGIN NATS USER JWT----- a.W10.c",
    ):
        assert keys.holder(strange) is None


def test_an_unknown_role_is_answered_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="There is no role 'admin': the roles are membership, events"):
        Keys.create(tmp_path).issue("admin", "alice")


def test_the_account_allows_no_bearer_tokens(tmp_path: Path) -> None:
    claims = json.loads(_decoded(Keys.create(tmp_path).account_jwt()))
    assert claims["nats"]["limits"]["disallow_bearer"] is True


def _decoded(jwt: str) -> bytes:
    part = jwt.split(".")[1]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
