"""A real SMTP server, for tests: it remembers what it takes, and refuses what it is told to.

>>> async with MailServer() as server:
...     server.to_recipients = ["550 5.1.1 nobody here", "250 OK"]  # the last one from then on
"""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from types import TracebackType
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session


def text_of(message: EmailMessage) -> str:
    """The part of a mail that is plain text, without its line breaks."""
    part = message.get_body(("plain",))
    return "" if part is None else " ".join(str(part.get_content()).split())


@dataclass
class MailServer:
    """Listens on 127.0.0.1. Each list has the answers to one step, in turn; ``delay`` is before each mail is taken."""

    to_recipients: Sequence[str] = ("250 OK",)
    to_mails: Sequence[str] = ("250 OK",)
    delay: float = 0
    starttls: ssl.SSLContext | None = None
    tls: ssl.SSLContext | None = None
    password: str | None = None
    mails: list[EmailMessage] = field(default_factory=list)
    """What it took, in the order in which it came."""
    recipients: list[str] = field(default_factory=list)
    port: int = 0
    at_once: int = 0
    most_at_once: int = 0
    _asked: int = 0
    _given: int = 0
    _server: asyncio.Server | None = None
    _connections: list[SMTP] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it listens, without TLS."""
        return f"smtp+plain://127.0.0.1:{self.port}"

    async def __aenter__(self) -> "MailServer":
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, "127.0.0.1", self.port, ssl=self.tls)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            for each in self._connections:
                if isinstance(each.transport, asyncio.WriteTransport):
                    each.transport.abort()
            await asyncio.sleep(0.05)  # connections that were broken off are closed a few turns later

    async def until(self, count: int, within: float = 30.0) -> None:
        """Waits until it took so many."""
        async with asyncio.timeout(within):
            while len(self.mails) < count:  # noqa: ASYNC110  it is asked seldom
                await asyncio.sleep(0.01)

    def _protocol(self) -> SMTP:
        connection = SMTP(
            self,
            enable_SMTPUTF8=True,
            tls_context=self.starttls,
            require_starttls=self.starttls is not None,
            authenticator=self._let_in if self.password else None,
            auth_required=self.password is not None,
            auth_require_tls=self.starttls is not None,
        )
        self._connections.append(connection)
        return connection

    def _let_in(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, who: Any) -> AuthResult:
        known = (who.login, who.password) == (b"concord", (self.password or "").encode())
        return AuthResult(success=known, handled=False)

    async def handle_RCPT(  # noqa: N802  its caller's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        answer = self.to_recipients[min(self._asked, len(self.to_recipients) - 1)]
        self._asked += 1
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  as above
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.delay)
        self.at_once -= 1
        answer = self.to_mails[min(self._given, len(self.to_mails) - 1)]
        self._given += 1
        if answer.startswith("2"):
            content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
            message = message_from_bytes(content, _class=EmailMessage, policy=POLICY)
            self.mails.append(message)
            self.recipients += envelope.rcpt_tos
        return answer
