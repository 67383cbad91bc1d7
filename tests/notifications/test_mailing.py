"""What is in a mail, and what comes of handing it in to a real mail server."""

import asyncio
import json
import ssl
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest
import trustme

from services.notifications import posting
from services.notifications.domain.mailbox import Mailbox, Mailed
from services.notifications.mailing import (
    PostOffice,
    cannot_mail_to,
    code_mail,
    hand_in,
    may_be_mailed_to,
    notices_mail,
)
from services.notifications.store import ToMail, Waiting
from shared.testing.mail_server import MailServer

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
OFFICE = PostOffice("127.0.0.1", 25, "concord@example.org", tls="none", public_url="https://concord.example")
BOX = "0190b0a5-0000-7000-8000-000000000001"


def mailbox(**state: Any) -> Mailbox:
    known = {"id": BOX, "subscriber": "ada", "address": "ada@example.org", "token": "t0k3n", "rhythm": "daily"}
    when = {"quiet_from": "19:00", "quiet_until": "07:00", "time_zone": "Europe/London", "confirmed_at": NOW}
    return Mailbox(**{**known, **when, "since": NOW, "after": 10, "last": 12, "up_to": 12, **state})


def notice(sequence: int, sentence: str = "Treasury is registered as a network.", **said: Any) -> Waiting:
    data = {"topic": "membership", "sentence": sentence, "event": "e", "about": BOX, "network": None, **said}
    data = {"happened_at": "2026-03-10T12:00:00Z", "why": ["You represent Treasury."], **data}
    return Waiting(sequence, f"id-{sequence}", json.dumps({"data": data}).encode())


def found(*notices: Waiting, **state: Any) -> ToMail:
    return ToMail(mailbox(**state), notices or (notice(11), notice(12)))


def text(message: EmailMessage, kind: str = "plain") -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())


async def mailed(server: MailServer, what: ToMail | None = None, **office: Any) -> Mailed:
    return await hand_in(what or found(), replace(OFFICE, port=server.port, **office))


# ---- what is in it -------------------------------------------------------------------------------------------------


def test_a_mail_has_every_notice_and_why_it_was_received_as_text_and_as_html() -> None:
    first = notice(11, "Treasury is registered as a network.", why=["You are its steward."])
    second = notice(12, "A proposal in Councils is open.", topic="decisions", why=["You represent Leeds."])
    message = notices_mail(found(first, second), OFFICE)
    for kind in ("plain", "html"):
        said = text(message, kind)
        for sentence in ("Treasury is registered as a network.", "A proposal in Councils is open."):
            assert sentence in said
        assert "Why you received this: You are its steward." in said
        assert "https://concord.example/unsubscribe/" in said


def test_what_presses_most_is_the_subject() -> None:
    notices = [
        notice(11),
        notice(12, "Positions are asked for until Friday.", due_at="2126-03-13T12:00:00Z"),
        notice(13, "Positions are asked for until Thursday.", due_at="2126-03-12T12:00:00Z"),
    ]
    assert notices_mail(found(*notices), OFFICE)["Subject"] == "Positions are asked for until Thursday (and 2 more)"
    assert notices_mail(found(notices[0]), OFFICE)["Subject"] == "Treasury is registered as a network."


def test_a_long_sentence_is_whole_in_the_mail_and_cut_in_the_subject() -> None:
    sentence = "Ministry " * 30 + "meets."
    message = notices_mail(found(notice(11, sentence), notice(12)), OFFICE)
    assert len(message["Subject"]) <= 120
    assert message["Subject"].endswith("… (and 1 more)")
    assert " ".join(text(message).split()).count("Ministry") == 30


@pytest.mark.parametrize(
    "name", ["A\r\nBcc: eve@example.org\r\n\r\nx", "A\nX: y", "<script>alert(1)</script>", "\u202eabc"]
)
def test_a_name_never_becomes_a_header_or_markup(name: str) -> None:
    message = notices_mail(found(notice(11, f"{name} is registered.")), OFFICE)
    parsed = message_from_bytes(message.as_bytes(), policy=SMTP)
    assert set(parsed.keys()) == set(message.keys())
    assert parsed["Bcc"] is parsed["X"] is None
    assert "<script>" not in text(message, "html")


def test_a_mail_says_that_a_program_wrote_it_and_how_to_end_it_with_one_click() -> None:
    message = notices_mail(found(), OFFICE)
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["List-Unsubscribe"] == f"<https://concord.example/unsubscribe/{BOX}/t0k3n>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert notices_mail(found(), replace(OFFICE, public_url="http://localhost"))["List-Unsubscribe-Post"] is None
    assert message["From"] == "Concord <concord@example.org>"
    assert message["To"] == "ada@example.org"
    without = notices_mail(found(), replace(OFFICE, public_url=None))
    assert without["List-Unsubscribe"] is None
    assert "end-mailbox" in text(without)
    assert "end-mailbox" in text(without, "html")


def test_the_same_mail_has_the_same_id_in_every_attempt_and_the_next_another() -> None:
    codes = [mailbox(confirmed_at=None, code="A", code_until=NOW, turn=turn) for turn in (1, 2)]
    assert len({code_mail(each, OFFICE)["Message-ID"] for each in codes}) == 1
    ids = [notices_mail(found(failures=failures, turn=failures), OFFICE)["Message-ID"] for failures in (0, 1)]
    assert ids[0] == ids[1] == f"<{BOX}.12@example.org>"
    assert notices_mail(found(up_to=13, last=13), OFFICE)["Message-ID"] != ids[0]
    assert notices_mail(found(), OFFICE)["X-Concord-Sequence"] == "11-12"


def test_the_code_is_sent_with_what_to_do_and_nothing_else() -> None:
    message = code_mail(mailbox(confirmed_at=None, code="ABCDE-FGHJK", code_until=NOW, turn=1), OFFICE)
    for kind in ("plain", "html"):
        assert "ABCDE-FGHJK" in text(message, kind)
        assert "confirm-mailbox" in text(message, kind)
        assert "do nothing" in text(message, kind)
    assert "ABCDE" not in message["Subject"]
    assert message["List-Unsubscribe"] is None


def test_lines_of_the_text_are_short() -> None:
    message = notices_mail(found(notice(11, "Ministry " * 30)), replace(OFFICE, public_url=None))
    assert max(len(line) for line in text(message).splitlines()) <= 78


# ---- handing in ----------------------------------------------------------------------------------------------------


async def test_a_mail_that_is_taken_is_there_word_for_word() -> None:
    async with MailServer() as server:
        came_of_it = await mailed(server)
        assert (came_of_it.status, came_of_it.trouble, came_of_it.missed) == (250, None, 0)
        [message] = server.mails
    assert server.recipients == ["ada@example.org"]
    assert "Treasury is registered" in text(message)
    assert message["Message-ID"] == f"<{BOX}.12@example.org>"


@pytest.mark.parametrize(
    ("answer", "stop"),
    [
        ("550 5.1.1 no such user", "refused"),
        ("550 no such user", "refused"),
        ("550 5.2.1 disabled", "refused"),
        ("550 5.7.1 relaying denied", None),
        ("554 policy", None),
        ("450 4.2.0 greylisted", None),
        ("452 4.2.2 full", None),
    ],
)
async def test_only_who_is_not_there_is_mailed_to_no_more(answer: str, stop: str | None) -> None:
    async with MailServer(to_recipients=[answer]) as server:
        came_of_it = await mailed(server)
    assert (came_of_it.stop, came_of_it.status) == (stop, int(answer[:3]))
    assert came_of_it.trouble is not None
    assert "user" not in came_of_it.trouble.replace("mailbox", "")


@pytest.mark.parametrize("answer", ["451 later", "552 too large", "554 spam ada@example.org"])
async def test_a_mail_that_is_not_taken_is_tried_again_and_says_nothing_of_its_reader(answer: str) -> None:
    async with MailServer(to_mails=[answer]) as server:
        came_of_it = await mailed(server)
    assert (came_of_it.stop, came_of_it.trouble, came_of_it.status) == (
        None,
        "the mail server did not take it",
        int(answer[:3]),
    )


async def test_a_server_that_is_away_or_silent_is_a_trouble() -> None:
    async with MailServer() as server:
        port = server.port
    away = await hand_in(found(), replace(OFFICE, port=port))
    assert away.trouble == "no connection to the mail server"
    hung_up = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        hung_up.set()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        came_of_it = await hand_in(found(), replace(OFFICE, port=silent.sockets[0].getsockname()[1]), within=0.2)
        await hung_up.wait()
    assert came_of_it.trouble == "no answer of the mail server in time"


async def test_mail_goes_over_tls_to_a_server_that_is_who_it_says_or_not_at_all() -> None:
    authority = trustme.CA()
    secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(secure)
    async with MailServer(tls=secure) as server:
        assert (await mailed(server, tls="at-once")).trouble == "no secure connection to the mail server"
        assert server.mails == []
    async with MailServer() as plain:
        came_of_it = await mailed(plain, tls="by-starttls")
        assert came_of_it.trouble == "the mail server offers no secure connection, or no way to log in"
        assert plain.mails == []


async def test_a_password_is_said_over_tls_and_a_wrong_one_is_a_trouble(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    posting.trusted.cache_clear()
    secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(secure)
    async with MailServer(starttls=secure, password="right") as server:  # noqa: S106  made up
        account = {"tls": "by-starttls", "user": "concord"}
        came_of_it = await mailed(server, **account, password="wrong")  # noqa: S106  as above
        assert came_of_it.trouble == "the mail server does not let us in"
        assert (await mailed(server, **account, password="right")).trouble is None  # noqa: S106  as above
    posting.trusted.cache_clear()


async def test_what_the_settings_do_not_allow_any_more_waits_for_others() -> None:
    async with MailServer() as server:
        for came_of_it in (await mailed(server, domains=("gov.uk",)), await hand_in(found(), None)):
            assert (came_of_it.ours, came_of_it.stop) == (True, None)
            assert came_of_it.trouble is not None
        assert (await mailed(server, ToMail(mailbox(), []))) == Mailed(missed=2)
        assert server.mails == []


def test_who_cannot_be_mailed_to_is_told_why() -> None:
    no_mail, elsewhere = (
        cannot_mail_to("ada@example.org", None),
        cannot_mail_to("ada@example.org", replace(OFFICE, domains=("gov.uk", "nhs.uk"))),
    )
    assert (no_mail and no_mail.code, elsewhere and elsewhere.code) == ("no-mail", "address-not-allowed")
    assert elsewhere is not None
    assert "gov.uk, nhs.uk" in elsewhere.sentence
    assert cannot_mail_to("ada@example.org", OFFICE) is None


async def test_a_server_that_takes_its_time_over_a_mail_is_waited_for() -> None:
    async with MailServer(delay=0.5) as server:
        came_of_it = await hand_in(found(), replace(OFFICE, port=server.port), within=0.2)
    assert (came_of_it.trouble, len(server.mails)) == (None, 1)


def test_a_domain_covers_those_below_it_and_no_other() -> None:
    assert may_be_mailed_to("ada@dept.GOV.UK", ("gov.uk",))
    assert may_be_mailed_to("ada@gov.uk", ("nhs.uk", "gov.uk"))
    assert not may_be_mailed_to("ada@notgov.uk", ("gov.uk",))
    assert not may_be_mailed_to("ada@gov.uk.example.org", ("gov.uk",))
    assert may_be_mailed_to("ada@anywhere.example", ())


async def test_what_is_kept_no_longer_is_counted() -> None:
    async with MailServer() as server:
        assert (await mailed(server, ToMail(mailbox(after=5), [notice(12)]))).missed == 6
