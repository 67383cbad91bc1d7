"""What comes in over a NATS connection. What a stream delivers in bulk is handed on at once; the rest is the client's.

The client matches patterns, takes every header apart, queues the message and wakes a task for it. Of what a service
spends on a message that it follows, that is a third (``docs/decisions/receiving.md``).
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

_VERSION = b"NATS/1.0\r\n"
_END = b"\r\n"


@cache
def _label(name: str) -> bytes:
    return b"\r\n%s: " % name.encode()


class Headers(Mapping[str, str]):
    """Headers as they came; taken apart only for somebody who looks for more than one that stands there plainly."""

    __slots__ = ("_parsed", "_raw", "_read")

    def __init__(self, raw: bytes, read: Callable[[bytes], dict[str, str]]) -> None:
        self._raw = raw
        self._read = read
        self._parsed: dict[str, str] | None = None

    def __getitem__(self, name: str) -> str:
        label = _label(name)
        begin = self._raw.rfind(label)
        if begin < 0:
            return self._all()[name]
        begin += len(label)
        return self._raw[begin : self._raw.index(_END, begin)].decode(errors="replace").strip()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, str]:
        if self._parsed is None:
            self._parsed = self._read(self._raw[len(_VERSION) :])
        return self._parsed


class Incoming(Parser):
    """Reads what the server sends. ``direct`` has the subscriptions whose messages are handed on without a queue."""

    def __init__(self, nc: Client, read_headers: Callable[[bytes], dict[str, str]]) -> None:
        super().__init__(nc)
        self._nc = nc
        self._read_headers = read_headers
        self.direct: dict[int, Callable[[Msg], None]] = {}

    def reset(self) -> None:
        super().reset()
        self._rest = b""

    async def parse(self, data: bytes = b"") -> None:
        """Hands on every message that is there whole; the client's own parser is given whole commands only."""
        data, at = self._rest + data, 0
        while (line_end := data.find(_END, at)) >= 0:
            words = data[at:line_end].split()
            end = line_end + len(_END)
            if words and words[0] in (b"MSG", b"HMSG"):
                size, subscription = _numbers(words)
                end += size + len(_END)
                if end > len(data):
                    break
                deliver = self.direct.get(subscription)
                if deliver and (message := self._message(words, data[line_end + len(_END) : end - len(_END)])):
                    await self._hand_on(message, deliver)
                    at = end
                    continue
            self._rest = data[end:]
            await super().parse(data[at:end])
            data, at = self._rest, 0  # another connection may have begun meanwhile
        self._rest = data[at:]

    def _message(self, words: list[bytes], content: bytes) -> Msg | None:
        """A message as the client would make it; ``None`` for a word of the server's own, which is left to it."""
        headers: Any = None
        size = int(words[-2]) if words[0] == b"HMSG" else 0
        if size:
            if not content.startswith(_VERSION):
                return None
            headers = Headers(content[:size], self._read_headers)
        reply = words[3].decode() if len(words) == (6 if size else 5) else ""
        return Msg(self._nc, words[1].decode(), reply, content[size:], headers)

    async def _hand_on(self, message: Msg, deliver: Callable[[Msg], None]) -> None:
        try:
            deliver(message)
        except Exception as error:
            await self._nc._error_cb(error)  # as the client does: it would else end the connection, and say nothing


def _numbers(words: list[bytes]) -> tuple[int, int]:
    try:
        return int(words[-1]), int(words[2])
    except (ValueError, IndexError):
        raise ProtocolError(f"nats: malformed {words[0].decode()}") from None
