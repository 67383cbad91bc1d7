"""tasks say who claimed them"""

from shared import loop_migrations

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    loop_migrations.say_who_claimed_a_task()
