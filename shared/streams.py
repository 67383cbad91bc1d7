"""The one place where streams and durables are declared, and where the server is brought in line with that.

Requests go to ``$JS.API`` as plain JSON: the clients' own calls know only some of the settings and silently reset the
others (``allow_atomic`` among them) whenever they declare a stream.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from nats import errors
from nats.aio.client import Client

from shared.contracts.message import MAJOR, contracts, subject_of
from shared.identity import DELIVERIES, INBOUND_REFUSED, SERVICES

log = structlog.get_logger()

INBOUND = "INBOUND"

INBOUND_MAX_AGE = timedelta(days=30)
"""How long what other systems published is kept; an inbox must remember ids for longer than this."""
DELIVERIES_MAX_AGE = timedelta(days=30)
"""How far back a subscriber can replay."""
INBOUND_REFUSED_MAX_AGE = timedelta(days=30)
DUPLICATE_WINDOW = timedelta(minutes=2)
"""How long the server recognises a ``Nats-Msg-Id`` it has seen."""

ACK_WAIT = timedelta(seconds=30)
"""After this long without an acknowledgement a message is delivered again."""
MAX_ACK_PENDING = 5_000
"""Messages one durable has out at most: ten full batches."""

API_TIMEOUT = 10
RETRY_PAUSE = 0.5
UNAVAILABLE = 503
NOT_FOUND = (10059, 10014)
"""Error codes of the server: no such stream, no such consumer."""
VANISHING = ("stream not found", "error creating store for stream", "consumer closed")
"""What the server says of something it is still deleting, or that is deleted while it is made; and now and then of what
it will never make."""
VANISHED_WITHIN = 30.0
"""Seconds after which that can be no deletion any more."""
NO_PEERS = 10005
"""Error code of a cluster of which fewer servers are there than a stream shall have copies."""


Config = dict[str, Any]


class ApiError(Exception):
    """The JetStream API said no: ``code`` is its ``err_code``, the message its description."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.code = code


class NotNow(Exception):
    """JetStream cannot answer for the moment."""


class Vanishing(NotNow):
    """What is to be made is still being deleted, as it seems."""


class Drift(Exception):
    """A stream or durable is not as declared, and the server will not change it; the message says what to do."""


@dataclass(frozen=True)
class Stream:
    """A declared stream: ``settings`` as the JetStream API writes them. What is not named in them is left as it is."""

    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Durable:
    """A declared durable consumer of a stream."""

    stream: str
    name: str
    settings: Mapping[str, Any]


def event_stream(service: str) -> str:
    """The name of the stream that holds the events of a service."""
    return service.upper()


def platform_streams(replicas: int = 1) -> list[Stream]:
    """Every stream of the platform. Events are kept for ever, so that a new follower can build its copy from them."""
    streams = [_stream(event_stream(s), [f"{s}.{MAJOR}.event.>"], replicas) for s in SERVICES]
    streams.append(_stream(DELIVERIES, [f"notifications.{MAJOR}.delivery.>"], replicas, DELIVERIES_MAX_AGE))
    # One subject for each contract: a name that nobody knows has no stream, and its publisher hears so at once.
    if inbound := [subject_of(contract, "*") for contract in contracts("inbound")]:
        streams.append(_stream(INBOUND, inbound, replicas, INBOUND_MAX_AGE))
    streams.append(_stream(INBOUND_REFUSED, [f"inbound-refused.{MAJOR}.*"], replicas, INBOUND_REFUSED_MAX_AGE))
    return streams


def durables(service: str, follows: Iterable[str]) -> list[Durable]:
    """The durables of a service: one on the events of each service it follows, one on the inbound messages it owns."""
    found = [_durable(event_stream(followed), service) for followed in follows]
    if inbound := [subject_of(contract, "*") for contract in contracts("inbound", service)]:
        found.append(_durable(INBOUND, service, inbound))
    return found


async def reconcile(nc: Client, streams: Iterable[Stream], durables: Iterable[Durable]) -> list[str]:
    """Creates what is missing and applies what has changed; says in sentences what it did.

    Raises ``Drift`` if the server refuses a change. Waits, with a log line, for as long as JetStream cannot answer: a
    server that has just started may listen before it has a leader, its streams or its peers. Safe to run from several
    processes at once.
    """
    began, waiting, done = time.monotonic(), False, list[str]()
    streams, durables = list(streams), list(durables)
    while True:
        try:
            await _reconcile_all(nc, streams, durables, done)
            return done
        except (errors.TimeoutError, errors.NoRespondersError, NotNow) as error:
            if isinstance(error, Vanishing) and time.monotonic() - began > VANISHED_WITHIN:
                raise Drift(f"What is declared cannot be made: {error}.") from None
            if not waiting:
                log.warning("JetStream cannot answer, still trying", reason=str(error))
                waiting = True
            await asyncio.sleep(RETRY_PAUSE)


async def _reconcile_all(nc: Client, streams: Iterable[Stream], durables: Iterable[Durable], done: list[str]) -> None:
    """Notes in ``done`` what it did, also where it breaks off."""
    for stream in streams:

        async def set_stream(config: Config, action: str, name: str = stream.name) -> Config:
            return await _put(nc, f"STREAM.{action.upper()}.{name}", config)

        declared = {"name": stream.name, **stream.settings}
        done += await _reconcile(nc, f"stream {stream.name}", f"STREAM.INFO.{stream.name}", declared, set_stream)
    for durable in durables:
        address = f"{durable.stream}.{durable.name}"

        async def set_durable(config: Config, action: str, stream: str = durable.stream, at: str = address) -> Config:
            body = {"stream_name": stream, "config": config, "action": action}
            return await _put(nc, f"CONSUMER.CREATE.{at}", body)

        what = f"durable {durable.name} of stream {durable.stream}"
        declared = {"name": durable.name, "durable_name": durable.name, **durable.settings}
        done += await _reconcile(nc, what, f"CONSUMER.INFO.{address}", declared, set_durable)


async def _put(nc: Client, subject: str, body: Config) -> Config:
    try:
        return await api(nc, subject, body)
    except ApiError as error:
        if str(error) in VANISHING:
            raise Vanishing(f"{subject}: {error}") from None
        raise


async def _reconcile(
    nc: Client, what: str, info: str, declared: Config, put: Callable[[Config, str], Awaitable[Config]]
) -> list[str]:
    try:
        current: Config = (await api(nc, info))["config"]
    except ApiError as error:
        if error.code not in NOT_FOUND:
            raise
        try:
            made = await put(declared, "create")
        except ApiError as refusal:
            raise Drift(f"The {what} cannot be made: {refusal}.") from None
        if left := _differences(made["config"], declared):
            raise Drift(f"The {what} was made, but {_said(left)}: this server does not know the setting.") from None
        return [f"created {what}"]
    changed = _differences(current, declared)
    if not changed:
        return []
    try:
        left = _differences((await put({**current, **declared}, "update"))["config"], declared)
    except ApiError as error:
        if changed.keys() == {"num_replicas"}:  # nobody should delete a stream for want of servers
            remedy = "Set CONCORD_STREAM_REPLICAS to no more than there are NATS servers in the cluster"
        else:
            remedy = (
                "Either declare what is there, or delete it while its services are stopped: they make it anew when "
                "they start, and `concord reconcile` fills a stream of events again from the stores"
            )
        raise Drift(
            f"The {what} is not as declared: {_said(changed)}. The server refuses the change ({error}). {remedy}."
        ) from None
    if left:
        raise Drift(f"The {what} is not as declared: {_said(left)}, and the server passes the change over.")
    return [f"changed {what}: {_said(changed)}"]


async def differences(
    nc: Client, streams: Iterable[Stream], durables: Iterable[Durable]
) -> "dict[str, Differences | None]":
    """What is not as declared, and would be changed by ``reconcile``; ``None`` for what is not there at all."""
    wanted = [(f"stream {each.name}", f"STREAM.INFO.{each.name}", each.settings) for each in streams]
    wanted += [
        (f"durable {each.name} of stream {each.stream}", f"CONSUMER.INFO.{each.stream}.{each.name}", each.settings)
        for each in durables
    ]
    found: dict[str, Differences | None] = {}
    for what, info, declared in wanted:
        try:
            if changed := _differences((await api(nc, info))["config"], dict(declared)):
                found[what] = changed
        except ApiError as error:
            if error.code not in NOT_FOUND:
                raise
            found[what] = None
    return found


Differences = dict[str, tuple[Any, Any]]
"""Setting → what it is, what it should be."""


def _differences(current: Config, declared: Config) -> Differences:
    # The server moves a filter that is alone into a setting of its own, and leaves out what is empty.
    if alone := current.get("filter_subject"):
        current = {**current, "filter_subjects": [alone]}
    found = {}
    for setting, should_be in declared.items():
        now = current.get(setting)
        same = sorted(now or []) == sorted(should_be) if isinstance(should_be, list) else (now or 0) == (should_be or 0)
        if not same:
            found[setting] = (now, should_be)
    return found


def _said(differences: Differences) -> str:
    return "; ".join(
        f"{setting} is {'not set' if now is None else repr(now)} and should be {should_be!r}"
        for setting, (now, should_be) in differences.items()
    )


async def api(nc: Client, subject: str, body: Config | None = None) -> Config:
    """One request to the JetStream API; ``subject`` without ``$JS.API.``.

    ``ApiError`` if it says no, ``NotNow`` if it cannot say, the client's own errors if it is silent.
    """
    message = await nc.request(
        f"$JS.API.{subject}", b"" if body is None else json.dumps(body).encode(), timeout=API_TIMEOUT
    )
    answer: Config = json.loads(message.data)
    if error := answer.get("error"):
        if error["code"] == UNAVAILABLE:
            raise NotNow(error.get("description", ""))
        if error.get("err_code") == NO_PEERS:  # as in the moments in which a cluster begins: the others may come yet
            raise NotNow(
                f"{error.get('description', '')} (fewer NATS servers are there than CONCORD_STREAM_REPLICAS asks for)"
            )
        raise ApiError(error.get("err_code", error["code"]), error.get("description", ""))
    return answer


def _stream(name: str, subjects: list[str], replicas: int, max_age: timedelta = timedelta()) -> Stream:
    return Stream(
        name,
        {
            "subjects": subjects,
            "retention": "limits",
            "storage": "file",
            "discard": "old",
            "max_age": _nanoseconds(max_age),
            "duplicate_window": _nanoseconds(DUPLICATE_WINDOW),
            "num_replicas": replicas,
            "allow_atomic": True,
            "allow_direct": True,
        },
    )


def _durable(stream: str, service: str, filter_subjects: list[str] | None = None) -> Durable:
    return Durable(
        stream,
        service,
        {
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "replay_policy": "instant",
            "ack_wait": _nanoseconds(ACK_WAIT),
            "max_deliver": -1,  # a message that is given up by the server is lost; the loop keeps dead letters instead
            "max_ack_pending": MAX_ACK_PENDING,
            "filter_subjects": filter_subjects or [],
        },
    )


def _nanoseconds(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1) * 1000
