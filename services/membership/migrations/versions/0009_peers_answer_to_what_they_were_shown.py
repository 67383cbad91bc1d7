"""peers answer to what they were shown"""

import sqlalchemy as sa
from alembic import op

import shared.database

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("help_requests", schema=None) as batch_op:
        batch_op.add_column(sa.Column("asked_as", shared.database.Key, nullable=True))
        batch_op.add_column(sa.Column("place", sa.Integer(), nullable=True))
    # Peers asked already know a request by its own id. In which order requests were closed nobody knows any more.
    op.execute("UPDATE help_requests SET asked_as = id WHERE state IN ('asked', 'matched')")
    op.execute(
        "UPDATE help_requests SET place = (SELECT count(*) FROM help_requests AS earlier"
        " WHERE earlier.state = 'closed' AND earlier.id <= help_requests.id) WHERE state = 'closed'"
    )
    with op.batch_alter_table("help_requests", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_help_requests_asked_as"), ["asked_as"], unique=True)
        batch_op.create_index(batch_op.f("ix_help_requests_place"), ["place"], unique=True)
