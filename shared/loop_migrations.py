"""Changes of the loop's own tables, one function for each, which a migration of every service calls.

A function that has landed is never edited: stores have been through it.
"""

import sqlalchemy as sa
from alembic import op


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
