"""A small service that has one of everything, for the tests of the loop: accounts that take deposits."""

import time
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import CheckConstraint, Column, Integer, MetaData, Table, select

from shared.contracts.message import Command, Event, Id, Inbound, Query
from shared.contracts.platform import Done
from shared.database import Key
from shared.refusal import Refusal
from shared.surface import Surface
from shared.tasks import Read, TaskOutcome
from shared.timers import Timer
from shared.unit_of_work import Aggregate, Reader, Work

LIMIT = 100


class Deposit(Command):
    """Puts an amount into an account."""

    account: Id
    amount: int
    note: str = ""


class Deposited(Event):
    """An amount went into an account."""

    key = "account"
    account: Id
    amount: int


class Salary(Inbound):
    """An employer pays."""

    account: Id
    amount: int = Field(gt=0)


class Mirrored(Event):
    """Another service's event, as the follower sees it."""

    key = "account"
    account: Id
    amount: int


class Balance(BaseModel, frozen=True):
    """The answer to ``ShowBalance``."""

    balance: int


class ShowBalance(Query[Balance]):
    """Asks what an account holds."""

    account: Id


class Account(BaseModel, frozen=True):
    """What is in an account, and its deposits by number."""

    balance: int = 0
    deposits: dict[str, "Entry"] = {}


class Entry(BaseModel, frozen=True):
    """One deposit."""

    amount: int


metadata = MetaData()
accounts = Table(
    "accounts",
    metadata,
    Column("id", Key, primary_key=True),
    Column("sequence", Integer, nullable=False),
    Column("balance", Integer, CheckConstraint("balance < 1000"), nullable=False),
)
entries = Table(
    "entries",
    metadata,
    Column("owner", Key, primary_key=True),
    Column("key", Key, primary_key=True),
    Column("amount", Integer, nullable=False),
)
mirror = Table(
    "mirror",
    metadata,
    Column("id", Key, primary_key=True),
    Column("sequence", Integer, nullable=False),
    Column("balance", Integer, nullable=False),
    Column("trail", Key, nullable=False),
)


class Mirror(BaseModel, frozen=True):
    """A copy kept from events, with the order in which they were applied."""

    balance: int = 0
    trail: str = ""


def evolve(account: Account | None, event: Deposited) -> Account:
    account = account or Account()
    number = str(len(account.deposits) + 1)
    return Account(
        balance=account.balance + event.amount,
        deposits={**account.deposits, number: Entry(amount=event.amount)},
    )


ACCOUNTS = Aggregate(Account, accounts, evolve, parts={"deposits": entries})
MIRROR = Aggregate(Mirror, mirror)


async def effect(args: Mapping[str, Any], _read: Read) -> Any:
    """An effect on the outside that answers at once."""
    return {"echo": args}


def double(args: Mapping[str, Any]) -> Any:
    """A long computation."""
    return {"doubled": args["amount"] * 2}


def wait(args: Mapping[str, Any]) -> Any:
    """A computation that takes as long as it is told to."""
    time.sleep(args["seconds"])
    return {}


def new_surface() -> Surface:
    """A fresh register with every kind of handler; ``poison`` in its notes makes a handler fail."""
    on = Surface("specimen")
    on.poison = {"poison"}  # type: ignore[attr-defined]  # a test empties it to mend the bug

    def add(account: str, amount: int, note: str, work: Work) -> Done | Refusal:
        if note in on.poison:  # type: ignore[attr-defined]
            raise ZeroDivisionError("a bug")
        if amount < 0:
            return Refusal(code="nothing-out", sentence="An account takes deposits only.", field="amount")
        total = sum(row.balance for row in work.select(select(accounts.c.balance))) if note == "total" else 0
        work.save(ACCOUNTS, account, [Deposited(account=account, amount=amount)])
        if note.startswith("later"):
            work.set_timer("interest", account, work.now, {"amount": 1})
        if note.startswith("double"):
            work.start_task("double", account, {"amount": amount})
        return Done(id=account, events=("deposited",), counts={"total": total} if note == "total" else {})

    @on.command(Deposit, loads=lambda command: [(ACCOUNTS, command.account)])
    def deposit(command: Deposit, work: Work) -> Done | Refusal:
        return add(command.account, command.amount, command.note, work)

    @on.inbound(Salary, loads=lambda message: [(ACCOUNTS, message.account)])
    def salary(message: Salary, work: Work) -> Refusal | None:
        if message.amount > LIMIT:
            return Refusal(code="too-much", sentence=f"A salary is at most {LIMIT}.", field="amount")
        add(message.account, message.amount, "", work)
        return None

    @on.event(Mirrored, loads=lambda event: [(MIRROR, event.account)])
    def mirrored(event: Mirrored, work: Work) -> None:
        if event.amount == 13 and "poison" in on.poison:  # type: ignore[attr-defined]
            raise ZeroDivisionError("a bug")
        now = work.load(MIRROR, event.account) or Mirror()
        trail = f"{now.trail}{work.envelope.sequence},"
        work.put(MIRROR, event.account, Mirror(balance=now.balance + event.amount, trail=trail))

    @on.timer("interest")
    def interest(timer: Timer, work: Work) -> None:
        add(timer.key, timer.data["amount"], "", work)

    @on.task("double", run="shared.testing.specimen:double")
    def doubled(outcome: TaskOutcome, work: Work) -> None:
        add(outcome.key, outcome.result["doubled"], "", work)

    @on.query(ShowBalance)
    def show_balance(query: ShowBalance, reader: Reader) -> Balance | Refusal:
        account = reader.load(ACCOUNTS, query.account)
        return Balance(balance=account.balance) if account else Refusal(code="unknown-account", sentence="No account.")

    return on
