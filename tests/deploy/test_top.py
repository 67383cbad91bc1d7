"""``concord top`` on a running local stack: in a terminal, in a pipe, for programs."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deploy.local_stack import Program
from shared.identity import SERVICES

CONCORD = Path(sys.executable).parent / "concord"
PATIENCE = 30.0
CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of a stack that ``concord up`` runs."""
    directory = tmp_path_factory.mktemp("stack")
    with subprocess.Popen([CONCORD, "up", "--data", directory], stdout=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        assert up.stdout.readline().startswith("Concord is ready at ")
        yield directory
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 0


class Terminal:
    """A program on a terminal of 80 columns, and what it has written there."""

    def __init__(self, *command: str | Path) -> None:
        self.ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        self.before = termios.tcgetattr(theirs)
        self.theirs = theirs
        # A session of its own, with this terminal in charge of it: Ctrl-C is typed, not sent.
        self.program = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  one system call
        )  # fmt: skip
        self.written = b""

    def see(self, wanted: Callable[[str], bool]) -> str:
        """What stands there, control codes taken out, once it is as wanted."""
        give_up_at = time.monotonic() + PATIENCE
        while not wanted(text := CONTROL.sub(b"", self.written).decode()):
            assert time.monotonic() < give_up_at, text
            if select.select([self.ours], [], [], 0.1)[0]:
                self.written += os.read(self.ours, 65536)
        return text

    def type(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def left(self) -> int:
        return self.program.wait(PATIENCE)

    def close(self) -> None:
        self.program.kill()
        self.program.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal(stack: Path) -> Iterator[Terminal]:
    opened = Terminal(CONCORD, "top", "--data", stack)
    yield opened
    opened.close()


def everybody_is_ready(text: str) -> bool:
    return all(re.search(rf"{service} +ready", text) for service in SERVICES)


@pytest.mark.parametrize("keys", [b"q", b"xyq", b"\x03"], ids=["q", "q among others", "Ctrl-C"])
def test_in_a_terminal_it_shows_every_service_anew_until_somebody_leaves(terminal: Terminal, keys: bytes) -> None:
    text = terminal.see(everybody_is_ready)
    assert "q leaves" in text
    assert "…" not in text  # it fits 80 columns
    terminal.see(lambda text: len(set(re.findall(r"Concord at (\S+),", text))) >= 3)
    terminal.type(keys)
    assert terminal.left() == 0
    assert termios.tcgetattr(terminal.theirs) == terminal.before


@contextmanager
def topping(stack: Path, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([CONCORD, "top", *options, "--data", stack], stdout=subprocess.PIPE) as top:
        try:
            yield top
        finally:
            top.kill()


def pictures(top: "subprocess.Popen[bytes]") -> Iterator[list[dict[str, Any]]]:
    assert top.stdout is not None
    for line in top.stdout:
        reply = json.loads(line)
        assert reply["outcome"] == "answered"
        yield reply["answer"]


def of(service: str, picture: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in picture if row["service"] == service]


def register(stack: Path, name: str) -> None:
    words = ("--key", name.lower(), "--name", name, "--type", "council", "--nation", "England")
    done = [CONCORD, "send", "membership", "register-organisation", *words, "--data", stack]
    subprocess.run(done, check=True, capture_output=True)


def test_messages_a_second_are_those_since_the_look_before(stack: Path) -> None:
    with topping(stack, "--json") as top:
        seen = pictures(top)
        first = next(seen)
        assert of("membership", first)[0]["handled_per_second"] is None
        assert next(seen)
        register(stack, "Leeds")
        for picture in seen:
            (membership,) = of("membership", picture)
            if membership["published_per_second"] > 0:
                break
        assert membership["handled_per_second"] > 0
        assert set(of("notifications", picture)[0]["lag"]) == {"MEMBERSHIP", "EVENTS", "BENCHMARK"}
        top.send_signal(signal.SIGINT)
        assert top.wait(PATIENCE) == 0


def test_in_a_pipe_each_picture_is_a_plain_table(stack: Path) -> None:
    said = subprocess.run([CONCORD, "top", "--once", "--data", stack], capture_output=True, check=True)
    text = said.stdout.decode()
    assert everybody_is_ready(text)
    assert "\x1b" not in text
    assert said.stderr == b""
    assert text.count("membership") == 1
    status = subprocess.run([CONCORD, "status", "--data", stack], capture_output=True, check=True, text=True).stdout
    assert everybody_is_ready(status)
    assert "oldest" in status


def test_a_service_that_is_silent_is_shown_as_not_ready_and_the_others_all_the_same(stack: Path) -> None:
    told = subprocess.run(["pgrep", "--full", "services.events.main"], capture_output=True, check=True, text=True)
    mine = f"CONCORD_STORE=sqlite:///{stack}/events.sqlite".encode()
    (events,) = [int(pid) for pid in told.stdout.split() if mine in Path(f"/proc/{pid}/environ").read_bytes()]
    os.kill(events, signal.SIGSTOP)
    try:
        once = subprocess.run([CONCORD, "top", "--once", "--json", "--data", stack], capture_output=True, check=True)
    finally:
        os.kill(events, signal.SIGCONT)
    picture = json.loads(once.stdout)["answer"]
    assert [row["service"] for row in picture if not row["ready"]] == ["events"]
    assert of("events", picture)[0]["reasons"] == ["it does not answer within 2 s"]


def test_every_replica_answers_for_itself(stack: Path, tmp_path: Path) -> None:
    second = Program(
        "benchmark", [sys.executable, "-m", "services.benchmark.main"], tmp_path / "log",
        {"CONCORD_NATS": json.loads((stack / "stack.json").read_text())["url"],
         "CONCORD_CREDENTIALS": str(stack / "creds" / "benchmark.creds"),
         "CONCORD_STORE": f"sqlite:///{tmp_path / 'benchmark.sqlite'}"},
    )  # fmt: skip
    try:
        with topping(stack, "--json") as top:
            for picture in pictures(top):
                if len(replicas := of("benchmark", picture)) == 2 and all(row["ready"] for row in replicas):
                    break
        assert len({row["replica"] for row in replicas}) == 2
        assert len(picture) == len(SERVICES) + 1
        status = subprocess.run([CONCORD, "status", "--json", "--data", stack], capture_output=True, check=True)
        told = json.loads(status.stdout)["answer"]
        assert {row["replica"] for row in of("benchmark", told)} == {row["replica"] for row in replicas}
    finally:
        second.kill()
        second.process.wait()


def test_who_may_not_ask_is_told_so(stack: Path) -> None:
    subprocess.run(
        [CONCORD, "access", "issue", "--role", "subscriber", "listener", "--data", stack],
        check=True,
        capture_output=True,
    )
    said = subprocess.run(
        [CONCORD, "top", "--once", "--as", "listener", "--data", stack], capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout) == (3, "")
    assert "listener may not ask the services how they are" in said.stderr
