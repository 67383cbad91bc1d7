"""discussion on proposals and starter paths"""

import sqlalchemy as sa
from alembic import op

import shared.database

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "contributions",
        sa.Column("id", shared.database.Key, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("proposal", shared.database.Key, nullable=False),
        sa.Column("network", shared.database.Key, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("made_at", shared.database.Moment(), nullable=False),
        sa.Column("withdrawn_at", shared.database.Moment(), nullable=True),
        sa.CheckConstraint("(text IS NULL) = (withdrawn_at IS NOT NULL)", name="no_words_once_taken_back"),
        sa.ForeignKeyConstraint(["network"], ["networks.id"]),
        sa.ForeignKeyConstraint(["proposal"], ["proposals.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("contributions", schema=None) as batch_op:
        batch_op.create_index("contributions_of_proposal", ["proposal", "id"], unique=False)
    op.create_table(
        "starter_paths",
        sa.Column("id", shared.database.Key, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("network", shared.database.Key, nullable=False),
        sa.Column("begun_at", shared.database.Moment(), nullable=False),
        sa.Column("done", shared.database.Document, nullable=False),
        sa.Column("established_at", shared.database.Moment(), nullable=True),
        sa.ForeignKeyConstraint(["network"], ["networks.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("network"),
    )
