"""A person is mailed what it is told, by the real service and a real mail server, and ends it with one click."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from email.message import EmailMessage
from pathlib import Path

import aiohttp
import pytest
from nats.aio.client import Client

from shared.contracts.notifications import ConfirmMailbox, RegisterMailbox, ShowMailbox, Subscribe
from shared.testing.mail_server import MailServer
from shared.testing.nats import NatsServer
from shared.testing.ports import free_port
from tests.journeys.test_notifications import ask
from tests.journeys.test_webhooks import PATIENCE, Notifications, happen

ADDRESS = "zoe@dept.example.org"


class Mailing(Notifications):
    """The service with a mail server, and with its pages."""

    def __init__(self, server: NatsServer, directory: Path, mail: MailServer) -> None:
        super().__init__(server, directory)
        port = free_port()
        self.pages = f"http://127.0.0.1:{port}"
        self._environment |= {
            "CONCORD_MAIL_SERVER": mail.url,
            "CONCORD_MAIL_FROM": "concord@example.org",
            "CONCORD_MAIL_DOMAINS": "example.org",
            "CONCORD_PUBLIC_URL": self.pages,
            "CONCORD_PUBLIC_PORT": str(port),
        }


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with NatsServer(tmp_path) as running:
        yield running


@pytest.fixture
async def mail() -> AsyncIterator[MailServer]:
    async with MailServer() as running:
        yield running


@pytest.fixture
def notifications(server: NatsServer, tmp_path: Path, mail: MailServer) -> Iterator[Mailing]:
    service = Mailing(server, tmp_path, mail)
    service.start()
    yield service
    service.kill()


def text(message: EmailMessage) -> str:
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


async def enter(server: NatsServer, mail: MailServer, name: str = "zoe") -> Client:
    """Somebody who subscribes to everything of membership and has it mailed, at any hour."""
    nc = await server.connect("subscriber", name)
    assert (await ask(nc, Subscribe(topic="membership"), name))["outcome"] == "done"
    await ask(nc, RegisterMailbox(address=ADDRESS, quiet_from="00:00", quiet_until="00:00"), name)
    await mail.until(1)
    found = re.search(r"\b[A-Z2-9]{5}-[A-Z2-9]{5}\b", text(mail.mails[0]))
    assert found is not None
    assert (await ask(nc, ConfirmMailbox(code=found[0].lower()), name))["outcome"] == "done"
    return nc


def ranges(mail: MailServer) -> list[tuple[int, int]]:
    """The first and last sequence of each mail, one that came twice once; they follow one another."""
    mails = {message["Message-ID"]: message["X-Concord-Sequence"].split("-") for message in mail.mails[1:]}
    found = [(int(first), int(last)) for first, last in mails.values()]
    assert [first for first, _ in found] == [1, *(last + 1 for _, last in found[:-1])][: len(found)]
    return found


async def until_mailed(mail: MailServer, last: int) -> None:
    """Waits until everything up to a sequence was mailed."""
    async with asyncio.timeout(2 * PATIENCE):
        while not any(through >= last for _, through in ranges(mail)):  # noqa: ASYNC110  it is asked seldom
            await asyncio.sleep(0.05)


async def test_what_happens_together_comes_in_one_mail(
    server: NatsServer, mail: MailServer, notifications: Mailing
) -> None:
    await enter(server, mail)
    names = await happen(server, 20)
    await until_mailed(mail, 20)
    assert set(mail.recipients) == {ADDRESS}
    assert len(mail.mails) < 10
    assert mail.mails[1]["Subject"].startswith("Network 0 is registered as a network (and ")
    said = " ".join(" ".join(text(message).split()) for message in mail.mails[1:])
    for name in names:
        assert said.count(f"* {name} is registered as a network.") == 1


async def test_one_click_ends_it_and_looking_does_not(
    server: NatsServer, mail: MailServer, notifications: Mailing
) -> None:
    zoe = await enter(server, mail)
    await happen(server, 1)
    await mail.until(2)
    link = mail.mails[1]["List-Unsubscribe"].strip("<>")
    assert link.startswith(f"{notifications.pages}/unsubscribe/")
    async with aiohttp.ClientSession() as browser:
        async with browser.get(link) as page:
            asked = await page.text()
            assert page.status == 200
        assert "z…@dept.example.org" in asked
        assert ADDRESS not in asked
        assert (await ask(zoe, ShowMailbox(), "zoe"))["answer"]["mailbox"]["address"] == ADDRESS
        for _ in range(2):  # a mail program that is not sure does it again
            async with browser.post(link, data={"List-Unsubscribe": "One-Click"}) as page:
                assert page.status == 200
                assert "These mails have stopped" in await page.text()
        assert (await ask(zoe, ShowMailbox(), "zoe"))["answer"]["mailbox"] is None
        async with browser.get(link) as page:
            over = await page.text()
        for made_up in (link[:-1] + "x", re.sub("[0-9a-f]{12}/", "000000000000/", link)):
            async with browser.get(made_up) as page:
                assert await page.text() == over  # nobody learns which links there were
        async with browser.get(f"{notifications.pages}/metrics") as page:
            assert page.status == 404


async def test_whoever_holds_the_page_open_or_says_nonsense_takes_nothing_from_others(
    server: NatsServer, mail: MailServer, notifications: Mailing
) -> None:
    await enter(server, mail)
    await happen(server, 1)
    await until_mailed(mail, 1)
    link = mail.mails[1]["List-Unsubscribe"].strip("<>")
    port = int(notifications.pages.rpartition(":")[2])
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
    endless = b"POST /unsubscribe/ HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    for number, (_, writer) in enumerate(idle):
        writer.write((endless, b"\0\xff\r\n", b"GET")[number % 3])
    await happen(server, 1)
    await until_mailed(mail, 2)  # mail goes meanwhile
    async with aiohttp.ClientSession() as browser, asyncio.timeout(PATIENCE):
        while True:  # the first of them are given up after some seconds
            try:
                async with browser.get(link) as page:
                    assert page.status == 200
                    break
            except aiohttp.ClientError:
                await asyncio.sleep(0.2)
    for _, writer in idle:
        writer.close()


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_a_death_loses_nothing_and_a_clean_stop_mails_nothing_twice(
    server: NatsServer, mail: MailServer, notifications: Mailing, how: str
) -> None:
    await enter(server, mail)
    mail.delay = 0.5
    await happen(server, 5)
    async with asyncio.timeout(PATIENCE):
        while not mail.at_once:  # noqa: ASYNC110  it is asked seldom
            await asyncio.sleep(0.01)
    await asyncio.to_thread(getattr(notifications, how))  # while the mail server has it in hand
    notifications.start()
    await happen(server, 5)
    await until_mailed(mail, 10)
    assert len(mail.mails) - 1 == len(ranges(mail)) or how == "kill"


async def test_a_slow_mail_server_is_not_asked_for_too_much_at_once_and_holds_up_nobody_else(
    server: NatsServer, mail: MailServer, notifications: Mailing
) -> None:
    mail.delay = 2
    for number in range(20):
        nc = await server.connect("subscriber", f"person-{number}")
        await ask(nc, RegisterMailbox(address=f"person-{number}@example.org"), f"person-{number}")
    zoe = await server.connect("subscriber", "zoe")
    assert (await ask(zoe, Subscribe(topic="membership"), "zoe"))["outcome"] == "done"
    await mail.until(9)
    assert 1 < mail.most_at_once <= 8
