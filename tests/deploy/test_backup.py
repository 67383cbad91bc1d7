"""A backup made under load, everything destroyed, and the platform restored from it: nothing lost, nothing told twice.

The load is that of the faults, and so is the ledger it is held against.
"""

import asyncio
import fcntl
import hashlib
import io
import json
import shutil
import stat
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uuid_utils
from sqlalchemy import Connection

from deploy.keeping import backup as backups
from deploy.keeping import store_copy
from deploy.keeping.backup import Place, Refused
from deploy.local_stack import LocalStack
from deploy.people import People
from shared import clock, outbox, timers
from shared.contracts.membership import ListOrganisations, RegisterOrganisation
from shared.contracts.message import Inbound
from shared.database import open_store, reading, writing
from shared.identity import DELIVERIES, OPERATOR, SERVICES, Keys
from shared.migration import newest, upgrade
from shared.testing.ports import free_port
from shared.testing.stores import BACKENDS, Backend, new_store
from shared.timers import Timer
from tests.faults import checker
from tests.faults.checker import CHECKS, Facts, gather, problems
from tests.faults.ledger import Ledger
from tests.faults.load import Load
from tests.faults.rounds import READY_WITHIN, SETTLED_WITHIN, settled
from tests.faults.schedule import PLATFORM, Round
from tests.faults.stack import Stack
from tests.faults.teller import Platform

CONCORD = Path(sys.executable).parent / "concord"
SEED = 5
BEFORE, AFTER = 3.0, 2.0
"""Seconds of load before a backup is begun, and after it has ended."""


class Recording(Platform):
    """Also notes which inbound messages the stream has confirmed."""

    confirmed: set[str]

    async def hand_in(self, message: Inbound, id_: str, becomes: tuple[str, ...]) -> None:
        await super().hand_in(message, id_, becomes)
        self.confirmed.add(id_)


async def under_load(
    stack: Stack, ledger: Ledger, round_: Round, do: Callable[[Load, Recording], Awaitable[None]], before: Load | None
) -> Load:
    """Puts a load on a platform while something is done; afterwards every command that was sent has been answered.

    The load goes on in the world of the one ``before``, or founds one.
    """
    platform = Recording(stack.nats, ledger)
    platform.confirmed = set()
    load = Load(round_, platform)
    load.planning = False
    load.confidential = False  # whether it came before the backup or after could not be told
    if before is None:
        await asyncio.wait_for(load.prepare(lambda: settled(stack)), READY_WITHIN)
    else:
        load._world = before._world
        await platform.connect()
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run())
        await do(load, platform)
        load.ending = True
    return load


def place_of(stack: Stack) -> Place:
    return Place((stack.nats.url,), stack.nats.directory, {name: str(stack._stores[name]) for name in SERVICES})


@pytest.mark.timeout(600)
@pytest.mark.parametrize("store", BACKENDS)
async def test_what_was_accepted_before_a_backup_is_there_after_a_restore_and_told_once(
    store: Backend, tmp_path: Path
) -> None:
    ledger, round_ = Ledger(), Round(SEED, BACKENDS.index(store))
    accepted: set[str] = set()
    kept = tmp_path / "backup"

    async def back_up(load: Load, platform: Recording) -> None:
        for service in ("events", "benchmark", "notifications"):  # each has a dead letter to keep
            await load.plant_poison(service)
        await asyncio.sleep(BEFORE)
        accepted.update(platform.confirmed)
        accepted.update(id_ for id_, asked in ledger.asked.items() if asked.reply is not None)
        await backups.make(place_of(stack), kept, print)
        await asyncio.sleep(AFTER)

    async with Stack(tmp_path / "first", store) as stack:
        load = await under_load(stack, ledger, round_, back_up, None)
        await asyncio.wait_for(settled(stack), SETTLED_WITHIN)
        lost_world = await gather(stack, ledger)
    shutil.rmtree(tmp_path / "first")

    manifest = backups.verify(kept, print)
    backups.restore_keys(kept, tmp_path / "second" / "nats")
    second = Stack(tmp_path / "second", store)
    second.nats.start()
    try:
        await backups.restore(place_of(second), kept, manifest, print)
    finally:
        second.nats.stop()

    async with second:
        await asyncio.wait_for(settled(second), READY_WITHIN)
        at_first = await gather(second, ledger)
        _forget_what_came_after(ledger, accepted, at_first)

        async def go_on(*_: object) -> None:
            await asyncio.sleep(AFTER)

        await under_load(second, ledger, Round(SEED + 1, round_.number), go_on, load)
        await asyncio.wait_for(settled(second), SETTLED_WITHIN)
        facts = await gather(second, ledger)
        found = [*await second.in_hand(), *second.dead()]
    for check in CHECKS:
        if check is not checker.streams_keep_the_order:  # what a stream lacked was sent again behind the rest
            found += [f"{check.__name__.replace('_', ' ')}: {problem}" for problem in problems(check, facts)]
    found += told_under_another_id(lost_world, facts)
    assert not found, "\n".join(found)
    assert accepted <= ledger.asked.keys() | ledger.handed.keys()
    assert len(facts.told) > len(at_first.told) > 0


def _forget_what_came_after(ledger: Ledger, accepted: set[str], facts: Facts) -> None:
    """What was accepted while the backup was made may be in it, and then whole; what came later is not."""
    there = {sent.cause for sent in facts.sent} | accepted
    ledger.asked = {id_: asked for id_, asked in ledger.asked.items() if id_ in there}
    ledger.handed = {id_: handed for id_, handed in ledger.handed.items() if id_ in there}


def told_under_another_id(before: Facts, after: Facts) -> Iterator[str]:
    """A subscriber that heard of an event before everything was lost hears of it under the same id, or not at all."""
    ids: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for facts in (before, after):
        for sent in facts.sent:
            if sent.stream == DELIVERIES:
                ids[sent.aggregate, sent.cause].add(sent.id)
    assert ids
    yield from (f"{who} is told of {cause} as {told}" for (who, cause), told in ids.items() if len(told) > 1)


# ---- a store -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", BACKENDS)
@pytest.mark.parametrize("service", SERVICES)
def test_a_store_is_the_same_on_either_database_after_it_was_copied(
    service: str, store_url: str, to: Backend, tmp_path: Path
) -> None:
    first, second = open_store(store_url), open_store(new_store(to, tmp_path))
    upgrade(first, service)
    with writing(first) as connection:
        _fill(connection)
    copied, copied_again = io.BytesIO(), io.BytesIO()
    with reading(first) as connection:
        rows = store_copy.copy(connection, service, newest(service), copied, _unheard)
    assert store_copy.load(second, service, io.BytesIO(copied.getvalue()), _unheard) == rows
    with reading(second) as connection:
        store_copy.copy(connection, service, newest(service), copied_again, _unheard)
    assert _lines(copied_again) == _lines(copied)
    with writing(second) as connection:
        [recorded] = outbox.record(connection, [_message(3)])
    assert recorded.position == 3, "a position is not given out a second time"
    with pytest.raises(store_copy.NotEmpty):
        store_copy.load(second, service, io.BytesIO(copied.getvalue()), _unheard)
    first.dispose()
    second.dispose()


def _fill(connection: Connection) -> None:
    """Two messages, of which the last is forgotten again, and a timer with something of every kind in it."""
    outbox.record(connection, [_message(1), _message(2)])
    outbox.mark_sent(connection, [1, 2])
    outbox.forget(connection, [2])
    data = {"text": "Ynys Môn", "number": 0.1, "none": None, "list": [1, True, "\U0001f9ed"]}
    timers.write(connection, {("a", "b"): Timer("a", "b", clock.now(), data)})


def _message(sequence: int) -> dict[str, Any]:
    return {
        "id": str(uuid_utils.uuid7()), "stream": "S", "subject": "s", "aggregate": "a", "sequence": sequence,
        "payload": bytes(range(256)), "recorded_at": clock.now(), "principal": None,
    }  # fmt: skip


def _lines(copied: io.BytesIO) -> list[Any]:
    return [json.loads(line) for line in copied.getvalue().splitlines()]


def _unheard(_: object) -> None:
    pass


def test_followers_are_copied_before_those_they_follow() -> None:
    order = backups.followers_first()
    assert sorted(order) == sorted(SERVICES)
    for follower, service in PLATFORM.items():
        assert all(order.index(follower) < order.index(followed) for followed in service.follows)


# ---- the commands --------------------------------------------------------------------------------------------------


def concord(*words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([CONCORD, *map(str, words)], capture_output=True, text=True, check=False, timeout=120)


def refusal(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    assert done.returncode == 3, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)["refusal"]
    return told


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of a local stack that knows one organisation, made by the command."""
    directory = tmp_path_factory.mktemp("kept")
    data, kept = directory / "data", directory / "backup"

    async def make() -> None:
        async with local(data) as stack:
            people = People(data, stack.url)
            await people.enter(OPERATOR, OPERATOR)
            await people.tell(
                OPERATOR, RegisterOrganisation(key="dft", name="Department for Transport", type="council")
            )
            made = await asyncio.to_thread(concord, "backup", kept, "--data", data, "--json")
            assert made.returncode == 0, made.stdout + made.stderr
            answer = json.loads(made.stdout)["answer"]
            assert answer["messages"]["MEMBERSHIP"] == 1
            assert set(answer["rows"]) == set(SERVICES)
            again = await asyncio.to_thread(concord, "backup", kept, "--data", data, "--json")
            assert refusal(again)["code"] == "directory-not-empty"
            await people.leave()

    asyncio.run(make())
    return kept


@asynccontextmanager
async def local(data: Path) -> AsyncIterator[LocalStack]:
    stack = LocalStack(data, first_port=free_port())
    await stack.start()
    try:
        await stack.ready(60)
        yield stack
    finally:
        await stack.stop()


async def test_a_local_stack_goes_on_from_a_backup_with_the_keys_it_had(kept: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    would = concord("restore", kept, "--data", data, "--check", "--json")
    assert json.loads(would.stdout)["answer"]["restored"] is False
    assert not data.exists()
    done = concord("restore", kept, "--data", data, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert backups.same_keys(kept, data)
    # It would listen where it was restored: at the port that stacks look for first, also those of other tests by now.
    (data / "stack.json").unlink()
    async with local(data) as stack:
        people = People(data, stack.url)
        await people.enter(OPERATOR, OPERATOR)
        page = await people.ask(OPERATOR, ListOrganisations())
        assert [each.name for each in page.organisations] == ["Department for Transport"]
        await people.leave()
    told = refusal(concord("restore", kept, "--data", data, "--json"))
    assert told["code"] == "platform-not-empty"
    assert "nothing is ever overwritten" in told["sentence"]


def test_what_would_stand_against_a_restore_is_said_by_a_check_too(kept: Path, tmp_path: Path) -> None:
    nowhere = concord("restore", tmp_path / "nothing", "--check")
    assert (nowhere.returncode, "there is no directory" in nowhere.stderr) == (2, True)
    Keys.create(tmp_path / "keys")
    other = concord("restore", kept, "--data", tmp_path, "--check", "--json")
    assert "holds keys of another platform" in json.loads(other.stdout)["answer"]["against"]
    (tmp_path / "lock").write_text("4711")
    with (tmp_path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = concord("restore", kept, "--data", tmp_path, "--check")
    assert (running.returncode, "is sound" in running.stdout, "A stack runs in" in running.stderr) == (0, True, True)


def test_whoever_may_read_a_backup_is_its_owner_alone(kept: Path) -> None:
    assert {stat.S_IMODE(part.stat().st_mode) for part in kept.iterdir()} == {0o600}
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700


def test_its_checksums_are_read_by_the_tool_everybody_has(kept: Path) -> None:
    checked = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=kept, check=False)
    assert checked.returncode == 0
    assert {line.split("  ")[1] for line in (kept / "SHA256SUMS").read_text().splitlines()} == {
        part.name for part in kept.iterdir() if part.name != "SHA256SUMS"
    }


@pytest.mark.parametrize("part", ["membership.jsonl.gz", "INBOUND.snapshot", "operator.tar", "manifest.json"])
def test_a_byte_that_flipped_is_found_before_anything_is_restored(kept: Path, tmp_path: Path, part: str) -> None:
    damaged = shutil.copytree(kept, tmp_path / "damaged")
    content = bytearray((damaged / part).read_bytes())
    content[len(content) // 2] ^= 1
    (damaged / part).write_bytes(content)
    told = refusal(concord("restore", damaged, "--data", tmp_path / "data", "--json"))
    assert told["code"] == "backup-damaged"
    assert told["sentence"].startswith(f"The backup is damaged: {damaged / part} is not as it was written.")
    assert not (tmp_path / "data").exists()


def test_a_part_that_is_missing_is_named(kept: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(kept, tmp_path / "damaged")
    (damaged / "MEMBERSHIP.snapshot").unlink()
    told = refusal(concord("restore", damaged, "--data", tmp_path / "data", "--json"))
    assert told["sentence"].startswith(f"The backup is damaged: {damaged / 'MEMBERSHIP.snapshot'} is missing.")


def test_a_backup_that_was_broken_off_is_none(kept: Path, tmp_path: Path) -> None:
    half = shutil.copytree(kept, tmp_path / "half")
    (half / "SHA256SUMS").unlink()
    told = refusal(concord("restore", half, "--data", tmp_path / "data", "--json"))
    assert told["code"] == "no-backup"


@pytest.mark.parametrize(
    ("what", "level"), [("its format is 2", "0001"), ("membership's store is at level 9999", "9999")]
)
def test_a_backup_of_a_newer_version_is_left_alone(kept: Path, tmp_path: Path, what: str, level: str) -> None:
    newer = shutil.copytree(kept, tmp_path / "newer")
    manifest = json.loads((newer / "manifest.json").read_text())
    manifest["format"] = 2 if "format" in what else 1
    manifest["stores"]["membership"]["level"] = level
    (newer / "manifest.json").write_text(json.dumps(manifest))
    lines = [line for line in (newer / "SHA256SUMS").read_text().splitlines() if "manifest.json" not in line]
    digest = hashlib.sha256((newer / "manifest.json").read_bytes()).hexdigest()
    (newer / "SHA256SUMS").write_text("\n".join([*lines, f"{digest}  manifest.json"]) + "\n")
    told = refusal(concord("restore", newer, "--data", tmp_path / "data", "--json"))
    assert told["code"] == "backup-of-a-newer-version"
    assert what in told["sentence"]


def test_keys_of_another_platform_are_not_replaced(kept: Path, tmp_path: Path) -> None:
    Keys.create(tmp_path / "keys")
    told = refusal(concord("restore", kept, "--data", tmp_path, "--json"))
    assert told["code"] == "keys-in-the-way"


def test_an_older_backup_is_restored_at_its_level_and_its_service_brings_it_further(
    store_url: str, tmp_path: Path, backend: Backend
) -> None:
    """The copy of a store says at which level it was: what is restored is that, whatever this program brings."""
    head = {"service": "membership", "level": "0011", "last_position": 0}
    header = {"table": "organisations", "columns": [["id", "text"], ["sequence", "integer"]]}
    lines = io.BytesIO("".join(json.dumps(line) + "\n" for line in (head, header)).encode())
    engine = open_store(store_url)
    assert store_copy.load(engine, "membership", lines, _unheard) == {"organisations": 0}
    assert backups.level_of(engine) == "0011"
    upgrade(engine, "membership")
    assert backups.level_of(engine) == newest("membership")
    engine.dispose()


def test_a_store_that_was_never_started_is_not_backed_up(tmp_path: Path) -> None:
    place = Place(("nats://127.0.0.1:1",), tmp_path, {name: f"sqlite:///{tmp_path / name}.sqlite" for name in SERVICES})
    with pytest.raises(Refused) as refused:
        asyncio.run(backups.make(place, tmp_path / "backup", print))
    assert refused.value.refusal.code == "store-of-another-version"
    assert not (tmp_path / "backup").exists()
    assert not (tmp_path / "membership.sqlite").exists()
