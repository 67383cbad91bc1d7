"""Messages that come several times, out of order, or broken."""

import asyncio
import dataclasses
import heapq
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, func, select

from shared import clock
from shared.contracts import cloudevent
from shared.contracts.cloudevent import STRUCTURED
from shared.contracts.message import Message, subject_of
from shared.contracts.platform import ReplayDeadLetter, Reply
from shared.database import LOOP, open_store, reading
from shared.dead_letters import DEAD_LETTERS
from shared.identity import SERVICES
from shared.inbox import PARKED
from shared.loop import Loop
from shared.outbox import OUTBOX, UNSENT
from shared.streams import DUPLICATE_WINDOW, event_stream
from shared.surface import Received, Surface
from shared.testing import specimen
from shared.testing.specimen import Deposit, Mirrored
from shared.testing.stores import Backend, new_store
from tests.faults import checker
from tests.faults.checker import Stored
from tests.faults.disturbance import Disturbance
from tests.faults.ledger import Asked
from tests.faults.rounds import Said, settled
from tests.faults.under_load import UnderLoad, under_load

# ---- duplicates ----------------------------------------------------------------------------------------------------

SENT_AT_ONCE = 100


async def duplicates(
    seconds: float, directory: Path, store: Backend, seed: int, said: Said, *, wait: bool = True
) -> list[str]:
    """Everything is said three times: again under load and in any order, and once more to processes started since.

    Events come with ids that the server does not know. With ``wait`` those said last come with their own, which the
    server has forgotten by then.
    """
    async with under_load(directory, store, seed) as platform:
        await platform.pause(seconds, seconds)
        repeated = await _say_again(platform, "a second time")
        platform.load.ending = True
        await asyncio.wait({platform.telling} if platform.telling else ())
        await settled(platform.stack)
        for service in SERVICES:
            await platform.stack.kill(service)
            platform.stack.start(service)
        if wait:
            await asyncio.sleep(DUPLICATE_WINDOW.total_seconds() + 1)
        repeated += await _say_again(platform, None if wait else "a third time")
        counted = await platform.end(but=(checker.outboxes_and_streams_hold_the_same,))
        facts = platform.facts
        assert facts is not None
        firsts = {
            name: list({one.id: one for one in reversed(stored)}.values()) for name, stored in facts.streams.items()
        }
        once = dataclasses.replace(facts, streams=firsts)
        platform.found += checker.problems(checker.outboxes_and_streams_hold_the_same, once)
        if facts.repeats != repeated:
            platform.found.append(f"{repeated} events were said again, and the streams have {facts.repeats} of them")
        said(f"{repeated} events said again, and every command and inbound message; {counted}")
        return platform.found


def _firsts(stored: list[Stored]) -> list[Stored]:
    return list({message.id: message for message in reversed(stored)}.values())


async def _say_again(platform: UnderLoad, how: str | None) -> int:
    """Says everything again that was said so far, in any order; ``how`` makes other ids. How many events that were."""
    for handed in list(platform.ledger.handed.values()):
        await platform.platform.hand_in(handed.message, handed.id, handed.becomes)
    answered = [asked for asked in platform.ledger.asked.values() if asked.replies]
    platform.random.shuffle(answered)
    for start in range(0, len(answered), SENT_AT_ONCE):
        await asyncio.gather(*(_ask_again(platform, asked) for asked in answered[start : start + SENT_AT_ONCE]))
    return sum([await _publish_again(platform, service, how) for service in SERVICES])


async def _ask_again(platform: UnderLoad, asked: Asked) -> None:
    await platform.platform.ask(asked.principal, asked.command, asked.id, must_be_done=asked.must_be_done)


async def _publish_again(platform: UnderLoad, service: str, how: str | None) -> int:
    mine = (OUTBOX.c.stream == event_stream(service), OUTBOX.c.position.not_in(select(UNSENT.c.position)))
    with reading(platform.stack.engines[service]) as connection:
        rows = list(connection.execute(select(OUTBOX.c.id, OUTBOX.c.subject, OUTBOX.c.payload).where(*mine)))
    platform.random.shuffle(rows)
    owner = await platform.stack.nats.connect(service)
    for start in range(0, len(rows), SENT_AT_ONCE):
        answers = await asyncio.gather(
            *(
                owner.request(
                    row.subject,
                    row.payload,
                    timeout=10,
                    headers={"content-type": STRUCTURED, "Nats-Msg-Id": f"{row.id} {how}" if how else row.id},
                )
                for row in rows[start : start + SENT_AT_ONCE]
            )
        )
        for answer in answers:
            told = json.loads(answer.data)
            if "error" in told or told.get("duplicate"):
                platform.found.append(f"{service} could not say an event again: {told}")
    await owner.close()
    return len(rows)


# ---- straight into a loop ------------------------------------------------------------------------------------------


class Account:
    """A loop of the specimen on a real store, and what is put into it."""

    def __init__(self, engine: Engine, surface: Surface, loop: Loop) -> None:
        self.engine = engine
        self.surface = surface
        self.loop = loop
        self.offered = 0
        self.settled = 0

    def offer(self, subject: str, message: Message, **attributes: Any) -> asyncio.Future[bytes | None]:
        """Hands a message over; the answer, once it is durable."""
        payload = cloudevent.write(message, **{"subject": None, "time": clock.now()} | attributes)
        return self.offer_again(Received(subject, {"content-type": STRUCTURED}, payload))

    def offer_again(self, received: Received) -> asyncio.Future[bytes | None]:
        """Hands over what was read off the wire."""
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        arrival = self.surface.read(received)
        arrival.settle = answer.set_result
        self.loop.offer(arrival)
        return answer

    def count(self, table: Any) -> int:
        """How many rows a table has."""
        with reading(self.engine) as connection:
            return connection.scalar(select(func.count()).select_from(table)) or 0


@asynccontextmanager
async def _account(directory: Path, store: Backend) -> AsyncIterator[Account]:
    engine = open_store(new_store(store, directory))
    LOOP.create_all(engine)
    specimen.metadata.create_all(engine)
    surface = specimen.new_surface()
    with ThreadPoolExecutor(1) as writer:
        loop = Loop(surface, engine, writer)
        running = asyncio.create_task(loop.run())
        try:
            yield Account(engine, surface, loop)
        finally:
            loop.stop()
            await running
    engine.dispose()


# ---- order ---------------------------------------------------------------------------------------------------------

REPEATED = 0.2
"""How many events come once more."""
LATE = 0.002
"""How many come long after those behind them."""


async def reordered(keys: int, each: int, directory: Path, store: Backend, seed: int, said: Said) -> list[str]:
    """Many events of many keys, out of order and repeatedly, into a loop on a real store: no inversion for any key."""
    async with _account(directory, store) as account:
        began = time.monotonic()
        count = settled_ = 0

        def settle(_: bytes | None) -> None:
            nonlocal settled_
            settled_ += 1

        for key, sequence in _in_any_order(Random(seed), keys, each):  # noqa: S311  it draws a test
            arrival = account.surface.read(_event(key, sequence))
            arrival.settle = settle
            account.loop.offer(arrival)
            count += 1
            if count % 100 == 0:
                await account.loop.room()
                await asyncio.sleep(0)
        while settled_ < count:  # noqa: ASYNC110  the loop tells nobody
            await asyncio.sleep(0.05)
        took = time.monotonic() - began
        with reading(account.engine) as connection:
            trails = dict(connection.execute(select(specimen.mirror.c.id, specimen.mirror.c.trail)).all())
        wanted = "".join(f"{sequence}," for sequence in range(1, each + 1))
        wrong = {key: trail for key, trail in trails.items() if trail != wanted}
        found = [f"the events of {key} were handled in the order {trail}" for key, trail in wrong.items()]
        found = found[: checker.TOLD_AT_MOST]
        if len(trails) != keys:
            found.append(f"{keys} keys had events, and {len(trails)} have effects")
        for table in (PARKED, DEAD_LETTERS):
            if left := account.count(table):
                found.append(f"{left} events are left in {table.name}")
        said(
            f"{keys * each} events of {keys} keys in {count} deliveries, {count / took:.0f}/s, "
            f"{len(wrong)} keys with an inversion"
        )
        return found


def _event(key: int, sequence: int, amount: int = 1) -> Received:
    account = str(UUID(int=key))
    event = {
        "specversion": "1.0", "id": f"{account}-{sequence}", "source": "/concord/specimen", "subject": account,
        "type": Mirrored.wire.type, "sequence": sequence, "data": {"account": account, "amount": amount},
    }  # fmt: skip
    return Received(subject_of(Mirrored, account), {"content-type": STRUCTURED}, json.dumps(event).encode())


def _in_any_order(random: Random, keys: int, each: int) -> Iterator[tuple[int, int]]:
    """Key and sequence of each event: most come near their place, some again, and a few very late."""
    waiting: list[tuple[float, int, int]] = []
    for place in range(keys * each):
        sequence, key = divmod(place, keys)
        reach = 20 * keys if random.random() < LATE else keys
        heapq.heappush(waiting, (place + random.random() * reach, key, sequence + 1))
        if random.random() < REPEATED:
            heapq.heappush(waiting, (place + random.random() * 5 * keys, key, sequence + 1))
        while waiting[0][0] < place:
            yield heapq.heappop(waiting)[1:]
    while waiting:
        yield heapq.heappop(waiting)[1:]


# ---- poison --------------------------------------------------------------------------------------------------------

RATE = 500
"""Messages a second."""
POISON = 0.01
SLOWER_AT_MOST = 1.2
"""Times, what healthy messages take in the presence of poison."""
KEYS = 1000
"""Of a turn: half of them for healthy events, half for poison."""


async def poisoned(
    turns: int, seconds: float, directory: Path, store: Backend, seed: int, said: Said, *, timed: bool = True
) -> list[str]:
    """One message in a hundred is one whose handler fails. Turn by turn with as many that are all well.

    Each poison is a dead letter, once however often it comes, and has its effect once it is replayed after the mend.
    ``timed`` is whether it is a problem that the others take longer for it.
    """
    random = Random(seed)  # noqa: S311  it draws a test
    async with _account(directory, store) as account:
        turns_ = [Turn(account, random, number, POISON if number % 2 else 0.0) for number in range(2 * turns)]
        for turn in turns_:
            await turn.run(int(RATE * seconds))
        poison = [one for turn in turns_ for one in turn.poison]
        found = _letters(account, poison, "after it came once")
        for received in poison * 2:
            await account.offer_again(received)
        found += _letters(account, poison, "after it came three times")
        account.surface.poison.clear()  # type: ignore[attr-defined]  # the mend
        with reading(account.engine) as connection:
            letters = list(connection.scalars(select(DEAD_LETTERS.c.id)))
        for letter in letters:
            command = ReplayDeadLetter(letter=letter)
            reply = await account.offer(
                subject_of(ReplayDeadLetter, "operator", "specimen"), command, id=f"replay {letter}", source="/operator"
            )
            if reply is None or Reply.model_validate_json(reply).done is None:
                found.append(f"{letter} could not be replayed: {reply!r}")
        found += _letters(account, [], "after the mend")
        found += [problem for turn in turns_ for problem in turn.problems()]
        plain, sick = (median(turn.p99() for turn in turns_ if bool(turn.share) is ill) for ill in (False, True))
        said(
            f"{len(poison)} poison among {sum(len(turn.took) for turn in turns_)}; p99 of the healthy "
            f"{plain * 1000:.1f} ms without, {sick * 1000:.1f} ms with it: {sick / plain:.2f} times"
        )
        if timed and sick > SLOWER_AT_MOST * plain:
            found.append(
                f"poison made the others {sick / plain:.2f} times slower (p99), and may {SLOWER_AT_MOST} times"
            )
        return found


class Turn:
    """Commands and events at an even pace, a ``share`` of them poison; ``took`` has the seconds of the healthy ones."""

    def __init__(self, account: Account, random: Random, number: int, share: float) -> None:
        self.share = share
        self.took: list[float] = []
        self.poison: list[Received] = []
        self._account = account
        self._random = random
        self._first = number * KEYS  # each turn has keys of its own
        self._deposited: Counter[str] = Counter()
        self._happened: Counter[int] = Counter()

    async def run(self, count: int) -> None:
        """Hands them over, and waits until each is settled."""
        began = time.monotonic()
        answers = []
        for number in range(count):
            due = began + number / RATE
            if (ahead := due - time.monotonic()) > 0:
                await asyncio.sleep(ahead)
            ill = self._random.random() < self.share
            received = self._command(ill) if self._random.random() < 0.5 else self._event(ill)
            if ill:
                self.poison.append(received)
            answer = self._account.offer_again(received)
            if not ill:
                answer.add_done_callback(partial(self._settled, due))
            answers.append(answer)
        await asyncio.gather(*answers)

    def _settled(self, due: float, _: asyncio.Future[bytes | None]) -> None:
        self.took.append(time.monotonic() - due)

    def _command(self, ill: bool) -> Received:
        id_, account = (str(UUID(int=self._random.getrandbits(128), version=4)) for _ in range(2))
        self._deposited[account] += 1
        command = Deposit(account=account, amount=1, note="poison" if ill else "")
        payload = cloudevent.write(command, id=id_, source="/alice", time=clock.now())
        return Received(subject_of(Deposit, "alice", "specimen"), {"content-type": STRUCTURED}, payload)

    def _event(self, ill: bool) -> Received:
        # Poison has a key of its own, so that no healthy message has to wait for it to be mended.
        key = self._first + (KEYS // 2 + len(self.poison) if ill else self._random.randrange(KEYS // 2))
        self._happened[key] += 1
        return _event(key, self._happened[key], amount=13 if ill else 1)

    def p99(self) -> float:
        """Seconds within which 99 % of the healthy messages were settled."""
        return quantiles(self.took, n=100)[-1]

    def problems(self) -> Iterator[str]:
        """What is not there in the end, or is there twice."""
        with reading(self._account.engine) as connection:
            balances = dict(connection.execute(select(specimen.accounts.c.id, specimen.accounts.c.balance)).all())
            trails = dict(connection.execute(select(specimen.mirror.c.id, specimen.mirror.c.trail)).all())
        for id_, deposited in self._deposited.items():
            if balances.get(id_) != deposited:
                yield f"the account {id_} should hold {deposited}, and holds {balances.get(id_)}"
        for key, count in self._happened.items():
            wanted = "".join(f"{sequence}," for sequence in range(1, count + 1))
            if (trail := trails.get(str(UUID(int=key)))) != wanted:
                yield f"the events of {key} were handled in the order {trail}"


def _letters(account: Account, poison: list[Received], when: str) -> list[str]:
    """Each poison has one dead letter, and nothing else has."""
    with reading(account.engine) as connection:
        kept = Counter(row.payload for row in connection.execute(select(DEAD_LETTERS.c.payload)))
    planted = Counter(received.payload for received in poison)
    if kept == planted:
        return []
    return [f"{when} there are {kept.total()} dead letters, {(kept & planted).total()} of {planted.total()} poison"]


DISTURBANCES: tuple[Disturbance, ...] = (
    Disturbance(
        "duplicates",
        "Every event, command and inbound message comes three times, also past the window of the server: one effect",
        partial(duplicates, 20.0),
    ),
    Disturbance(
        "reordered",
        "A million events of ten thousand keys come in any order, some again, some very late: no inversion for any key",
        partial(reordered, 10_000, 100),
    ),
    Disturbance(
        "poison",
        f"One message in a hundred fails: one dead letter each, replayed after the mend; p99 of the others ≤ "
        f"{SLOWER_AT_MOST} times",
        partial(poisoned, 5, 10.0),
    ),
)
