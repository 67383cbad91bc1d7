"""what happened is kept"""

from shared import loop_migrations

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    loop_migrations.keep_history()
