"""mailboxes"""

import sqlalchemy as sa
from alembic import op

from shared.database import Key, Moment

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mailboxes",
        sa.Column("id", Key, primary_key=True),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("subscriber", Key, nullable=False, unique=True),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("rhythm", Key, nullable=False),
        sa.Column("quiet_from", Key, nullable=False),
        sa.Column("quiet_until", Key, nullable=False),
        sa.Column("time_zone", Key, nullable=False),
        sa.Column("code", sa.Text),
        sa.Column("code_until", Moment),
        sa.Column("codes", sa.Integer, nullable=False),
        sa.Column("codes_since", Moment),
        sa.Column("confirmed_at", Moment),
        sa.Column("turn", sa.BigInteger, nullable=False),
        sa.Column("up_to", sa.BigInteger),
        sa.Column("due_at", Moment),
        sa.Column("since", Moment, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("after", sa.BigInteger, nullable=False),
        sa.Column("under_way", sa.Boolean, nullable=False),
        sa.Column("missed", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("trouble", sa.Text),
        sa.Column("answered_at", Moment),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("failing_since", Moment),
        sa.Column("next_attempt_at", Moment),
        sa.Column("stopped", Key),
        sa.CheckConstraint('0 <= "after" AND "after" <= last', name="after_is_not_beyond_the_last"),
        sa.CheckConstraint(
            "NOT under_way OR (next_attempt_at IS NULL AND stopped IS NULL)", name="under_way_is_neither"
        ),
        sa.CheckConstraint("next_attempt_at IS NULL OR stopped IS NULL", name="stopped_waits_for_nothing"),
        sa.CheckConstraint("stopped IS NULL OR stopped <> 'ended' OR address = ''", name="an_end_forgets_the_address"),
        sa.CheckConstraint("confirmed_at IS NULL OR code IS NULL", name="confirmed_has_no_code"),
        sa.CheckConstraint('up_to IS NULL OR ("after" <= up_to AND up_to <= last)', name="a_mail_is_of_what_waits"),
    )
