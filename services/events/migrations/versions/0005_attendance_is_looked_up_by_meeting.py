"""attendance is looked up by meeting"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ledger_of_meeting", "ledger", ["meeting", "network"])
    op.create_index("member_networks_of_network", "member_networks", ["network", "umbrella"])
