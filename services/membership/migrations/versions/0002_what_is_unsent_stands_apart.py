"""what is unsent stands apart"""

from shared import loop_migrations

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    loop_migrations.keep_unsent_apart()
