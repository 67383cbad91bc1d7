"""The local stack, with real programs: it starts, heals itself, stops, and leaves nothing behind."""

import asyncio
import json
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from structlog.testing import capture_logs

from deploy.local_stack import LocalStack, StackError
from shared.broker import connect
from shared.identity import SERVICES
from shared.testing.ports import free_port

CONCORD = Path(sys.executable).parent / "concord"
ONE_SERVICE = {"notifications": (sys.executable, "-m", "services.notifications.main")}
SLEEPER = (sys.executable, "-c", "import time; time.sleep(1000)")


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[LocalStack]:
    made = LocalStack(tmp_path, ONE_SERVICE, first_port=free_port())
    await made.start()
    yield made
    await made.stop()


def runs(pid: int) -> bool:
    """Whether a process is there and is not merely waiting for its parent to take note of its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not happened():  # noqa: ASYNC110  what is awaited happens in another process
            await asyncio.sleep(0.02)


def pids(stack: LocalStack) -> dict[str, int]:
    return {name: program.process.pid for name, program in stack.programs.items()}


async def test_all_four_services_get_ready_and_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token.py").write_text("raise SystemExit('not what the standard library has under that name')")
    monkeypatch.chdir(tmp_path)
    stack = LocalStack(tmp_path, first_port=free_port())
    await stack.start()
    try:
        await stack.ready(60)
        running = pids(stack)
        assert set(running) == {"nats", *SERVICES}
        for service in SERVICES:
            assert (tmp_path / f"{service}.sqlite").stat().st_mode & 0o077 == 0, "others can read it"
            assert (tmp_path / "logs").stat().st_mode & 0o077 == 0
    finally:
        await stack.stop()
    assert not any(runs(pid) for pid in running.values())


async def test_what_is_set_for_one_process_gives_each_service_a_health_port_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = free_port()
    monkeypatch.setenv("CONCORD_HEALTH_PORT", str(first))
    stack = LocalStack(tmp_path, first_port=free_port())
    await stack.start()
    try:
        await stack.ready(60)
        for number, service in enumerate(SERVICES):
            asked = f"http://127.0.0.1:{first + number}/metrics"
            with await asyncio.to_thread(urllib.request.urlopen, asked) as answer:
                assert b"concord_ready" in answer.read()
            assert stack.programs[service].deaths == 0
    finally:
        await stack.stop()


def keys_and_credentials(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.glob("*/*") if path.suffix in (".nk", ".creds")}


async def test_a_second_start_finds_the_same_address_keys_and_store(stack: LocalStack, tmp_path: Path) -> None:
    await stack.ready()
    before = keys_and_credentials(tmp_path)
    await stack.stop()
    again = LocalStack(tmp_path, ONE_SERVICE)
    await again.start()
    try:
        await again.ready()
        assert again.url == stack.url == json.loads((tmp_path / "stack.json").read_text())["url"]
        assert keys_and_credentials(tmp_path) == before
        assert "created stream" not in (tmp_path / "logs" / "notifications.log").read_text().rsplit('"stopped"', 1)[1]
    finally:
        await again.stop()


async def test_nobody_gets_in_without_credentials(stack: LocalStack) -> None:
    async def ignore(error: Exception) -> None:
        """It is raised as well."""

    nc = Client()
    with pytest.raises(nats.errors.Error, match=r"(?i)authorization violation"):
        await nc.connect(stack.url, allow_reconnect=False, error_cb=ignore)
    await nc.close()
    operator = await connect([stack.url], stack.credentials, patience=5)
    await operator.close()


async def test_a_second_stack_in_the_same_directory_is_refused_with_what_to_do(
    stack: LocalStack, tmp_path: Path
) -> None:
    with pytest.raises(StackError) as refused:
        await LocalStack(tmp_path, ONE_SERVICE).start()
    assert str(refused.value) == (
        f"A stack runs in {tmp_path} already (process {os.getpid()}): use it, stop it first, "
        "or name another directory with --data."
    )
    await stack.ready()  # the first is as well as before


@pytest.mark.parametrize("victim", ["notifications", "nats"])
async def test_a_program_that_dies_is_started_again_and_said_to_be_well_once_it_is(
    stack: LocalStack, victim: str
) -> None:
    await stack.ready()
    died = pids(stack)[victim]
    with capture_logs() as logs:
        os.kill(died, signal.SIGKILL)
        await until(lambda: any("well again" in line["event"] for line in logs))
    assert pids(stack)[victim] != died
    died_and_well = [line for line in logs if line["event"].startswith("a program")]
    assert [(line["event"], line["program"]) for line in died_and_well] == [
        ("a program died, starting it again", victim),
        ("a program is well again", victim),
    ]
    assert died_and_well[0]["code"] == -signal.SIGKILL
    await stack.ready()


async def test_a_health_port_that_is_taken_is_said_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setenv("CONCORD_HEALTH_PORT", str(port))
        stack = LocalStack(tmp_path, ONE_SERVICE, first_port=free_port())
        with pytest.raises(StackError, match=f"gives notifications the port {port}, which is taken"):
            await stack.start()
    assert stack.programs == {}


async def test_whoever_watches_is_told_that_the_connection_is_lost_and_when_it_is_back(stack: LocalStack) -> None:
    await stack.ready(60)
    command = (str(CONCORD), "watch", "--data", str(stack.directory))
    watching = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert watching.stderr is not None
    async with asyncio.timeout(30):
        assert (await watching.stderr.readline()).startswith(b"Watching")
        stack.programs["nats"].kill()
        assert (await watching.stderr.readline()).startswith(b"The connection to NATS is lost")
        assert await watching.stderr.readline() == b"Connected again.\n"
        watching.terminate()
        assert await watching.wait() == 0


async def test_a_service_whose_health_port_is_taken_says_so_in_a_line(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        set_so = ("env", f"CONCORD_HEALTH_PORT={other.getsockname()[1]}")  # as if it was taken a moment later
        programs = {name: (*set_so, *command) for name, command in ONE_SERVICE.items()}
        stack = LocalStack(tmp_path, programs, first_port=free_port())
        await stack.start()
        try:
            await until(lambda: stack.programs["notifications"].deaths > 0)
        finally:
            await stack.stop()
    log = (tmp_path / "logs" / "notifications.log").read_text()
    assert "CONCORD_HEALTH_PORT cannot be listened on" in log
    assert "address already in use" in log
    assert "Traceback" not in log


async def test_a_stop_leaves_no_process_and_services_leave_before_nats(stack: LocalStack, tmp_path: Path) -> None:
    await stack.ready()
    running = pids(stack)
    await stack.stop()
    assert not any(runs(pid) for pid in running.values())
    said = [json.loads(line)["message"] for line in (tmp_path / "logs" / "notifications.log").read_text().splitlines()]
    assert said[-1] == "stopped"
    assert "connection to NATS lost, trying again" not in said
    await stack.stop()  # once more does nothing


async def test_a_program_that_does_not_stop_is_killed_with_what_it_started(tmp_path: Path) -> None:
    stubborn = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)']).pid, flush=True);"
        "time.sleep(1000)"
    )
    programs = {"events": (sys.executable, "-c", stubborn)}
    stack = LocalStack(tmp_path, programs, first_port=free_port(), stop_within=0.3)
    await stack.start()
    log = tmp_path / "logs" / "events.log"
    await until(lambda: log.read_text().endswith("\n"))
    running = [*pids(stack).values(), int(log.read_text())]
    assert all(runs(pid) for pid in running)
    with capture_logs() as logs:
        await stack.stop()
    assert [line["event"] for line in logs] == ["a program did not stop and is killed"]
    await until(lambda: not any(runs(pid) for pid in running))


async def test_a_service_that_cannot_start_is_named_with_its_last_words_and_not_waited_for(tmp_path: Path) -> None:
    programs = {"events": (sys.executable, "-c", "raise SystemExit('CONCORD_STORE is wrong')")}
    stack = LocalStack(tmp_path, programs, first_port=free_port())
    await stack.start()
    try:
        async with asyncio.timeout(20):
            with pytest.raises(StackError, match=r"(?s)events is not ready: .*died 3 times.*CONCORD_STORE is wrong"):
                await stack.ready(1000)
    finally:
        await stack.stop()


async def test_a_service_that_never_gets_ready_is_named_after_the_time_given(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path, {"events": SLEEPER}, first_port=free_port())
    await stack.start()
    try:
        with pytest.raises(StackError, match="events is not ready: Nobody answers on events"):
            await stack.ready(0.2)
    finally:
        await stack.stop()


async def test_a_new_stack_takes_the_next_free_port(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = int(other.getsockname()[1])
        stack = LocalStack(tmp_path, {"events": SLEEPER}, first_port=taken)
        await stack.start()
        assert json.loads((tmp_path / "stack.json").read_text())["port"] > taken
        await stack.stop()


async def test_a_stack_whose_port_was_taken_meanwhile_says_so(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path, {"events": SLEEPER}, first_port=free_port())
    await stack.start()
    await stack.stop()
    port = json.loads((tmp_path / "stack.json").read_text())["port"]
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(StackError, match=f"Port {port}, .* is taken by another program: stop that one, or delete"):
            await LocalStack(tmp_path, {"events": SLEEPER}).start()
    again = LocalStack(tmp_path, {"events": SLEEPER})  # the lock was let go
    await again.start()
    await again.stop()


PROGRAM = """
import asyncio, sys
from pathlib import Path
from deploy.local_stack import LocalStack

async def main():
    stack = LocalStack(Path(sys.argv[1]), {"events": [sys.executable, "-c", "import time; time.sleep(1000)"]},
                       first_port=int(sys.argv[2]))
    await stack.start()
    running = asyncio.create_task(stack.run_until_stopped())
    await asyncio.sleep(0)
    print(*(program.process.pid for program in stack.programs.values()), flush=True)
    await running

asyncio.run(main())
"""


async def started(directory: Path) -> tuple[asyncio.subprocess.Process, list[int]]:
    """A process of its own that runs a stack, and the processes it started."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(directory), str(free_port()), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        return process, [int(pid) for pid in (await process.stdout.readline()).split()]


async def left_alone(process: asyncio.subprocess.Process) -> int:
    """Its exit code, with what it wrote read to the end."""
    await process.communicate()
    assert process.returncode is not None
    return process.returncode


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_everything_cleanly(tmp_path: Path, how: signal.Signals) -> None:
    process, children = await started(tmp_path)
    assert len(children) == 2
    assert all(runs(pid) for pid in children)
    process.send_signal(how)
    assert await left_alone(process) == 0
    assert not any(runs(pid) for pid in children)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
async def test_a_stack_that_is_itself_killed_leaves_nothing_running(tmp_path: Path) -> None:
    process, children = await started(tmp_path)
    process.kill()
    await left_alone(process)
    await until(lambda: not any(runs(pid) for pid in children))
    again, _ = await started(tmp_path)  # the directory is free again
    again.terminate()
    assert await left_alone(again) == 0
