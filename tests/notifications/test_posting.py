"""Posting to real receivers: what they get, in which order, what their answers mean, where nothing is posted."""

import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
import trustme
from standardwebhooks import Webhook as Verifier

from services.notifications.domain.webhook import Posted, Webhook
from services.notifications.posting import NotAllowed, must_be_allowed, post_in_order
from services.notifications.store import Waiting
from shared import clock
from shared.testing.ports import free_port
from shared.testing.receiver import Receiver

SECRET = "whsec_" + "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
HERE = (ip_network("127.0.0.0/8"),)


def webhook(url: str, **state: Any) -> Webhook:
    known = {"id": "a", "subscriber": "ada", "secret": SECRET, "since": datetime(2026, 3, 9, tzinfo=UTC)}
    return Webhook(url=url, posted_up_to=10, **{**known, **state})


def notices(count: int) -> list[Waiting]:
    return [Waiting(10 + n, f"notice-{n}", f'{{"specversion": "1.0", "n": {n}}}'.encode()) for n in range(1, count + 1)]


async def post(receiver: Receiver, count: int = 1, **state: Any) -> Posted:
    return await post_in_order(webhook(receiver.url, **state), notices(count), HERE)


async def test_a_receiver_gets_each_notice_once_in_order_and_can_verify_it() -> None:
    async with Receiver() as receiver:
        assert await post(receiver, 5) == Posted(up_to=15, answer="204")
    assert [each.id for each in receiver.posts] == [f"notice-{n}" for n in range(1, 6)]
    verifier = Verifier(SECRET)
    for number, each in enumerate(receiver.posts, 1):
        assert verifier.verify(each.body, dict(each.headers)) == {"specversion": "1.0", "n": number}
        assert each.headers["content-type"] == "application/cloudevents+json"
        assert each.headers["user-agent"] == "Concord"


async def test_nothing_follows_a_notice_that_was_not_taken() -> None:
    async with Receiver(answers=(200, 500, 200)) as receiver:
        came_of_it = await post(receiver, 5)
    assert (came_of_it.up_to, came_of_it.answer, len(receiver.posts)) == (11, "500", 2)
    assert 1 <= (came_of_it.pause or 0) <= 2


async def test_pauses_grow_with_the_failures_of_one_notice() -> None:
    async with Receiver(answers=(500,)) as receiver:
        assert 64 <= ((await post(receiver, failures=6)).pause or 0) <= 128
        assert 1800 <= ((await post(receiver, failures=50)).pause or 0) <= 3600
        receiver.answers = (*[500] * 2, 204, 500)
        assert ((await post(receiver, 2, failures=6)).pause or 0) <= 2  # that one fails for the first time


@pytest.mark.parametrize("status", [429, 503])
async def test_a_receiver_that_names_a_pause_has_it(status: int) -> None:
    async with Receiver(answers=(status,), headers={"Retry-After": "1200"}) as receiver:
        assert (await post(receiver)).pause == 1200
        receiver.headers = {"Retry-After": format_datetime(clock.now() + timedelta(seconds=600), usegmt=True)}
        assert 590 <= ((await post(receiver)).pause or 0) <= 600


@pytest.mark.parametrize("nonsense", ["soon", "-5", "", "1e3"])
async def test_a_pause_that_cannot_be_understood_is_passed_over(nonsense: str) -> None:
    async with Receiver(answers=(503,), headers={"Retry-After": nonsense}) as receiver:
        assert ((await post(receiver)).pause or 0) <= 2


async def test_nobody_is_put_off_for_more_than_a_day() -> None:
    for asked in ("9" * 40, format_datetime(datetime(2999, 1, 1, tzinfo=UTC), usegmt=True)):
        async with Receiver(answers=(503,), headers={"Retry-After": asked}) as receiver:
            assert (await post(receiver)).pause == timedelta(days=1).total_seconds()


async def test_a_receiver_that_is_gone_stops_it() -> None:
    async with Receiver(answers=(200, 410)) as receiver:
        assert await post(receiver, 3) == Posted(up_to=11, answer="410", stop="gone")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_failure_and_is_not_followed(status: int) -> None:
    async with Receiver() as elsewhere, Receiver(answers=(status,), headers={"Location": elsewhere.url}) as receiver:
        came_of_it = await post(receiver)
    assert (came_of_it.up_to, came_of_it.answer) == (10, f"{status}, a redirect, which is not followed")
    assert elsewhere.posts == []


async def test_nobody_there_is_a_failure() -> None:
    came_of_it = await post_in_order(webhook(f"http://127.0.0.1:{free_port()}/"), notices(1), HERE)
    assert (came_of_it.up_to, came_of_it.answer, came_of_it.stop) == (10, "no connection", None)


async def test_a_name_that_nobody_knows_is_a_failure() -> None:
    came_of_it = await post_in_order(webhook("https://nobody.invalid/"), notices(1), HERE)
    assert (came_of_it.answer, came_of_it.stop) == ("its name is not known", None)
    assert came_of_it.pause


async def test_a_receiver_that_takes_its_time_is_not_waited_for_for_ever() -> None:
    async with Receiver(delay=5) as receiver:
        came_of_it = await post_in_order(webhook(receiver.url), notices(1), HERE, within=0.2)
    assert (came_of_it.up_to, came_of_it.answer) == (10, "no answer in time")


async def test_a_certificate_that_nobody_vouches_for_is_a_failure() -> None:
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(secure)
    async with Receiver(secure=secure) as receiver:
        assert (await post(receiver)).answer == "its certificate is not valid"
    assert receiver.posts == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://0.0.0.0:{port}/",
    ],
)
async def test_nothing_is_posted_to_a_private_address_by_whatever_name(url: str) -> None:
    async with Receiver() as receiver:
        came_of_it = await post_in_order(webhook(url.format(port=receiver.port)), notices(1), ())
    assert (came_of_it.stop, came_of_it.up_to) == ("not-allowed", 10)
    assert came_of_it.answer == "its address is private, and no network that may be posted into"
    assert receiver.posts == []


PRIVATE = [
    "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "169.254.169.254",  # noqa: S104  not listened on
    "100.64.0.1", "224.0.0.1",
    "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "fd12:3456::1", "ff02::1", "::ffff:10.0.0.1",
    "64:ff9b::a00:1", "2002:a00:1::", "2001:0:a00:1::", "2001:db8::1", "192.0.2.1", "198.18.0.1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_on_the_public_internet_are_private(address: str) -> None:
    with pytest.raises(NotAllowed, match="private"):
        must_be_allowed(ip_address(address), (), secure=True)


@pytest.mark.parametrize("address", ["1.1.1.1", "51.140.1.1", "2606:4700::1111", "2a00:1450::1"])
def test_public_addresses_are_posted_to_over_https_alone(address: str) -> None:
    must_be_allowed(ip_address(address), (), secure=True)
    with pytest.raises(NotAllowed, match="https"):
        must_be_allowed(ip_address(address), (), secure=False)


def test_the_operator_may_open_private_networks_over_http_too() -> None:
    networks = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd12::1"):
        must_be_allowed(ip_address(address), networks, secure=False)
    with pytest.raises(NotAllowed):
        must_be_allowed(ip_address("192.168.1.1"), networks, secure=True)
