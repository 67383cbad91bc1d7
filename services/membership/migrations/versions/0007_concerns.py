"""concerns"""

import sqlalchemy as sa
from alembic import op

import shared.database

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "concerns",
        sa.Column("id", shared.database.Key, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("umbrella", shared.database.Key, nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("suggestion", sa.Text(), nullable=False),
        sa.Column("raised_by", shared.database.Key, nullable=True),
        sa.Column("raised_at", shared.database.Moment(), nullable=False),
        sa.Column("state", shared.database.Key, nullable=False),
        sa.Column("addressee", sa.Text(), nullable=True),
        sa.Column("submitted_at", shared.database.Moment(), nullable=True),
        sa.Column("reply_by", shared.database.Moment(), nullable=True),
        sa.Column("reminders", sa.Integer(), nullable=False),
        sa.Column("reminded_at", shared.database.Moment(), nullable=True),
        sa.Column("response", sa.Text(), nullable=True),
        sa.Column("answered_at", shared.database.Moment(), nullable=True),
        sa.Column("outcome", shared.database.Key, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("ended_at", shared.database.Moment(), nullable=True),
        sa.CheckConstraint("(state = 'closed') = (outcome IS NOT NULL)", name="closed_with_what_became_of_it"),
        sa.CheckConstraint(
            "outcome IN ('resolved', 'partly-resolved', 'unresolved', 'unanswered', 'not-submitted')",
            name="known_outcome",
        ),
        sa.CheckConstraint("state IN ('open', 'submitted', 'answered', 'closed', 'withdrawn')", name="known_state"),
        sa.CheckConstraint(
            "state NOT IN ('submitted', 'answered') OR reply_by IS NOT NULL", name="submitted_with_a_date"
        ),
        sa.CheckConstraint("(reply_by IS NULL) = (addressee IS NULL)", name="somebody_owes_the_reply"),
        sa.CheckConstraint("(response IS NULL) = (answered_at IS NULL)", name="answered_once"),
        sa.ForeignKeyConstraint(
            ["umbrella"],
            ["networks.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("concerns", schema=None) as batch_op:
        batch_op.create_index("concerns_of_umbrella", ["umbrella", "id"], unique=False)
        batch_op.create_index("concerns_to_be_answered", ["state", "reply_by"], unique=False)

    op.create_table(
        "endorsements",
        sa.Column("owner", shared.database.Key, nullable=False),
        sa.Column("key", shared.database.Key, nullable=False),
        sa.Column("since", shared.database.Moment(), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["concerns.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner", "key"),
    )
    op.create_table(
        "withdrawal_keys",
        sa.Column("id", shared.database.Key, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("concern", shared.database.Key, nullable=False),
        sa.ForeignKeyConstraint(
            ["concern"],
            ["concerns.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("concern"),
    )
