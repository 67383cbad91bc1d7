"""The first service of the measured pipeline: an inbound message changes an account and causes an event.

It carries the name of a real service, since NATS lets only those publish events.
"""

from pydantic import BaseModel
from sqlalchemy import Column, Integer, MetaData, Table

from shared.contracts.message import Command, Event, Inbound
from shared.contracts.platform import Done
from shared.database import Key
from shared.refusal import Refusal
from shared.surface import Surface
from shared.unit_of_work import Aggregate, Work


class Paid(Inbound):
    """An amount is paid in from outside."""

    account: str
    amount: int
    filler: str = ""


class PayIn(Command):
    """Pays an amount in."""

    account: str
    amount: int


class PaidIn(Event):
    """An amount was paid in."""

    key = "account"
    account: str
    amount: int
    filler: str = ""


class Account(BaseModel, frozen=True):
    """What an account holds."""

    balance: int = 0


metadata = MetaData()
accounts = Table(
    "accounts",
    metadata,
    Column("id", Key, primary_key=True),
    Column("sequence", Integer, nullable=False),
    Column("balance", Integer, nullable=False),
)


def evolve(account: Account | None, event: PaidIn) -> Account:
    return Account(balance=(account.balance if account else 0) + event.amount)


ACCOUNTS = Aggregate(Account, accounts, evolve)
on = Surface("membership")


@on.inbound(Paid, loads=lambda message: [(ACCOUNTS, message.account)])
def paid(message: Paid, work: Work) -> Refusal | None:
    event = PaidIn(account=message.account, amount=message.amount, filler=message.filler)
    work.save(ACCOUNTS, message.account, [event])
    return None


@on.command(PayIn, loads=lambda command: [(ACCOUNTS, command.account)])
def pay_in(command: PayIn, work: Work) -> Done | Refusal:
    return work.save(ACCOUNTS, command.account, [PaidIn(account=command.account, amount=command.amount)])
