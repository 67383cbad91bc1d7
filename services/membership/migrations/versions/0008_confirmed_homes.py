"""an operator confirms that a network speaks for its home"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("networks", sa.Column("home_confirmed", sa.Boolean(), nullable=False, server_default=sa.false()))
