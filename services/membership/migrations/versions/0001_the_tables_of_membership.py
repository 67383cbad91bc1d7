"""The tables of membership"""

import sqlalchemy as sa
from alembic import op

import shared.database

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "organisations",
        sa.Column("id", shared.database.Key, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("key", shared.database.Key, nullable=False),
        sa.Column("name", shared.database.Key, nullable=False),
        sa.Column("type", shared.database.Key, nullable=False),
        sa.Column("format", shared.database.Key, nullable=True),
        sa.Column("abbreviation", shared.database.Key, nullable=True),
        sa.Column("nation", shared.database.Key, nullable=True),
        sa.Column("region", shared.database.Key, nullable=True),
        sa.Column("place", shared.database.Key, nullable=True),
        sa.Column("latitude", sa.Float(), nullable=True),
        sa.Column("longitude", sa.Float(), nullable=True),
        sa.Column("parents", shared.database.Document, nullable=False),
        sa.Column("unknown_parents", shared.database.Document, nullable=False),
        sa.Column("supersedes", shared.database.Document, nullable=False),
        sa.Column("register_name", shared.database.Key, nullable=True),
        sa.CheckConstraint("(latitude IS NULL) = (longitude IS NULL)", name="whole_coordinate"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
    )
    with op.batch_alter_table("organisations", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_organisations_abbreviation"), ["abbreviation"], unique=False)
        batch_op.create_index(batch_op.f("ix_organisations_name"), ["name"], unique=False)
        batch_op.create_index(batch_op.f("ix_organisations_type"), ["type"], unique=False)

    op.create_table(
        "networks",
        sa.Column("id", shared.database.Key, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("name", shared.database.Key, nullable=False),
        sa.Column("reach", shared.database.Key, nullable=False),
        sa.Column("organisation", shared.database.Key, nullable=True),
        sa.Column("parent", shared.database.Key, nullable=True),
        sa.Column("office", shared.database.Document, nullable=True),
        sa.Column("umbrella", shared.database.Document, nullable=True),
        sa.Column("steering_group", shared.database.Key, nullable=True),
        sa.Column("steward", shared.database.Key, nullable=False),
        sa.CheckConstraint("reach IN ('local', 'regional', 'national')", name="known_reach"),
        sa.CheckConstraint("(umbrella IS NULL) = (steering_group IS NULL)", name="umbrella_has_a_steering_group"),
        sa.CheckConstraint("organisation IS NOT NULL OR parent IS NOT NULL", name="has_a_home"),
        sa.ForeignKeyConstraint(
            ["organisation"],
            ["organisations.id"],
        ),
        sa.ForeignKeyConstraint(
            ["parent"],
            ["networks.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("steering_group"),
    )
    with op.batch_alter_table("networks", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_networks_organisation"), ["organisation"], unique=False)
        batch_op.create_index(batch_op.f("ix_networks_parent"), ["parent"], unique=False)

    op.create_table(
        "memberships",
        sa.Column("id", shared.database.Key, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("umbrella", shared.database.Key, nullable=False),
        sa.Column("network", shared.database.Key, nullable=False),
        sa.Column("state", shared.database.Key, nullable=False),
        sa.CheckConstraint("state IN ('applied', 'admitted', 'withdrawn', 'lapsed')", name="known_state"),
        sa.CheckConstraint("umbrella <> network", name="not_its_own_member"),
        sa.ForeignKeyConstraint(
            ["network"],
            ["networks.id"],
        ),
        sa.ForeignKeyConstraint(
            ["umbrella"],
            ["networks.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("umbrella", "network", name="one_voice"),
    )
    with op.batch_alter_table("memberships", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_memberships_network"), ["network"], unique=False)

    op.create_table(
        "proposals",
        sa.Column("id", shared.database.Key, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("umbrella", shared.database.Key, nullable=False),
        sa.Column("author", shared.database.Key, nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", shared.database.Key, nullable=False),
        sa.Column("opened_at", shared.database.Moment(), nullable=True),
        sa.Column("deadline", shared.database.Moment(), nullable=True),
        sa.Column("quorum", sa.Integer(), nullable=False),
        sa.Column("stand_aside_limit", shared.database.Key, nullable=False),
        sa.Column("decision", shared.database.Document, nullable=True),
        sa.Column("withdrawn_because", sa.Text(), nullable=True),
        sa.CheckConstraint("(state = 'closed') = (decision IS NOT NULL)", name="closed_with_an_outcome"),
        sa.CheckConstraint("state <> 'open' OR deadline IS NOT NULL", name="open_until_a_deadline"),
        sa.CheckConstraint("state IN ('draft', 'open', 'closed', 'withdrawn')", name="known_state"),
        sa.ForeignKeyConstraint(
            ["umbrella"],
            ["networks.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("proposals", schema=None) as batch_op:
        batch_op.create_index("proposals_of_umbrella", ["umbrella", "id"], unique=False)

    op.create_table(
        "representatives",
        sa.Column("owner", shared.database.Key, nullable=False),
        sa.Column("key", shared.database.Key, nullable=False),
        sa.Column("principal", shared.database.Key, nullable=False),
        sa.Column("office", shared.database.Document, nullable=True),
        sa.ForeignKeyConstraint(["owner"], ["networks.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner", "key"),
        sa.UniqueConstraint("owner", "principal", name="credentials_of_their_own"),
    )
    with op.batch_alter_table("representatives", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_representatives_principal"), ["principal"], unique=False)

    op.create_table(
        "steering_groups",
        sa.Column("id", shared.database.Key, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("network", shared.database.Key, nullable=False),
        sa.Column("total_hundredths", sa.Integer(), nullable=False),
        sa.CheckConstraint("total_hundredths BETWEEN 0 AND 600", name="six_fte"),
        sa.ForeignKeyConstraint(
            ["network"],
            ["networks.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("network"),
    )
    op.create_table(
        "seats",
        sa.Column("owner", shared.database.Key, nullable=False),
        sa.Column("key", shared.database.Key, nullable=False),
        sa.Column("role", shared.database.Key, nullable=False),
        sa.Column("work_stream", shared.database.Key, nullable=True),
        sa.Column("person", shared.database.Key, nullable=False),
        sa.Column("principal", shared.database.Key, nullable=False),
        sa.Column("hundredths", sa.Integer(), nullable=False),
        sa.CheckConstraint("role IN ('lead', 'work-stream-lead')", name="known_role"),
        sa.CheckConstraint("hundredths BETWEEN 1 AND 100", name="one_person"),
        sa.ForeignKeyConstraint(["owner"], ["steering_groups.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner", "key"),
        sa.UniqueConstraint("owner", "work_stream", name="one_lead_for_each_work_stream"),
    )
    op.create_table(
        "voices",
        sa.Column("owner", shared.database.Key, nullable=False),
        sa.Column("key", shared.database.Key, nullable=False),
        sa.Column("stance", shared.database.Document, nullable=True),
        sa.Column("earlier", shared.database.Document, nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["proposals.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner", "key"),
    )
    op.create_table(
        "work_streams",
        sa.Column("owner", shared.database.Key, nullable=False),
        sa.Column("key", shared.database.Key, nullable=False),
        sa.Column("name", shared.database.Key, nullable=False),
        sa.Column("ongoing", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["steering_groups.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner", "key"),
    )
    op.create_table(
        "counters",
        sa.Column("key", shared.database.Key, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "cursors",
        sa.Column("key", shared.database.Key, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", shared.database.Key, nullable=False),
        sa.Column("message", shared.database.Key, nullable=False),
        sa.Column("kind", shared.database.Key, nullable=False),
        sa.Column("name", shared.database.Key, nullable=False),
        sa.Column("subject", shared.database.Key, nullable=False),
        sa.Column("headers", shared.database.Document, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("error", sa.String(), nullable=False),
        sa.Column("trace", sa.String(), nullable=False),
        sa.Column("kept_at", shared.database.Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("message"),
    )
    op.create_table(
        "inbox",
        sa.Column("key", shared.database.Key, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("reply", sa.LargeBinary(), nullable=True),
        sa.Column("handled_at", shared.database.Moment(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    with op.batch_alter_table("inbox", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_inbox_handled_at"), ["handled_at"], unique=False)

    op.create_table(
        "leases",
        sa.Column("name", shared.database.Key, nullable=False),
        sa.Column("holder", shared.database.Key, nullable=True),
        sa.Column("held_until", shared.database.Moment(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "outbox",
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", shared.database.Key, nullable=False),
        sa.Column("stream", shared.database.Key, nullable=False),
        sa.Column("subject", shared.database.Key, nullable=False),
        sa.Column("aggregate", shared.database.Key, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=True),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", shared.database.Moment(), nullable=False),
        sa.Column("sent_at", shared.database.Moment(), nullable=True),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("stream", "aggregate", "sequence"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.create_index("outbox_sent", ["sent_at"], unique=False)
        batch_op.create_index(
            "outbox_unsent",
            ["position"],
            unique=False,
            sqlite_where=sa.text("sent_at IS NULL"),
            postgresql_where=sa.text("sent_at IS NULL"),
        )

    op.create_table(
        "parked",
        sa.Column("key", shared.database.Key, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("subject", shared.database.Key, nullable=False),
        sa.Column("headers", shared.database.Document, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("parked_at", shared.database.Moment(), nullable=False),
        sa.PrimaryKeyConstraint("key", "sequence"),
    )
    op.create_table(
        "tasks",
        sa.Column("id", shared.database.Key, nullable=False),
        sa.Column("name", shared.database.Key, nullable=False),
        sa.Column("key", shared.database.Key, nullable=False),
        sa.Column("args", shared.database.Document, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", shared.database.Moment(), nullable=False),
        sa.Column("claimed_until", shared.database.Moment(), nullable=True),
        sa.Column("created_at", shared.database.Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_tasks_due_at"), ["due_at"], unique=False)

    op.create_table(
        "timers",
        sa.Column("name", shared.database.Key, nullable=False),
        sa.Column("key", shared.database.Key, nullable=False),
        sa.Column("due_at", shared.database.Moment(), nullable=False),
        sa.Column("data", shared.database.Document, nullable=False),
        sa.PrimaryKeyConstraint("name", "key"),
    )
    with op.batch_alter_table("timers", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_timers_due_at"), ["due_at"], unique=False)
