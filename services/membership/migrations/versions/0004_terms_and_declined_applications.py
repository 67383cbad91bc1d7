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
    if op.get_bind().dialect.name == "sqlite":  # makes the table anew, without the checks that it does not see
        checks = (
            sa.CheckConstraint(KNOWN, name="known_state"),
            sa.CheckConstraint("umbrella <> network", name="not_its_own_member"),
        )
        with op.batch_alter_table("memberships", recreate="always", table_args=checks):
            pass
    else:
        op.drop_constraint("known_state", "memberships", type_="check")
        op.create_check_constraint("known_state", "memberships", KNOWN)
