"""What the loop and one transaction of it promise, on SQLite and on PostgreSQL alike."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
import uuid_utils
from dirty_equals import IsStr
from pydantic import ValidationError
from sqlalchemy import Engine, event, func, select, text
from sqlalchemy.exc import DBAPIError

from shared import clock, dead_letters, history, inbox, outbox, tasks, timers
from shared.contracts import cloudevent, platform
from shared.contracts.message import Message, subject_of
from shared.database import AT_ONCE, LOCK_TIMEOUT, LOOP, LOT, reading, trouble_behind, writing
from shared.loop import Loop
from shared.outbox import OUTBOX
from shared.surface import Arrival, Received, Surface
from shared.testing import specimen
from shared.testing.specimen import LIMIT, Deposit, Mirrored, Salary
from shared.transaction import Call, Committed, Transaction, carefully_if_need_be, without_values
from shared.unit_of_work import load


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
        committed = carefully_if_need_be(partial(self._transact, arrivals))
        return [json.loads(reply) if reply else None for reply in committed.replies]

    def _transact(self, arrivals: Sequence[Arrival], *, careful: bool) -> Committed:
        with writing(self.store) as connection:
            return Transaction(connection, self.on, 500, careful=careful).run(arrivals, [])

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


def statements_for(loop: Driver, *arrivals: Arrival) -> int:
    """How many statements a transaction of these messages takes."""
    said: list[str] = []
    listen = partial(event.listens_for, loop.store, "before_cursor_execute")
    hear = listen()(lambda _connection, _cursor, statement, *_: said.append(statement))
    loop.run(*arrivals)
    event.remove(loop.store, "before_cursor_execute", hear)
    return len(said)


def test_many_messages_take_no_more_statements_than_few(loop: Driver) -> None:
    """On SQLite one for each 64 rows of a table, which are handed over together (``shared.database``)."""

    def deposits(count: int) -> list[Arrival]:
        return [loop.command(Deposit(account=new_id(), amount=1)) for _ in range(count)]

    def events(count: int) -> list[Arrival]:
        return [loop.event(new_id(), 1) for _ in range(count)]

    for made in (deposits, events):
        made_once = statements_for(loop, *made(2))  # what is made once for every statement is made by now
        few = statements_for(loop, *made(2))
        assert few <= made_once < 25
        tables = 5  # that a message of these writes to at the most
        allowed = few if loop.store.dialect.name != "sqlite" else few + tables * (500 // AT_ONCE)
        assert statements_for(loop, *made(500)) <= allowed
        assert few <= statements_for(loop, *made(64)) <= few + (0 if loop.store.dialect.name != "sqlite" else 1)


def test_a_command_leaves_its_effect_and_its_event_in_one_commit(loop: Driver) -> None:
    account = new_id()
    [reply] = loop.run(loop.command(Deposit(account=account, amount=5)))
    assert reply == {"outcome": "done", "done": {"id": account, "events": ["deposited"], "counts": {}}}
    assert loop.balance(account) == 5
    [row] = loop.sent()
    assert (row.aggregate, row.sequence) == (account, 1)
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


def test_a_dead_letter_says_which_rule_of_the_store_was_broken_and_nobodys_values(loop: Driver) -> None:
    neighbour, bad = "00000000-0000-7000-8000-00000000abcd", new_id()
    commands = [
        loop.command(Deposit(account=account, amount=amount)) for account, amount in ((neighbour, 7), (bad, 1000))
    ]
    loop.run(*commands)
    letter = loop.letters()[0]
    assert "balance" in letter.error or "check constraint" in letter.error
    assert "MustBeUndone" not in letter.error  # how the loop found out is nobody's concern
    assert "unit_of_work.py" in letter.trace
    again = loop.run(loop.command(platform.ReplayDeadLetter(letter=letter.id), "operator"))[0]["failure"]["sentence"]
    for told in (letter.error, letter.trace, again):
        assert not [value for value in ("2345", bad, neighbour) if value in told]


def test_a_dead_letter_says_which_table_is_not_there(loop: Driver, store: Engine) -> None:
    with writing(store) as connection:
        connection.execute(text("ALTER TABLE accounts RENAME TO mislaid"))
    loop.run(loop.command(Deposit(account=new_id(), amount=7)))
    error = loop.letters()[0].error
    assert "no such table: accounts" in error or 'relation "accounts" does not exist' in error


def test_a_model_that_does_not_fit_is_told_by_its_field_and_not_by_its_value() -> None:
    with pytest.raises(ValidationError) as caught:
        Deposit(account="not an id of anybody", amount="lots")
    assert without_values(caught.value) == "Deposit does not fit in account, amount"


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


def test_a_replay_says_so_where_a_rule_refuses_what_is_replayed(loop: Driver) -> None:
    account = new_id()
    loop.run(loop.command(Deposit(account=account, amount=-2, note="poison")))
    [letter] = loop.letters()
    loop.on.poison.clear()
    [reply] = loop.run(loop.command(platform.ReplayDeadLetter(letter=letter.id), "operator"))
    assert (reply["outcome"], reply["refusal"]["code"]) == ("refused", "nothing-out")
    assert reply["refusal"]["data"]["letter"] == letter.id
    assert "is let go" in reply["refusal"]["sentence"]
    assert not loop.letters()
    assert loop.balance(account) is None


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
        outbox.mark_sent(connection, [row.position for row in loop.sent()[:2]])
        assert history.prune_outbox(connection, now - timedelta(days=1), 100, "SPECIMEN") == 0
        assert history.prune_outbox(connection, now + timedelta(days=1), 100, "SPECIMEN") == 2
        assert outbox.count_unsent(connection) == 1
        assert inbox.prune(connection, now + timedelta(days=1), 2) == 2


def test_the_story_of_an_aggregate_stays_whole_when_the_outbox_is_pruned(loop: Driver) -> None:
    account, now = new_id(), clock.now()
    commands = [loop.command(Deposit(account=account, amount=amount), who) for who, amount in (("ann", 1), ("bob", 2))]
    loop.run(*commands)
    refused = loop.inbound(Salary(account=account, amount=LIMIT + 1))
    loop.run(refused)

    def story(until: datetime | None = None, after: int = 0) -> list[tuple[int, str | None, str]]:
        with reading(loop.store) as connection:
            rows = history.page(connection, "SPECIMEN", account, after=after, until=until, limit=9)
        return [(row.sequence, row.principal, json.loads(row.payload)["causationid"]) for row in rows]

    whole = [(1, "ann", commands[0].envelope.id), (2, "bob", commands[1].envelope.id)]
    assert story() == whole
    with writing(loop.store) as connection:
        outbox.mark_sent(connection, [row.position for row in loop.sent()])
        history.prune_outbox(connection, now + timedelta(days=1), 1, "SPECIMEN")  # the first alone
        assert connection.scalar(select(func.count()).select_from(history.HISTORY)) == 1
    assert story() == whole
    with writing(loop.store) as connection:
        while history.prune_outbox(connection, now + timedelta(days=1), 100, "SPECIMEN"):
            continue
        assert connection.scalar(select(func.count()).select_from(history.HISTORY)) == 2
    assert loop.sent() == []
    assert (story(), story(after=1), story(until=now - timedelta(days=1))) == (whole, whole[1:], [])


def test_an_event_that_waited_and_comes_again_in_its_turn_does_not_wait_any_more(loop: Driver) -> None:
    account, other = new_id(), new_id()
    loop.run(loop.event(account, 2), loop.event(account, 1), loop.event(account, 2))
    loop.run(loop.event(other, 2))
    loop.run(loop.event(other, 1), loop.event(other, 2))
    assert (loop.trail(account), loop.trail(other)) == ("1,2,", "1,2,")
    assert loop.one(select(func.count()).select_from(inbox.PARKED)) == 0


def test_many_that_waited_go_on_in_order_and_stop_at_the_next_gap(loop: Driver) -> None:
    accounts = [new_id() for _ in range(3)]
    late = range(2, 400)
    loop.run(*[loop.event(account, sequence) for account in accounts for sequence in late if sequence != 300])
    loop.run(*[loop.event(account, 1) for account in accounts])
    for account in accounts:
        assert loop.trail(account) == "".join(f"{sequence}," for sequence in range(1, 300))
        loop.run(loop.event(account, 300))
        assert loop.trail(account) == "".join(f"{sequence}," for sequence in range(1, 400))


def test_discarding_what_was_handled_after_all_passes_nothing_over(loop: Driver) -> None:
    account = new_id()
    loop.run(loop.event(account, 1, amount=13))
    [letter] = loop.letters()
    loop.on.poison.clear()
    loop.run(loop.event(account, 1, amount=13))  # delivered again, and well now
    loop.run(loop.command(platform.DiscardDeadLetter(letter=letter.id, reason="it is done")))
    loop.run(loop.event(account, 2))
    assert loop.trail(account) == "1,2,"
    assert not loop.letters()


def test_a_number_that_no_column_holds_is_that_messages_affair_alone(loop: Driver) -> None:
    good, bad = new_id(), new_id()
    replies = loop.run(
        loop.command(Deposit(account=bad, amount=2**63)),
        loop.command(Deposit(account=good, amount=1, note="total")),  # its select is what writes the one before
    )
    assert [reply["outcome"] for reply in replies] == ["failed", "done"]
    assert (loop.balance(bad), loop.balance(good)) == (None, 1)
    assert len(loop.letters()) == 1


def test_an_infinite_number_is_refused_where_it_comes_in(loop: Driver) -> None:
    payload = cloudevent.write(
        Deposit(account=new_id(), amount=1), id="x", source="/tester", time=clock.now()
    ).replace(b'"amount":1', b'"amount":1e999')  # fmt: skip
    subject = subject_of(Deposit, "alice", "specimen")
    arrival = loop.on.read(Received(subject, {"content-type": cloudevent.STRUCTURED}, payload))
    [reply] = loop.run(arrival)
    assert reply["refusal"]["field"] == "amount"


def test_a_replay_that_the_store_says_no_to_leaves_no_letter_of_its_own(loop: Driver) -> None:
    loop.run(loop.command(Deposit(account=new_id(), amount=1000)))
    [letter] = loop.letters()
    [reply] = loop.run(loop.command(platform.ReplayDeadLetter(letter=letter.id), "operator"))
    assert reply["failure"]["dead_letter"] == letter.id
    assert [kept.id for kept in loop.letters()] == [letter.id]


def test_a_dead_letter_is_kept_whatever_its_headers_hold(loop: Driver) -> None:
    arrival = loop.command(Deposit(account=new_id(), amount=2, note="poison"))
    headers = {**arrival.received.headers, "x-odd": "nul \0 and half a pair \ud800"}
    arrival.received = Received(arrival.received.subject, headers, arrival.received.payload)
    loop.run(arrival)
    [letter] = loop.letters()
    assert letter.headers["x-odd"] == "nul \\0 and half a pair \\ud800"


def test_a_dead_letter_can_be_looked_at_without_waiting_for_the_writer(loop: Driver) -> None:
    loop.run(loop.command(Deposit(account=new_id(), amount=2, note="poison")))
    [letter] = loop.letters()
    with writing(loop.store) as connection:
        dead_letters.find(connection, letter.id, lock=True)
        with reading(loop.store) as reader:
            found = dead_letters.find(reader, letter.id)
    assert found is not None
    assert found.error == letter.error


def test_replaying_a_timer_leaves_the_one_that_was_set_since(loop: Driver) -> None:
    account = new_id()
    with writing(loop.store) as connection:
        broken = timers.Timer("interest", account, clock.now(), {"ammount": 1})
        timers.write(connection, {("interest", account): broken})
    loop.run()
    [letter] = loop.letters()
    later = timers.Timer("interest", account, clock.now() + timedelta(hours=1), {"amount": 1})
    with writing(loop.store) as connection:
        timers.write(connection, {("interest", account): later})
    loop.run(loop.command(platform.ReplayDeadLetter(letter=letter.id)))
    assert loop.one(select(timers.TIMERS.c.due_at)) == later.due_at


def test_a_full_disk_leaves_nothing_behind_and_blames_nobody(loop: Driver) -> None:
    if loop.store.dialect.name != "sqlite":
        pytest.skip("filling the disk of a PostgreSQL server would fill everybody's")
    with loop.store.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    commands = [loop.command(Deposit(account=new_id(), amount=2)) for _ in range(200)]

    def shrink(connection: Any, *_: Any) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages + 6}")

    event.listen(loop.store, "checkout", shrink)
    with pytest.raises(Exception, match=r".*") as caught:
        loop.run(*commands)
    assert "full" in str(trouble_behind(caught.value))
    assert (len(loop.sent()), len(loop.letters())) == (0, 0)
    event.remove(loop.store, "checkout", shrink)
    loop.store.dispose()
    assert [reply["outcome"] for reply in loop.run(*commands)] == ["done"] * 200


def test_a_statement_that_asks_too_much_is_not_the_stores_trouble(store: Engine) -> None:
    too_many = select(specimen.accounts.c.id).where(specimen.accounts.c.id.in_([str(n) for n in range(300_000)]))
    with pytest.raises(DBAPIError) as caught, reading(store) as connection:
        connection.execute(too_many)
    assert trouble_behind(caught.value) is None


def test_any_number_of_aggregates_and_receivers_is_looked_up_at_once(store: Engine) -> None:
    keys = [f"key-{n}" for n in range(2 * LOT + 1)]
    with writing(store) as connection:
        connection.execute(inbox.CURSORS.insert(), [{"key": key, "sequence": 7} for key in keys[::LOT]])
        found = inbox.cursors(connection, keys)
        assert sum(found.values()) == 3 * 7
        assert load(connection, specimen.ACCOUNTS, keys) == {}


async def test_a_running_loop_keeps_to_a_timer_as_soon_as_a_message_has_set_it(store: Engine, on: Surface) -> None:
    driver, account = Driver(store, on), new_id()
    with ThreadPoolExecutor(1) as writer:
        running = Loop(on, store, writer)
        ended = asyncio.create_task(running.run())
        running.offer(driver.command(Deposit(account=account, amount=1)))
        await until(lambda: driver.balance(account) == 1)
        running.offer(driver.command(Deposit(account=account, amount=2, note="later")))
        await until(lambda: driver.balance(account) == 4)  # the timer adds one, and nothing else happens meanwhile
        running.stop()
        await ended


async def test_a_busy_loop_keeps_to_a_timer_that_another_replica_has_left(store: Engine, on: Surface) -> None:
    driver, account, busy = Driver(store, on), new_id(), new_id()
    with ThreadPoolExecutor(1) as writer:
        running = Loop(on, store, writer)
        ended = asyncio.create_task(running.run())
        running.offer(driver.command(Deposit(account=busy, amount=1)))
        await until(lambda: driver.balance(busy) == 1)
        with writing(store) as connection:
            left = timers.Timer("interest", account, clock.now(), {"amount": 1})
            timers.write(connection, {("interest", account): left})

        def handled() -> bool:
            running.offer(driver.command(Deposit(account=busy, amount=1)))
            return driver.balance(account) == 1

        await until(handled)
        running.stop()
        await ended


async def test_a_loop_whose_store_keeps_it_waiting_says_so_before_it_gives_up(store: Engine, on: Surface) -> None:
    driver, account = Driver(store, on), new_id()
    with ThreadPoolExecutor(1) as writer:
        running = Loop(on, store, writer)
        ended = asyncio.create_task(running.run())
        with store.connect() as other:
            other.exec_driver_sql("BEGIN EXCLUSIVE" if store.dialect.name == "sqlite" else "LOCK TABLE inbox")
            assert running.trouble is None
            asked_at = time.monotonic()
            running.offer(driver.command(Deposit(account=account, amount=1)))
            await until(lambda: running.trouble is not None)
            assert time.monotonic() - asked_at < LOCK_TIMEOUT / 2
            other.rollback()
        await until(lambda: driver.balance(account) == 1)
        await until(lambda: running.trouble is None)
        running.stop()
        await ended


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not happened():  # noqa: ASYNC110  the loop tells nobody
            await asyncio.sleep(0.02)
