"""The second service of the measured pipeline: it keeps a copy of every account from the first one's events."""

from sqlalchemy import Column, Integer, MetaData, Table

from shared.database import Key
from shared.surface import Surface
from shared.unit_of_work import Aggregate, Work
from tests.performance.pipeline.membership import Account, PaidIn

metadata = MetaData()
copies = Table(
    "copies",
    metadata,
    Column("id", Key, primary_key=True),
    Column("sequence", Integer, nullable=False),
    Column("balance", Integer, nullable=False),
)
COPIES = Aggregate(Account, copies)
on = Surface("notifications")


@on.event(PaidIn, loads=lambda event: [(COPIES, event.account)])
def paid_in(event: PaidIn, work: Work) -> None:
    copy = work.load(COPIES, event.account) or Account()
    work.put(COPIES, event.account, Account(balance=copy.balance + event.amount))
