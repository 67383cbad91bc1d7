"""Connections to NATS, for services and tools alike: credentials, own inbox, endless reconnect, and errors said aloud.

A service gets its connection through FastStream (``shared/service_broker.py``), a tool through ``connect``; both are
the same ``Connection``.
"""

import asyncio
import re
import sysconfig
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, repeat
from pathlib import Path

import structlog
from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from shared.identity import claims_of, inbox_prefix
from shared.incoming import Incoming

SERVER_BINARY = Path(sysconfig.get_path("scripts")) / "nats-server"
"""The NATS server that is installed with the project, for the local stack and the tests."""

RECONNECT_WAIT = 0.5
"""Seconds between two attempts to reach the server; there is no last attempt."""
CONNECT_TIMEOUT = 5
FLUSH_TIMEOUT = 10
PING_INTERVAL = 20
"""Seconds between two pings; after two without an answer the connection counts as lost."""

WRITTEN_TOGETHER = 64 * 1024
"""Bytes of payload that are copied into one piece for the connection; more only adds memory."""

log = structlog.get_logger()


class BrokerError(Exception):
    """What went wrong between us and NATS; the message is a sentence for whoever asked."""


class BadCredentials(BrokerError):
    """The credentials cannot be read."""


class Unreachable(BrokerError):
    """No server could be reached in the time a tool was ready to wait."""


class NotAdmitted(BrokerError):
    """The server does not accept the credentials."""


class NotPermitted(BrokerError):
    """The server forbids this principal to publish on a subject."""


class NobodyAnswers(BrokerError):
    """Nobody listens on a subject."""


class TimedOut(BrokerError):
    """No answer came in time, and nobody knows whether the request was carried out."""


class TooLarge(BrokerError):
    """The message is larger than the server takes."""


Outgoing = tuple[str, Mapping[str, str], bytes]
"""A message to be sent: subject, headers and payload."""

NOBODY = "503"
"""What the server answers where nobody listens."""


@dataclass
class _Asked:
    """Requests that went out together, and the answers so far, by their place among them."""

    count: int
    answers: dict[int, Msg] = field(default_factory=dict)
    all_answered: asyncio.Event = field(default_factory=asyncio.Event)


class Connection(Client):
    """A NATS client that knows whose it is, says what goes wrong, and remembers what the server forbade.

    ``lost`` is set when the connection ended for good without being asked to: the server told the client to go, which
    no attempt to reconnect follows. A service then ends, with an error, so that whoever started it starts it again.
    """

    def __init__(self, principal: str) -> None:
        super().__init__()
        self._ps = self._incoming = Incoming(self, self._parse_header_lines)
        self.principal = principal
        self.lost = asyncio.Event()
        self._trouble: str | None = None  # what was last said about reaching the server
        self._leaving = False
        self._waiting_for_server: set[asyncio.Timeout] = set()
        self._answers = ""  # below this the server answers
        self._asked: dict[str, tuple[_Asked, int]] = {}
        self._numbers = count()
        self._forbidden: defaultdict[str, list[asyncio.Future[None]]] = defaultdict(list)

    async def open(self, urls: Sequence[str], creds: Path, patience: float | None) -> None:
        """Connects, within ``patience`` seconds or, with ``None``, whenever a server can be reached."""
        try:
            async with asyncio.timeout(patience):
                await self.connect(
                    list(urls),
                    name=self.principal,
                    user_credentials=str(creds),
                    inbox_prefix=inbox_prefix(self.principal),
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=RECONNECT_WAIT,  # type: ignore[arg-type]  # declared int, used in a sleep
                    connect_timeout=CONNECT_TIMEOUT,
                    ping_interval=PING_INTERVAL,
                    flush_timeout=FLUSH_TIMEOUT,
                    error_cb=self._on_first_error if patience is not None else self._on_error,
                    disconnected_cb=self._on_disconnected,
                    reconnected_cb=self._on_connected,
                    closed_cb=self._on_closed,
                )
        except BaseException as error:
            await self.close()
            if isinstance(error, TimeoutError):
                reason = f" ({self._trouble})" if self._trouble else ""
                raise Unreachable(
                    f"No NATS server answered at {', '.join(urls)} within {patience:g} s{reason}."
                ) from None
            raise
        self._error_cb = self._on_error
        if patience is None:
            await self._on_connected()
        self._trouble = None

    async def close(self) -> None:
        self._leaving = True
        await super().close()

    async def drain(self) -> None:
        """Handles what has arrived, then closes; closes at once when there is no server to drain from."""
        self._leaving = True
        if self.is_connected:
            await super().drain()
        else:
            await super().close()

    async def flush(self, timeout: int = FLUSH_TIMEOUT) -> None:  # noqa: ASYNC109  the client's own signature
        """Returns when the server has taken in everything sent so far.

        The client's own flush writes its ping ahead of what still waits to be written, so its answer says nothing.
        """
        await self._flush_pending(force_flush=True)
        await super().flush(timeout)

    async def subscribe_directly(
        self, subject: str, deliver: Callable[[Msg], None], *, queue: str = ""
    ) -> Subscription:
        """A subscription for bulk: ``deliver`` is called as a message is read, so it must be quick."""

        async def seldom(message: Msg) -> None:  # what the server itself has to say, and what the client hands on
            deliver(message)

        subscription = await self.subscribe(subject, queue, cb=seldom, pending_msgs_limit=-1)
        self._incoming.direct[subscription._id] = deliver
        return subscription

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        super()._remove_sub(sid, max_msgs)
        self._incoming.direct.pop(sid, None)

    async def publish_all(self, messages: Iterable[Outgoing], replies: Iterable[str] | None = None) -> None:
        """Publishes many messages (subject, headers, payload) in their order, each with a subject for the reply to it.

        For engines that send thousands: a call of the client's own ``publish`` costs several times as much. Names and
        values of headers are the caller's own: they are not looked at.
        """
        if self.is_closed:
            raise errors.ConnectionClosedError
        if self.is_draining_pubs:
            raise errors.ConnectionDrainingError
        commands: list[bytes] = []
        most, size = self.max_payload, 0
        for (subject, headers, payload), reply in zip(messages, replies or repeat(""), strict=False):
            if not subject or _NOT_IN_SUBJECT(subject):
                raise errors.BadSubjectError
            if len(payload) > most:
                raise errors.MaxPayloadError
            head = b""
            if headers:
                lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
                head = f"NATS/1.0\r\n{lines}\r\n".encode()
                commands.append(f"HPUB {subject} {reply} {len(head)} {len(head) + len(payload)}\r\n".encode())
            else:
                commands.append(f"PUB {subject} {reply} {len(payload)}\r\n".encode())
            commands += head, payload, b"\r\n"
            self.stats["out_msgs"] += 1
            self.stats["out_bytes"] += len(payload)
            size += len(payload)
            if size > WRITTEN_TOGETHER:
                await self._send_command(b"".join(commands))
                commands, size = [], 0
        await self._send_command(b"".join(commands))
        if self._flush_queue is not None and self._flush_queue.empty():
            await self._flush_pending()

    async def ask_server(
        self,
        messages: Sequence[Outgoing],
        timeout: float,  # noqa: ASYNC109
        on_its_way: Callable[[], Awaitable[None]] | None = None,
    ) -> list[Msg]:
        """Sends requests to the server itself, all at once; its answers, in the order of the requests.

        An answer is lost with the connection, so it is not waited for any longer: that, as when it takes too long,
        raises the client's own ``TimeoutError``. Nobody there to answer raises ``NoRespondersError``.
        """
        asked = _Asked(len(messages))
        if not self._answers:
            self._answers = f"{self.new_inbox()}."
            await self.subscribe_directly(f"{self._answers}*", self._answered)
        replies = [f"{self._answers}{next(self._numbers)}" for _ in messages]
        self._asked |= {reply: (asked, place) for place, reply in enumerate(replies)}
        try:
            async with asyncio.timeout(timeout) as deadline:
                self._waiting_for_server.add(deadline)
                await self.publish_all(messages, replies)
                if on_its_way:
                    await on_its_way()
                await asked.all_answered.wait()
        except TimeoutError:
            raise errors.TimeoutError from None
        finally:
            self._waiting_for_server.discard(deadline)
            for reply in replies:
                self._asked.pop(reply, None)
        answers = [asked.answers[place] for place in range(len(messages))]
        if any((answer.headers or {}).get("Status") == NOBODY for answer in answers):
            raise errors.NoRespondersError
        return answers

    def _answered(self, answer: Msg) -> None:
        asked, place = self._asked.pop(answer.subject, (None, 0))
        if asked is not None:  # whoever asked may have given up
            asked.answers[place] = answer
            if len(asked.answers) == asked.count:
                asked.all_answered.set()

    async def forbidden(self, subject: str) -> None:
        """Returns when the server forbids to publish, or to subscribe, to this subject."""
        told = asyncio.get_running_loop().create_future()
        waiting = self._forbidden[subject.lower()]  # the client hands on what the server says in lower case
        waiting.append(told)
        try:
            await told
        finally:
            waiting.remove(told)
            if not waiting:
                self._forbidden.pop(subject.lower(), None)

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        """Headers that cannot be read count as none at all, so that the message is refused for what it lacks.

        The client's own raises, which drops the connection: one sender could throw a service off, and an inbound
        message would do so with each delivery, for ever.
        """
        try:
            read: dict[str, str] | None = await super()._process_headers(headers)
        except (IndexError, UnicodeDecodeError) as error:
            log.warning("a message came with headers that cannot be read", reason=str(error))
            return None
        return read

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        """Reads headers as the client does, which looks at every character of every name."""
        found = {}
        for line in raw.decode(errors="replace").split("\r\n"):
            name, colon, value = line.partition(":")
            if colon and _HEADER_NAME(name := name.strip()):
                found[name] = value.strip()
        return found

    async def _on_first_error(self, error: Exception) -> None:
        if "authorization violation" in str(error).lower():
            raise NotAdmitted(f"The NATS server does not accept the credentials of {self.principal}.")
        await self._on_error(error)

    async def _on_error(self, error: Exception) -> None:
        """Never raises, since the client's own tasks call it and would die: but in a task that is to end, it ends it.

        Until Python 3.12 ``wait_for`` forgets a cancellation that comes in the moment in which what it waits for is
        done; the client would go on trying to reach a server for ever, and the program that closes it would not end.
        """
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError
        text = str(error) or type(error).__name__
        if forbidden := _VIOLATION.search(text):
            # The server drops the message and tells nobody else: without this the sender sees a timeout.
            log.error("not permitted by NATS", principal=self.principal, action=forbidden[1], subject=forbidden[2])
            for told in self._forbidden.get(forbidden[2], ()):
                if not told.done():
                    told.set_result(None)
        elif self.is_connected:
            if isinstance(error, errors.StaleConnectionError | OSError):
                return  # that the connection is lost is said next
            log.error("NATS reports an error", principal=self.principal, error=text)
        elif text != self._trouble:
            log.warning("NATS cannot be reached, still trying", principal=self.principal, reason=text)
            self._trouble = text

    async def _on_connected(self) -> None:
        self._trouble = None
        server = self.connected_url
        log.info("connected to NATS", principal=self.principal, server=server.netloc if server else None)

    async def _on_disconnected(self) -> None:
        for deadline in self._waiting_for_server:
            if not deadline.expired():
                deadline.reschedule(asyncio.get_running_loop().time())
        if not self._leaving and not self.is_closed:
            log.warning("connection to NATS lost, trying again", principal=self.principal)

    async def _on_closed(self) -> None:
        if not self._leaving:
            log.error("NATS closed the connection for good", principal=self.principal, reason=str(self.last_error))
            self.lost.set()


_NOT_IN_SUBJECT = re.compile(r"[ \t\r\n]").search
_HEADER_NAME = re.compile(r"[!-9;-~]+").fullmatch
_VIOLATION = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"', re.IGNORECASE)


async def connect(urls: Sequence[str], creds: Path, *, patience: float | None = None) -> Connection:
    """A connection as the principal of the credentials.

    With ``patience`` (seconds; for tools) it raises ``Unreachable`` or ``NotAdmitted``. Without (for services) it tries
    for ever, also the first time, with one log line for each change. ``BadCredentials`` if the file cannot be used.
    """
    connection = Connection(principal_of(creds))
    await connection.open(urls, creds, patience)
    return connection


def principal_of(creds: Path) -> str:
    """The principal whose credentials a file holds."""
    try:
        name = claims_of(creds.read_text(errors="replace")).get("name")
    except OSError as error:
        raise BadCredentials(f"The credentials {creds} cannot be read: {error.strerror}.") from None
    if not isinstance(name, str):
        raise BadCredentials(f"{creds} is not a credentials file: it holds no NATS user JWT that names a principal.")
    return name


async def request(
    nc: Connection,
    subject: str,
    payload: bytes = b"",
    headers: dict[str, str] | None = None,
    timeout: float = 5,  # noqa: ASYNC109  what a caller does about it depends on the sentence that says it
) -> Msg:
    """Sends a request and returns its answer, or raises the ``BrokerError`` that says why there is none.

    ``NotPermitted``, ``NobodyAnswers``, ``TooLarge``: it was not carried out. ``TimedOut`` (after ``timeout`` seconds):
    nobody knows; the same request, with the same message id, may be sent again.
    """
    answer = asyncio.create_task(nc.request(subject, payload, timeout=timeout, headers=headers))
    forbidden = asyncio.create_task(nc.forbidden(subject))
    try:
        await asyncio.wait({answer, forbidden}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise NotPermitted(f"Not permitted: {nc.principal} may not publish to {subject}.")
        return answer.result()
    except errors.NoRespondersError:
        raise NobodyAnswers(f"Nobody answers on {subject}: no service that knows it is running.") from None
    except errors.MaxPayloadError:
        raise TooLarge(
            f"The message for {subject} has {len(payload)} bytes; the server takes at most {nc.max_payload}."
        ) from None
    except errors.TimeoutError:
        why = "" if nc.is_connected else ", and the connection to NATS is lost"
        raise TimedOut(f"No answer on {subject} within {timeout:g} s{why}.") from None
    except errors.Error as error:
        raise BrokerError(f"The request on {subject} could not be sent: {error}.") from None
    finally:
        answer.cancel()
        forbidden.cancel()
        await asyncio.gather(answer, forbidden, return_exceptions=True)
