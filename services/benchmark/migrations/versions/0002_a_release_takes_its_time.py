"""a release takes its time"""

import sqlalchemy as sa
from alembic import op

import shared.database

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rounds", sa.Column("release_asked_at", shared.database.Moment(), nullable=True))
    op.add_column("rounds", sa.Column("release_failed_at", shared.database.Moment(), nullable=True))
