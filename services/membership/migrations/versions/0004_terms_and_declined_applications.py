"""terms of seats, and applications that are declined"""

import sqlalchemy as sa
from alembic import op

import shared.database

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

KNOWN = "state IN ('applied', 'admitted', 'declined', 'withdrawn', 'lapsed')"


def upgrade() -> None:
    op.add_column("seats", sa.Column("until", shared.database.Moment(), nullable=True))
    with op.batch_alter_table("memberships") as batch:
        batch.drop_constraint("known_state", type_="check")
        batch.create_check_constraint("known_state", KNOWN)
