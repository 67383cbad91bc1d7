"""What comes in is read as the client itself reads it, however it is cut, and handed on in its order."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from shared.broker import Connection

DIRECT, QUEUED = 7, 8

Seen = tuple[str, str, bytes, dict[str, str]]

token = st.from_regex(r"[a-zA-Z0-9_$-]{1,12}", fullmatch=True)
value = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), max_size=20)
headers = st.dictionaries(token, value, max_size=4)
payloads = st.one_of(st.binary(max_size=40), st.sampled_from([b"", b"\r\n", b"MSG a 7 3\r\nabc\r\n", b"PING\r\n"]))


@st.composite
def commands(draw: st.DrawFn) -> bytes:
    """One command of the server, most often a message."""
    other = draw(st.integers(0, 9))
    if other == 0:
        return b"+OK\r\n"
    subject, reply = draw(token), draw(st.one_of(st.just(""), token))
    number, payload = draw(st.sampled_from([DIRECT, DIRECT, QUEUED])), draw(payloads)
    if other == 1:
        head = b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 3\r\n\r\n"
    elif other < 5:
        head = b""
    else:
        lines = "".join(f"{name}: {said}\r\n" for name, said in draw(headers).items())
        head = f"NATS/1.0\r\n{lines}\r\n".encode()
    words = [subject, str(number), *([reply] if reply else []), *([str(len(head))] if head else [])]
    line = f"{'HMSG' if head else 'MSG'} {' '.join(words)} {len(head) + len(payload)}\r\n"
    return line.encode() + head + payload + b"\r\n"


def seen(message: Msg) -> Seen:
    return message.subject, message.reply, message.data, dict(message.headers or {})


async def read(pieces: Iterable[bytes], *, directly: bool) -> dict[int, list[Seen]]:
    """What each of two subscriptions hears of what the server sent, in these pieces."""
    nc = Connection("somebody")
    heard: dict[int, list[Seen]] = {DIRECT: [], QUEUED: []}

    def hears(number: int) -> Subscription:
        async def hear(message: Msg) -> None:
            heard[number].append(seen(message))

        subscription = Subscription(nc, number, "any", cb=hear)
        subscription._start(None)
        return subscription

    nc._subs = {number: hears(number) for number in heard}
    if directly:
        nc._incoming.direct[DIRECT] = lambda message: heard[DIRECT].append(seen(message))
    else:
        nc._ps = Parser(nc)
    for piece in pieces:
        await nc._ps.parse(piece)
    for subscription in nc._subs.values():
        await subscription._pending_queue.join()
        subscription._stop_processing()
    return heard


def cut(whole: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(whole) + 1) for place in cuts), len(whole)]
    return [whole[begin:end] for begin, end in pairwise(places)]


@given(st.lists(commands(), min_size=1, max_size=12), st.lists(st.integers(0, 10_000), max_size=12))
def test_it_is_read_as_the_client_reads_it_however_it_is_cut(sent: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(sent)
    ours = asyncio.run(read(cut(whole, cuts), directly=True))
    theirs = asyncio.run(read([whole], directly=False))
    assert ours[QUEUED] == theirs[QUEUED]
    # A word of the server's own goes the client's way, behind the messages that are handed on at once.
    assert sorted(ours[DIRECT], key=repr) == sorted(theirs[DIRECT], key=repr)
    assert [one for one in ours[DIRECT] if "Status" not in one[3]] == [
        one for one in theirs[DIRECT] if "Status" not in one[3]
    ]


async def test_one_header_is_found_without_taking_them_apart_and_the_last_of_two_counts() -> None:
    head = b"NATS/1.0\r\ncontent-type: a\r\nX:spare\r\ncontent-type: b \r\n\r\n"
    message = b"HMSG a %d %d %d\r\n" % (DIRECT, len(head), len(head)) + head + b"\r\n"
    nc = Connection("somebody")
    heard: list[Msg] = []
    nc._incoming.direct[DIRECT] = heard.append
    await nc._ps.parse(message)
    [found] = heard
    assert found.headers is not None
    assert (found.headers.get("content-type"), found.headers.get("X"), found.headers.get("Y")) == ("b", "spare", None)
    assert dict(found.headers) == {"content-type": "b", "X": "spare"}


async def test_what_is_no_command_is_told_to_the_client() -> None:
    for nonsense in (b"MSG a b\r\n", b"HMSG a 7 x y\r\n", b"NONSENSE\r\n"):
        with pytest.raises(ProtocolError):
            await Connection("somebody")._ps.parse(nonsense)


async def test_with_a_new_connection_the_rest_of_the_old_one_is_forgotten() -> None:
    nc = Connection("somebody")
    heard: list[Msg] = []
    nc._incoming.direct[DIRECT] = heard.append
    await nc._ps.parse(b"MSG a 7 5\r\nhal")
    nc._ps.reset()
    await nc._ps.parse(b"MSG b 7 4\r\nwhol\r\n")
    assert [message.data for message in heard] == [b"whol"]
