"""subscriptions are looked up by network"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("subscriptions_of_network", "subscriptions", ["topic", "network"])
