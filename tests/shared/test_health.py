"""Readiness over HTTP: asked by whoever watches over a service, answered with the reasons why it is not ready."""

import asyncio
import json
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from shared import health, probe


class Watched:
    """A service as ``health`` sees it."""

    def __init__(self) -> None:
        self.reasons: tuple[str, ...] = ()
        self.port = 0

    async def ask(self, path: str) -> tuple[int, object]:
        return await asyncio.to_thread(self._ask, path)

    def _ask(self, path: str) -> tuple[int, object]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    async def check(self) -> tuple[int | None, str]:
        """What a container's health check does."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "shared.probe",
            env={**os.environ, probe.PORT: str(self.port)}, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, said = await process.communicate()
        return process.returncode, said.decode()


def port_of(server: asyncio.Server) -> int:
    """Where it listens on IPv4: the port of IPv6 is another."""
    return next(int(each.getsockname()[1]) for each in server.sockets if each.family == socket.AF_INET)


async def metrics() -> tuple[str, bytes]:
    """A page as a service would write it."""
    return "text/plain", b"concord_ready 1.0\n"


@pytest.fixture
async def service() -> AsyncIterator[Watched]:
    watched = Watched()
    server = await health.serve(0, lambda: watched.reasons, metrics)
    watched.port = port_of(server)
    yield watched
    server.close()


async def test_a_service_that_is_ready_says_so(service: Watched) -> None:
    assert await service.ask("/ready") == (200, {"ready": True, "reasons": []})
    assert await service.check() == (0, "")


async def test_a_service_that_is_not_ready_says_why_and_is_alive_all_the_same(service: Watched) -> None:
    service.reasons = ("there is no connection to NATS",)
    assert await service.ask("/ready") == (503, {"ready": False, "reasons": ["there is no connection to NATS"]})
    assert await service.ask("/alive") == (200, {"alive": True})
    code, said = await service.check()
    assert code == 1
    assert "there is no connection to NATS" in said


async def test_metrics_are_a_page_as_the_service_writes_it(service: Watched) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
    head, _, page = (await asyncio.wait_for(reader.read(), 5)).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n")
    assert page == b"concord_ready 1.0\n"


async def test_any_other_question_is_told_what_can_be_asked(service: Watched) -> None:
    assert await service.ask("/") == (404, {"error": "ask for /ready, /alive or /metrics"})


@pytest.mark.parametrize("noise", [b"", b"\xff\xfe\r\n", b"GET\r\n", b"GET /ready HTTP/1.1\r\nx: " + b"y" * 100_000])
async def test_noise_is_hung_up_on_and_disturbs_nobody_else(service: Watched, noise: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(noise)
    writer.write_eof()
    with suppress(ConnectionResetError):  # it hung up before it had read everything
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    assert (await service.ask("/ready"))[0] == 200


async def test_a_check_of_a_service_that_is_gone_fails_with_a_sentence() -> None:
    gone = Watched()
    server = await health.serve(0, lambda: (), metrics)
    gone.port = port_of(server)
    server.close()
    await server.wait_closed()
    code, said = await gone.check()
    assert (code, "it does not answer" in said) == (1, True)
