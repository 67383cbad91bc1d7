"""Posting to real receivers: what they get, in which order, what their answers mean, where nothing is posted."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import trustme
from standardwebhooks import Webhook as Verifier

from services.notifications.domain.webhook import Posted, Webhook
from services.notifications.posting import NotAllowed, must_be_allowed, post_in_order, trusted
from services.notifications.store import ToPost, Waiting
from shared import clock
from shared.contracts.notifications import RegisterWebhook
from shared.testing.ports import free_port
from shared.testing.receiver import Receiver, path_of

SECRET = "whsec_" + "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
HERE = (ip_network("127.0.0.0/8"),)


def webhook(url: str, **state: Any) -> Webhook:
    known = {"id": "a", "subscriber": "ada", "secret": SECRET, "since": datetime(2026, 3, 9, tzinfo=UTC)}
    return Webhook(url=url, after=10, last=15, **{**known, **state})


def notices(count: int) -> list[Waiting]:
    return [Waiting(10 + n, f"notice-{n}", f'{{"specversion": "1.0", "n": {n}}}'.encode()) for n in range(1, count + 1)]


def to_post(hook: Webhook, count: int = 1) -> ToPost:
    return ToPost(hook, notices(count))


async def post(receiver: Receiver, count: int = 1, **state: Any) -> Posted:
    return await post_in_order(to_post(webhook(receiver.url, **state), count), HERE)


async def trouble(url: str, networks: Any = HERE, within: float = 15) -> tuple[str | None, str | None]:
    """What is wrong with an address, and whether that is for good."""
    came_of_it = await post_in_order(to_post(webhook(url)), networks, within)
    assert (came_of_it.up_to, came_of_it.status) == (10, None)
    return came_of_it.trouble, came_of_it.stop


async def test_a_receiver_gets_each_notice_once_in_order_and_can_verify_it() -> None:
    async with Receiver() as receiver:
        came_of_it = await post(receiver, 5)
    assert (came_of_it.up_to, came_of_it.status, came_of_it.trouble) == (15, 204, None)
    assert [each.id for each in receiver.posts] == [f"notice-{n}" for n in range(1, 6)]
    verifier = Verifier(SECRET)
    for number, each in enumerate(receiver.posts, 1):
        assert verifier.verify(each.body, dict(each.headers)) == {"specversion": "1.0", "n": number}
        assert each.headers["content-type"] == "application/cloudevents+json"
        assert each.headers["user-agent"] == "Concord"
    assert len({each.connection for each in receiver.posts}) == 1


@pytest.mark.parametrize("path", ["/", "/hook?a=1", "/%41%2f%7E?x=%7E&sig=%3D%2B%2f", "/a'b?c[1]|=%27", "?only=query"])
async def test_the_address_is_posted_to_as_it_was_registered(path: str) -> None:
    async with Receiver() as receiver:
        registered = str(RegisterWebhook(url=receiver.url.removesuffix("/hook") + path).url)
        await post_in_order(to_post(webhook(registered)), HERE)
    [each] = receiver.posts
    assert each.path == path_of(registered)


async def test_nothing_follows_a_notice_that_was_not_taken() -> None:
    async with Receiver(answers=(200, 500, 200)) as receiver:
        came_of_it = await post(receiver, 5)
    assert (came_of_it.up_to, came_of_it.status, len(receiver.posts)) == (11, 500, 2)
    assert (came_of_it.trouble, came_of_it.stop, came_of_it.asked) == ("it was not taken", None, 0)
    assert 0 <= came_of_it.chance < 1


async def test_what_is_kept_no_longer_is_passed_over_and_told() -> None:
    async with Receiver() as receiver:
        some = ToPost(webhook(receiver.url), notices(5)[2:])
        came_of_it = await post_in_order(some, HERE)
        assert (came_of_it.up_to, came_of_it.missed, len(receiver.posts)) == (15, 2, 3)
        nothing = await post_in_order(ToPost(webhook(receiver.url), []), HERE)
    assert (nothing.up_to, nothing.missed) == (15, 5)
    assert (nothing.status, nothing.trouble) == (None, None)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_receiver_that_names_a_pause_has_it(status: int) -> None:
    async with Receiver(answers=(status,), headers={"Retry-After": "1200"}) as receiver:
        assert (await post(receiver)).asked == 1200
        receiver.headers = {"Retry-After": format_datetime(clock.now() + timedelta(seconds=600), usegmt=True)}
        assert 590 <= (await post(receiver)).asked <= 600


NONSENSE = [
    "soon", "-5", "", "1e3", "Mon, 09 Mar 2026 12:00:00 +99999999999999",
    "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 09 Mar 1926 12:00:00 GMT",
]  # fmt: skip


@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_a_pause_that_cannot_be_understood_is_passed_over(nonsense: str) -> None:
    async with Receiver(answers=(204, 503), headers={"Retry-After": nonsense}) as receiver:
        came_of_it = await post(receiver, 2)
    assert (came_of_it.up_to, came_of_it.asked) == (11, 0)


async def test_the_longest_pause_that_can_be_written_is_understood() -> None:
    async with Receiver(answers=(503,), headers={"Retry-After": "9" * 5000}) as receiver:
        assert (await post(receiver)).asked > 1e60


async def test_a_receiver_that_is_gone_stops_it() -> None:
    async with Receiver(answers=(200, 410)) as receiver:
        came_of_it = await post(receiver, 3)
    assert (came_of_it.up_to, came_of_it.status, came_of_it.stop) == (11, 410, "gone")


async def test_whoever_takes_their_time_is_left_for_later() -> None:
    async with Receiver(delay=1.1) as receiver:
        came_of_it = await post(receiver, 5)
    assert 10 < came_of_it.up_to < 15
    assert came_of_it.trouble is None


async def test_told_to_stop_it_lets_the_post_in_hand_end_and_says_how_far_it_came() -> None:
    async with Receiver(delay=0.2) as receiver:
        posting = asyncio.create_task(post(receiver, 20))
        await receiver.until(3)
        posting.cancel()
        came_of_it = await posting
        assert (came_of_it.up_to, len(receiver.posts)) == (13, 3)


async def test_told_to_stop_it_does_not_wait_for_a_receiver_that_is_silent() -> None:
    async with Receiver(delay=30) as receiver:
        posting = asyncio.create_task(post(receiver, 2))
        await receiver.until(1)
        posting.cancel()
        came_of_it = await posting
    assert (came_of_it.up_to, came_of_it.trouble) == (10, None)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_failure_and_is_not_followed(status: int) -> None:
    async with Receiver() as elsewhere, Receiver(answers=(status,), headers={"Location": elsewhere.url}) as receiver:
        came_of_it = await post(receiver)
    assert (came_of_it.up_to, came_of_it.status) == (10, status)
    assert came_of_it.trouble == "a redirect, which is not followed"
    assert elsewhere.posts == []


async def test_nobody_there_is_a_failure() -> None:
    assert await trouble(f"http://127.0.0.1:{free_port()}/") == ("no connection", None)


@pytest.mark.parametrize("host", ["nobody.invalid", "a..b.invalid", "x" * 64 + ".invalid"])
async def test_a_name_that_leads_nowhere_is_a_failure(host: str) -> None:
    assert await trouble(f"https://{host}/") == ("its name could not be looked up", None)


async def test_a_receiver_that_takes_too_long_is_not_waited_for() -> None:
    async with Receiver(delay=5) as receiver:
        assert await trouble(receiver.url, within=0.2) == ("no answer in time", None)


async def test_a_certificate_that_nobody_vouches_for_is_a_failure() -> None:
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(secure)
    async with Receiver(secure=secure) as receiver:
        assert await trouble(receiver.url) == ("its certificate is not valid", None)
    assert receiver.posts == []


async def test_a_certificate_of_somebody_trusted_is_good(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority, secure = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(secure)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    trusted.cache_clear()
    try:
        async with Receiver(secure=secure) as receiver:
            assert (await post(receiver, 3)).up_to == 13
    finally:
        trusted.cache_clear()


# ---- receivers that mean no good -------------------------------------------------------------------------------------


@asynccontextmanager
async def rude(*says: bytes, again: bytes = b"", closes: bool = False) -> AsyncIterator[str]:
    """A receiver that says something to whatever it is posted, and one thing without end; its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            for each in says:
                writer.write(each)
            while again:
                writer.write(again)
                await writer.drain()
            await writer.drain()
            if not closes:
                await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


UNREADABLE = "an answer that is not HTTP, or too long"
FLOODS = {
    "provisional answers": b"HTTP/1.1 100 C\r\n\r\n" * 3000,
    "provisional answers with headers": (b"HTTP/1.1 103 E\r\n" + b"a: b\r\n" * 90 + b"\r\n") * 100,
    "headers": b"a: b\r\n" * 10_000,
    "one line": b"x" * 65_536,
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_an_answer_without_end_is_broken_off_by_its_length_and_not_by_the_time(flood: str) -> None:
    begins = b"HTTP/1.1 200 OK\r\n" if flood == "headers" else b""
    async with rude(begins, again=FLOODS[flood]) as url:
        assert await trouble(url) == (UNREADABLE, None)


@pytest.mark.parametrize("rest", [b"x" * 65_536, b"400\r\n" + b"x" * 1024 + b"\r\n"], ids=["a body", "chunks"])
async def test_a_body_without_end_is_an_answer_all_the_same(rest: bytes) -> None:
    how = b"transfer-encoding: chunked" if rest.startswith(b"400") else b"content-length: 99999999999"
    async with rude(b"HTTP/1.1 200 OK\r\n" + how + b"\r\n\r\n", again=rest) as url:
        came_of_it = await post_in_order(to_post(webhook(url), 2), HERE)
    assert (came_of_it.up_to, came_of_it.status) == (12, 200)


@pytest.mark.parametrize(
    "says", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\na b: c\r\n\r\n"]
)
async def test_what_is_no_http_is_a_failure(says: bytes) -> None:
    async with rude(says, closes=True) as url:
        assert await trouble(url) == (UNREADABLE, None)


async def test_a_receiver_that_hangs_up_is_a_failure() -> None:
    async with rude(closes=True) as url:
        assert await trouble(url) == ("the connection was closed without an answer", None)


async def test_a_receiver_that_closes_after_each_answer_takes_everything() -> None:
    async with rude(b"HTTP/1.1 204 No Content\r\n\r\n", closes=True) as url:
        assert (await post_in_order(to_post(webhook(url), 5), HERE)).up_to == 15


# ---- where may be posted to ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1", "0x7f.1", "2130706433"],  # noqa: S104
)
async def test_nothing_is_posted_to_a_private_address_by_whatever_name(host: str) -> None:
    async with Receiver() as receiver:
        url = str(RegisterWebhook(url=f"http://{host}:{receiver.port}/").url)
        said = await trouble(url, ())
    assert said == ("its address is private, and in no network that the operator allows", "not-allowed")
    assert receiver.posts == []


PRIVATE = [
    "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "169.254.169.254",  # noqa: S104  not listened on
    "100.64.0.1", "224.0.0.1",
    "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "fd12:3456::1", "ff02::1", "::ffff:10.0.0.1",
    "64:ff9b::a00:1", "2002:a00:1::", "2001:0:a00:1::", "2001:db8::1", "192.0.2.1", "198.18.0.1",
    "192.0.0.192", "192.88.99.1", "168.63.129.16", "3fff::1",
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
