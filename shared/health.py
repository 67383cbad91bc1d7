"""Readiness over HTTP, for whoever starts services and watches over them: containers, Kubernetes, load balancers.

``GET /ready`` is answered with 200 while the service is ready and with 503 and the reasons while it is not; ``GET
/alive`` with 200 for as long as the process answers at all. ``python -m shared.probe`` asks for the former. ``GET
/metrics`` is for Prometheus.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus

PATIENCE = 2.0
"""Seconds a caller has for its question."""
LONGEST_LINE = 1024

Page = Callable[[], Awaitable[tuple[str, bytes]]]
"""Writes a page: its content type and its text."""


async def serve(port: int, reasons: Callable[[], tuple[str, ...]], metrics: Page) -> asyncio.Server:
    """Answers on every address of this machine until it is closed; ``reasons`` says why the service is not ready."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.LimitOverrunError, ValueError):
            async with asyncio.timeout(PATIENCE):
                method, path, _ = (await reader.readline()).decode("ascii").split()
                while (await reader.readline()).strip():
                    pass
                if (method, path) == ("GET", "/metrics"):
                    status, (content_type, text) = HTTPStatus.OK, await metrics()
                else:
                    status, body = _answer(method, path, reasons)
                    content_type, text = "application/json", f"{json.dumps(body)}\n".encode()
                head = (
                    f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {content_type}\r\n"
                    f"content-length: {len(text)}\r\nconnection: close\r\n\r\n"
                )
                writer.write(head.encode() + text)
                await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, port=port, limit=LONGEST_LINE)


def _answer(method: str, path: str, reasons: Callable[[], tuple[str, ...]]) -> tuple[HTTPStatus, dict[str, object]]:
    if method not in ("GET", "HEAD"):
        return HTTPStatus.METHOD_NOT_ALLOWED, {"error": "ask with GET"}
    if path == "/alive":
        return HTTPStatus.OK, {"alive": True}
    if path == "/ready":
        why_not = reasons()
        status = HTTPStatus.SERVICE_UNAVAILABLE if why_not else HTTPStatus.OK
        return status, {"ready": not why_not, "reasons": why_not}
    return HTTPStatus.NOT_FOUND, {"error": "ask for /ready, /alive or /metrics"}
