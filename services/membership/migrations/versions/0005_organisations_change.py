"""organisations change, and are called more than one thing"""

import sqlalchemy as sa
from alembic import op

from shared.database import Document, Key, Moment

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("other_names", "former_names", "predecessors", "successors"):
        op.add_column("organisations", sa.Column(name, Document, nullable=False, server_default="[]"))
    op.add_column("organisations", sa.Column("listed_name", Key, nullable=True))
    op.add_column("organisations", sa.Column("closed_at", Moment, nullable=True))
