"""tasks know their cause"""

from shared import loop_migrations

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    loop_migrations.keep_the_cause_of_tasks()
