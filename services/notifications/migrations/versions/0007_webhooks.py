"""webhooks"""

import sqlalchemy as sa
from alembic import op

from shared.database import Key, Moment

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", Key, primary_key=True),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("subscriber", Key, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("since", Moment, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("after", sa.BigInteger, nullable=False),
        sa.Column("under_way", sa.Boolean, nullable=False),
        sa.Column("resume_at", sa.BigInteger),
        sa.Column("missed", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("trouble", sa.Text),
        sa.Column("answered_at", Moment),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("failing_since", Moment),
        sa.Column("next_attempt_at", Moment),
        sa.Column("stopped", Key),
        sa.CheckConstraint('0 <= "after" AND "after" <= last', name="after_is_not_beyond_the_last"),
        sa.CheckConstraint(
            "NOT under_way OR (next_attempt_at IS NULL AND stopped IS NULL)", name="under_way_is_neither"
        ),
        sa.CheckConstraint("next_attempt_at IS NULL OR stopped IS NULL", name="stopped_waits_for_nothing"),
        sa.UniqueConstraint("subscriber", "url"),
    )
    op.create_index("ix_webhooks_subscriber", "webhooks", ["subscriber"])
