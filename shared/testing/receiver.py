"""A real HTTP server that takes webhooks, for tests: it remembers every post, and answers as it is told.

>>> async with Receiver() as receiver:
...     receiver.answers = [503, 204]  # the last one from then on
"""

import asyncio
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import urlsplit

from aiohttp import web


def path_of(url: str) -> str:
    """What a post to an address has as its path."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


@dataclass(frozen=True)
class Post:
    """One request: its path, its headers in lower case, when it came (seconds, monotonic), on which connection."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float
    connection: object = field(compare=False)

    @property
    def id(self) -> str:
        """``webhook-id``: the same for every attempt."""
        return self.headers["webhook-id"]


@dataclass
class Receiver:
    """Listens on 127.0.0.1. ``headers`` go with every answer, which it gives after ``delay`` seconds."""

    answers: Sequence[int] = (204,)
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0
    secure: ssl.SSLContext | None = None
    posts: list[Post] = field(default_factory=list)
    port: int = 0
    _runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self.secure else 'http'}://127.0.0.1:{self.port}/hook"

    async def __aenter__(self) -> "Receiver":
        server = web.Server(self._receive, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self.secure)
        await site.start()
        self.port = int(site._server.sockets[0].getsockname()[1])  # type: ignore[union-attr]  # it has begun
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def until(self, count: int, within: float = 30.0) -> None:
        """Waits until there were so many posts."""
        async with asyncio.timeout(within):
            while len(self.posts) < count:  # noqa: ASYNC110  it is asked seldom
                await asyncio.sleep(0.01)

    async def _receive(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        number = len(self.posts)
        path = urlsplit(request._message.path)  # as it was written: aiohttp's own would be normalised
        written = f"{path.path}?{path.query}" if path.query else path.path
        self.posts.append(Post(written, headers, await request.read(), time.monotonic(), request.transport))
        await asyncio.sleep(self.delay)
        return web.Response(status=self.answers[min(number, len(self.answers) - 1)], headers=self.headers)
