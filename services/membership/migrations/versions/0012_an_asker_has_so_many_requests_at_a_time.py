"""an asker has so many requests at a time"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("help_requests", sa.Column("slot", sa.Integer(), nullable=True))
    op.execute(
        "UPDATE help_requests SET slot = (SELECT count(*) FROM help_requests AS earlier"
        " WHERE earlier.asker = help_requests.asker AND earlier.state NOT IN ('ended', 'closed')"
        " AND earlier.id <= help_requests.id) WHERE state NOT IN ('ended', 'closed')"
    )
    with op.batch_alter_table("help_requests", schema=None) as batch_op:
        batch_op.create_unique_constraint("so_many_at_a_time", ["asker", "slot"])
        batch_op.create_check_constraint("a_slot_until_the_end", "(slot IS NULL) = (state IN ('ended', 'closed'))")
