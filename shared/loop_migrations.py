"""Changes of the loop's own tables, one function for each, which a migration of every service calls.

A function that has landed is never edited: stores have been through it.
"""

import sqlalchemy as sa
from alembic import op

from shared.database import Key, Moment


def keep_unsent_apart() -> None:
    """``unsent`` says what no stream has confirmed yet; it was an empty ``sent_at``, and every mark a row written anew.

    The index on ``id`` goes too: rows are found by their position.
    """
    position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table("unsent", sa.Column("position", position, primary_key=True, autoincrement=False))
    op.execute("INSERT INTO unsent (position) SELECT position FROM outbox WHERE sent_at IS NULL")
    op.drop_index("outbox_unsent", "outbox")
    op.drop_index("outbox_sent", "outbox")
    with op.batch_alter_table(
        "outbox",
        naming_convention={"uq": "%(table_name)s_%(column_0_name)s_key"},
        table_kwargs={"sqlite_autoincrement": True},
    ) as batch:
        batch.drop_constraint("outbox_id_key", type_="unique")
        batch.drop_column("sent_at")


def keep_history() -> None:
    """``history`` keeps the events that the outbox lets go of, and both say who caused them."""
    op.add_column("outbox", sa.Column("principal", Key))
    op.create_table(
        "history",
        sa.Column("aggregate", Key, primary_key=True),
        sa.Column("sequence", sa.BigInteger(), primary_key=True),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", Moment(), nullable=False),
        sa.Column("principal", Key),
    )


def keep_the_cause_of_tasks() -> None:
    """``tasks`` says what story and what trace a task belongs to, so that its outcome goes on in them."""
    op.add_column("tasks", sa.Column("correlationid", Key))
    op.add_column("tasks", sa.Column("traceparent", Key))


def say_who_claimed_a_task() -> None:
    """``tasks`` says who is at work on each, so that nobody waits for one that is gone."""
    op.add_column("tasks", sa.Column("claimed_by", Key))
