"""A long computation in a process of its own: its answer, its complaint, and that it does not outlive who asked."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.tasks import run_in_process

ROOT = Path(__file__).parents[2]
ASKS = """
import sys
from pathlib import Path
from shared.tasks import _start
child = _start("shared.testing.specimen:wait")
child.stdin.write(b'{"seconds": 60}')
child.stdin.close()
print(child.pid, flush=True)
sys.stdin.read()
"""


async def test_a_computation_answers_with_its_result() -> None:
    assert await run_in_process("shared.testing.specimen:double", {"amount": 4}) == {"doubled": 8}


async def test_what_lies_where_the_service_was_started_is_not_taken_for_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token.py").write_text("raise SystemExit('taken')")
    monkeypatch.chdir(tmp_path)
    assert await run_in_process("shared.testing.specimen:double", {"amount": 4}) == {"doubled": 8}


async def test_a_computation_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="KeyError: 'amount'"):
        await run_in_process("shared.testing.specimen:double", {})


async def test_a_computation_that_is_given_up_at_any_moment_ends() -> None:
    for pause in (0, 0.001, 0.01, 0.1):
        asked = asyncio.create_task(run_in_process("shared.testing.specimen:double", {"amount": 4}))
        await asyncio.sleep(pause)
        asked.cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(asked, return_exceptions=True)


def test_a_computation_does_not_outlive_a_service_that_is_killed() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", ASKS], cwd=ROOT, stdin=pipe, stdout=pipe) as service:
        assert service.stdout is not None
        child = int(service.stdout.readline())
        time.sleep(1)  # it must have begun to watch; a computation that has not begun reads and ends
        assert runs(child)
        service.send_signal(signal.SIGKILL)
    give_up_at = time.monotonic() + 10
    while runs(child) and time.monotonic() < give_up_at:
        time.sleep(0.1)
    assert not runs(child)


def runs(process: int) -> bool:
    """Whether a process is there and not merely unburied."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
