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
        sa.Column("posted_up_to", sa.BigInteger, nullable=False),
        sa.Column("under_way", sa.Boolean, nullable=False),
        sa.Column("answered", sa.Text),
        sa.Column("answered_at", Moment),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("failing_since", Moment),
        sa.Column("next_attempt_at", Moment),
        sa.Column("stopped", Key),
        sa.Column("go_back_to", sa.BigInteger),
        sa.CheckConstraint("posted_up_to >= 0", name="posted_counts_from_nothing"),
    )
    op.create_index("ix_webhooks_subscriber", "webhooks", ["subscriber"])
