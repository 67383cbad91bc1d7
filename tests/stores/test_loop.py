"""What one transaction of the loop promises, on SQLite and on PostgreSQL alike."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
import uuid_utils
from dirty_equals import IsStr
from sqlalchemy import Engine, func, select

from shared import clock, dead_letters, inbox, outbox, tasks, timers
from shared.contracts import cloudevent, platform
from shared.contracts.message import Message, subject_of
from shared.database import LOOP, reading, writing
from shared.loop import Call, Transaction
from shared.outbox import OUTBOX
from shared.surface import Arrival, Received, Surface
from shared.testing import specimen
from shared.testing.specimen import Deposit, Mirrored, Salary


def new_id() -> str:
    return str(uuid_utils.uuid7())


@pytest.fixture
def store(engine: Engine) -> Engine:
    LOOP.create_all(engine)
    specimen.metadata.create_all(engine)
    return engine


@pytest.fixture
def on() -> Surface:
    return specimen.new_surface()


class Driver:
    """Puts messages through transactions, as the loop does."""

    def __init__(self, store: Engine, on: Surface) -> None:
        self.store = store
        self.on = on

    def run(self, *arrivals: Arrival) -> list[Any]:
        with writing(self.store) as connection:
            committed = Transaction(connection, self.on, 500).run(arrivals, [])
        return [json.loads(reply) if reply else None for reply in committed.replies]

    def read(self, message: Message, to: str, **attributes: Any) -> Arrival:
        attributes = {"id": new_id(), "source": "/tester", "subject": None, "time": clock.now()} | attributes
        payload = cloudevent.write(message, **attributes)
        return self.on.read(Received(to, {"content-type": cloudevent.STRUCTURED}, payload))

    def command(self, message: Message, principal: str = "alice", **attributes: Any) -> Arrival:
        return self.read(message, subject_of(message.__class__, principal, "specimen"), **attributes)

    def event(self, account: str, sequence: int, amount: int = 1) -> Arrival:
        event = Mirrored(account=account, amount=amount)
        source = {"source": "/concord/specimen", "subject": account, "sequence": sequence}
        return self.read(event, subject_of(Mirrored, account), id=f"{account}-{sequence}", **source)

    def inbound(self, message: Message, source: str = "/payroll", **attributes: Any) -> Arrival:
        return self.read(message, subject_of(message.__class__, "payroll"), source=source, **attributes)

    def one(self, statement: Any) -> Any:
        with reading(self.store) as connection:
            return connection.execute(statement).scalar()

    def balance(self, account: str) -> int | None:
        return self.one(select(specimen.accounts.c.balance).where(specimen.accounts.c.id == account))

    def trail(self, account: str) -> str | None:
        return self.one(select(specimen.mirror.c.trail).where(specimen.mirror.c.id == account))

    def sent(self) -> Sequence[Any]:
        with reading(self.store) as connection:
            return connection.execute(select(OUTBOX).order_by(OUTBOX.c.position)).all()

    def letters(self) -> Sequence[Any]:
        with reading(self.store) as connection:
            return dead_letters.page(connection, None, 100)


@pytest.fixture
def loop(store: Engine, on: Surface) -> Driver:
    return Driver(store, on)


def test_a_command_leaves_its_effect_and_its_event_in_one_commit(loop: Driver) -> None:
    account = new_id()
    [reply] = loop.run(loop.command(Deposit(account=account, amount=5)))
    assert reply == {"outcome": "done", "done": {"id": account, "events": ["deposited"], "counts": {}}}
    assert loop.balance(account) == 5
    [row] = loop.sent()
    assert (row.aggregate, row.sequence, row.sent_at) == (account, 1, None)
    assert json.loads(row.payload)["data"] == {"account": account, "amount": 5}


def test_messages_for_one_aggregate_in_one_batch_build_on_each_other(loop: Driver) -> None:
    account = new_id()
    loop.run(*[loop.command(Deposit(account=account, amount=1)) for _ in range(7)])
    assert loop.balance(account) == 7
    assert [row.sequence for row in loop.sent()] == [1, 2, 3, 4, 5, 6, 7]
    loop.run(loop.command(Deposit(account=account, amount=1)))
    assert [row.sequence for row in loop.sent()][-1] == 8


def test_a_read_sees_what_earlier_messages_of_the_batch_decided(loop: Driver) -> None:
    replies = loop.run(*[loop.command(Deposit(account=new_id(), amount=amount, note="total")) for amount in (1, 2, 4)])
    assert [reply["done"]["counts"]["total"] for reply in replies] == [0, 1, 3]


def test_a_repeated_command_gets_the_first_reply_and_has_no_second_effect(loop: Driver) -> None:
    account, again = new_id(), {"id": "order-1"}
    command = Deposit(account=account, amount=5)
    first = loop.run(loop.command(command, **again), loop.command(command, **again))
    later = loop.run(loop.command(command, **again))
    assert first[0] == first[1] == later[0]
    assert loop.balance(account) == 5


def test_a_refusal_is_remembered_like_any_reply(loop: Driver) -> None:
    command = Deposit(account=new_id(), amount=-1)
    first = loop.run(loop.command(command, id="x"))
    assert first[0]["refusal"]["code"] == "nothing-out"
    assert loop.run(loop.command(command, id="x")) == first
    assert not loop.sent()


def test_an_id_used_before_for_another_command_is_refused(loop: Driver) -> None:
    account = new_id()
    loop.run(loop.command(Deposit(account=account, amount=5), id="x"))
    [reply] = loop.run(loop.command(Deposit(account=account, amount=6), id="x"))
    assert reply["refusal"]["code"] == "id-used-before"
    assert loop.balance(account) == 5


def test_the_same_id_from_two_principals_is_two_commands(loop: Driver) -> None:
    account = new_id()
    command = Deposit(account=account, amount=5)
    loop.run(loop.command(command, "alice", id="x"), loop.command(command, "bob", id="x"))
    assert loop.balance(account) == 10


def test_a_message_that_fails_becomes_a_dead_letter_and_its_neighbours_are_not_touched(loop: Driver) -> None:
    account = new_id()
    replies = loop.run(
        loop.command(Deposit(account=account, amount=1)),
        loop.command(Deposit(account=account, amount=2, note="poison")),
        loop.command(Deposit(account=account, amount=4)),
    )
    [letter] = loop.letters()
    assert [reply["outcome"] for reply in replies] == ["done", "failed", "done"]
    assert replies[1]["failure"] == {"dead_letter": letter.id, "sentence": IsStr(regex=".*nothing of it was done.*")}
    assert letter.error == "ZeroDivisionError: a bug"
    assert loop.balance(account) == 5
    assert [row.sequence for row in loop.sent()] == [1, 2]


def test_a_message_the_store_says_no_to_is_found_among_many(loop: Driver) -> None:
    good = [new_id() for _ in range(20)]
    bad = new_id()
    commands = [loop.command(Deposit(account=account, amount=1)) for account in good]
    commands.insert(13, loop.command(Deposit(account=bad, amount=1000)))
    replies = loop.run(*commands)
    assert [reply["outcome"] for reply in replies].count("done") == 20
    assert replies[13]["outcome"] == "failed"
    assert loop.balance(bad) is None
    assert [loop.balance(account) for account in good] == [1] * 20
    assert len(loop.sent()) == 20


def test_a_command_that_failed_may_be_sent_again_and_leaves_one_dead_letter(loop: Driver) -> None:
    account = new_id()
    command = Deposit(account=account, amount=2, note="poison")
    loop.run(loop.command(command, id="x"))
    loop.run(loop.command(command, id="x"))
    assert len(loop.letters()) == 1
    loop.on.poison.clear()
    [reply] = loop.run(loop.command(command, id="x"))
    assert reply["outcome"] == "done"
    assert loop.balance(account) == 2


def test_a_dead_letter_is_replayed_once_after_the_mend(loop: Driver) -> None:
    account = new_id()
    loop.run(loop.command(Deposit(account=account, amount=2, note="poison")))
    [letter] = loop.letters()
    replay = platform.ReplayDeadLetter(letter=letter.id)
    [still] = loop.run(loop.command(replay, "operator"))
    assert still["outcome"] == "failed"
    assert len(loop.letters()) == 1
    loop.on.poison.clear()
    first, second = loop.run(loop.command(replay, "operator"), loop.command(replay, "operator"))
    assert first["outcome"] == "done"
    assert second["refusal"]["code"] == "unknown-dead-letter"
    assert loop.balance(account) == 2
    assert not loop.letters()


def test_events_are_handled_in_sequence_whatever_order_they_arrive_in(loop: Driver) -> None:
    account = new_id()
    for sequence in (3, 1, 5, 4):
        loop.run(loop.event(account, sequence))
    assert loop.trail(account) == "1,"
    loop.run(loop.event(account, 2))
    assert loop.trail(account) == "1,2,3,4,5,"
    assert loop.one(select(func.count()).select_from(inbox.PARKED)) == 0


def test_events_in_one_batch_are_put_in_order_too(loop: Driver) -> None:
    account = new_id()
    loop.run(*[loop.event(account, sequence) for sequence in (2, 1, 4, 3, 3, 1)])
    assert loop.trail(account) == "1,2,3,4,"


def test_an_event_delivered_again_has_no_second_effect(loop: Driver) -> None:
    account = new_id()
    for _ in range(3):
        loop.run(*[loop.event(account, sequence) for sequence in (1, 2, 3)])
    assert loop.trail(account) == "1,2,3,"


def test_a_poisoned_event_holds_up_its_own_aggregate_alone_until_it_is_replayed(loop: Driver) -> None:
    sick, well = new_id(), new_id()
    loop.run(
        loop.event(sick, 1),
        loop.event(well, 1),
        loop.event(sick, 2, amount=13),
        loop.event(sick, 3),
        loop.event(well, 2),
    )
    assert (loop.trail(sick), loop.trail(well)) == ("1,", "1,2,")
    loop.run(loop.event(sick, 2, amount=13), loop.event(sick, 3))  # delivered again
    [letter] = loop.letters()
    loop.on.poison.clear()
    loop.run(loop.command(platform.ReplayDeadLetter(letter=letter.id)))
    assert loop.trail(sick) == "1,2,3,"
    assert not loop.letters()


def test_a_poisoned_event_that_waited_is_buried_in_its_turn(loop: Driver) -> None:
    account = new_id()
    loop.run(loop.event(account, 2, amount=13), loop.event(account, 3))
    loop.run(loop.event(account, 1))
    [letter] = loop.letters()
    assert loop.trail(account) == "1,"
    loop.on.poison.clear()
    loop.run(loop.command(platform.ReplayDeadLetter(letter=letter.id)))
    assert loop.trail(account) == "1,2,3,"


def test_a_discarded_event_lets_those_behind_it_go_on(loop: Driver) -> None:
    account = new_id()
    loop.run(loop.event(account, 1), loop.event(account, 2, amount=13), loop.event(account, 3))
    [letter] = loop.letters()
    loop.run(loop.command(platform.DiscardDeadLetter(letter=letter.id, reason="beyond repair")))
    assert loop.trail(account) == "1,3,"
    loop.run(loop.event(account, 4))
    assert loop.trail(account) == "1,3,4,"


def test_an_event_that_does_not_keep_to_its_contract_is_a_dead_letter(loop: Driver) -> None:
    account = new_id()
    subject = subject_of(Mirrored, account)
    payload = cloudevent.write(
        Deposit(account=account, amount=1), id="odd", source="/concord/specimen", subject=account,
        time=clock.now(), sequence=1,
    )  # fmt: skip
    loop.run(loop.on.read(Received(subject, {"content-type": cloudevent.STRUCTURED}, payload)))
    [letter] = loop.letters()
    assert letter.error.startswith("MalformedEvent: ")


def test_an_inbound_message_is_handled_once_and_a_refusal_is_told_to_its_publisher(loop: Driver) -> None:
    account = new_id()
    good = Salary(account=account, amount=50)
    loop.run(loop.inbound(good, id="march"), loop.inbound(good, id="march"))
    assert loop.balance(account) == 50
    for _ in range(2):
        loop.run(loop.inbound(Salary(account=account, amount=101), id="april"))
    told = [row for row in loop.sent() if row.stream == "INBOUND-REFUSED"]
    assert [(row.subject, row.sequence) for row in told] == [("inbound-refused.v1.payroll", 1)]
    notice = json.loads(told[0].payload)["data"]
    assert (notice["message"], notice["refusal"]["code"], notice["refusal"]["field"]) == ("april", "too-much", "amount")


def test_an_inbound_message_that_claims_another_source_is_refused(loop: Driver) -> None:
    account = new_id()
    loop.run(loop.inbound(Salary(account=account, amount=5), source="/somebody-else"))
    [row] = loop.sent()
    assert json.loads(row.payload)["data"]["refusal"]["code"] == "foreign-source"
    assert loop.balance(account) is None


def test_a_broken_inbound_message_is_refused_once_for_each_place_in_the_stream(loop: Driver) -> None:
    broken = Received("inbound.v1.payroll.salary", {"content-type": cloudevent.STRUCTURED}, b'{"specversion": ')
    for place in ("7", "7", "8"):
        loop.run(loop.on.read(broken, place=place))
    assert [json.loads(row.payload)["data"]["refusal"]["code"] for row in loop.sent()] == ["broken-json"] * 2


def test_a_timer_is_handled_once_when_it_falls_due_and_not_before(loop: Driver) -> None:
    account = new_id()
    loop.run(loop.command(Deposit(account=account, amount=5, note="later")))
    with writing(loop.store) as connection:
        in_an_hour = timers.Timer("interest", "elsewhere", clock.now() + timedelta(hours=1), {"amount": 1})
        timers.write(connection, {("interest", "elsewhere"): in_an_hour})
    loop.run()
    loop.run()
    assert loop.balance(account) == 6
    assert loop.balance("elsewhere") is None


def test_a_timer_that_fails_becomes_a_dead_letter_and_can_be_replayed(loop: Driver) -> None:
    with writing(loop.store) as connection:
        broken = timers.Timer("interest", new_id(), clock.now(), {"ammount": 1})
        timers.write(connection, {("interest", broken.key): broken})
    loop.run()
    loop.run()
    [letter] = loop.letters()
    assert (letter.kind, letter.name) == ("timer", "interest")


def test_the_outcome_of_a_task_counts_once(loop: Driver) -> None:
    account = new_id()
    loop.run(loop.command(Deposit(account=account, amount=5, note="double")))
    task = loop.one(select(tasks.TASKS.c.id))
    outcome = {"task": task, "name": "double", "key": account, "args": {}, "attempts": 1,
               "result": {"doubled": 10}, "error": None}  # fmt: skip
    arrivals = [loop.on.read(Received(f"task.double.{task}", {}, json.dumps(outcome).encode())) for _ in range(2)]
    loop.run(*arrivals)
    loop.run(arrivals[0])
    assert loop.balance(account) == 15


def test_a_call_that_fails_harms_nobody(loop: Driver) -> None:
    account = new_id()

    def breaks(connection: Any) -> None:
        connection.execute(specimen.accounts.insert().values(id="half", sequence=1, balance=1))
        raise ValueError("no")

    call = Call(breaks, None)  # type: ignore[arg-type]  # nobody waits for it here
    with writing(loop.store) as connection:
        Transaction(connection, loop.on, 500).run([loop.command(Deposit(account=account, amount=1))], [call])
    assert isinstance(call.error, ValueError)
    assert (loop.balance(account), loop.balance("half")) == (1, None)


def test_what_was_sent_is_kept_for_its_retention_and_then_goes(loop: Driver) -> None:
    for _ in range(3):
        loop.run(loop.command(Deposit(account=new_id(), amount=1)))
    now = clock.now()
    with writing(loop.store) as connection:
        outbox.mark_sent(connection, [row.position for row in loop.sent()[:2]], now)
        assert outbox.prune(connection, now - timedelta(days=1), 100) == 0
        assert outbox.prune(connection, now + timedelta(days=1), 100) == 2
        assert outbox.count_unsent(connection) == 1
        assert inbox.prune(connection, now + timedelta(days=1), 2) == 2
