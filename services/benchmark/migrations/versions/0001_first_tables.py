"""first tables"""

import sqlalchemy as sa
from alembic import op

import shared.database

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "instruments",
        sa.Column("id", shared.database.Key, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("name", shared.database.Key, nullable=False),
        sa.Column("version", shared.database.Key, nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("measures", shared.database.Document, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name", "version", name="one_content_a_version"),
    )
    op.create_table(
        "organisations",
        sa.Column("id", shared.database.Key, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("slug", shared.database.Key, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("abbreviation", sa.Text(), nullable=True),
        sa.Column("type", shared.database.Key, nullable=False),
        sa.Column("region", shared.database.Key, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "stewards",
        sa.Column("id", shared.database.Key, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("organisation", shared.database.Key, nullable=False),
        sa.Column("principal", shared.database.Key, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("principal"),
    )
    op.create_table(
        "rounds",
        sa.Column("id", shared.database.Key, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("instrument", shared.database.Key, nullable=False),
        sa.Column("instrument_name", shared.database.Key, nullable=False),
        sa.Column("label", shared.database.Key, nullable=False),
        sa.Column("state", shared.database.Key, nullable=False),
        sa.Column("respondents", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("content", shared.database.Key, nullable=True),
        sa.Column("published", shared.database.Document, nullable=False),
        sa.Column("opened_at", shared.database.Moment(), nullable=False),
        sa.Column("closed_at", shared.database.Moment(), nullable=True),
        sa.Column("released_at", shared.database.Moment(), nullable=True),
        sa.Column("release", shared.database.Key, nullable=True),
        sa.CheckConstraint("(state = 'released') = (release IS NOT NULL)", name="released_with_a_release"),
        sa.CheckConstraint("state IN ('open', 'closed', 'released')", name="state_of_a_round"),
        sa.ForeignKeyConstraint(
            ["instrument"],
            ["instruments.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("instrument_name", "label", name="one_round_a_label"),
    )
    op.create_table(
        "releases",
        sa.Column("id", shared.database.Key, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("round", shared.database.Key, nullable=False),
        sa.Column("places", shared.database.Document, nullable=False),
        sa.ForeignKeyConstraint(
            ["round"],
            ["rounds.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("round"),
    )
    op.create_table(
        "submissions",
        sa.Column("id", shared.database.Key, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("round", shared.database.Key, nullable=False),
        sa.Column("respondent", shared.database.Key, nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("organisation", shared.database.Key, nullable=True),
        sa.Column("scores", shared.database.Document, nullable=False),
        sa.Column("answers", shared.database.Document, nullable=False),
        sa.ForeignKeyConstraint(
            ["round"],
            ["rounds.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("round", "organisation", name="one_submission_an_organisation"),
        sa.UniqueConstraint("round", "respondent", name="one_submission_a_respondent"),
    )
    op.create_table(
        "figures",
        sa.Column("owner", shared.database.Key, nullable=False),
        sa.Column("key", shared.database.Key, nullable=False),
        sa.Column("measure", shared.database.Key, nullable=False),
        sa.Column("by", shared.database.Key, nullable=False),
        sa.Column("group", shared.database.Key, nullable=True),
        sa.Column("organisations", sa.Integer(), nullable=True),
        sa.Column("median", sa.Float(), nullable=True),
        sa.Column("lower_quartile", sa.Float(), nullable=True),
        sa.Column("upper_quartile", sa.Float(), nullable=True),
        sa.Column("withheld", shared.database.Key, nullable=True),
        sa.Column("quartiles_withheld", shared.database.Key, nullable=True),
        sa.CheckConstraint("(lower_quartile IS NULL) = (quartiles_withheld IS NOT NULL)", name="quartiles_or_reason"),
        sa.CheckConstraint("(lower_quartile IS NULL) = (upper_quartile IS NULL)", name="both_quartiles_or_none"),
        sa.CheckConstraint("(median IS NULL) = (withheld IS NOT NULL)", name="median_or_reason"),
        sa.CheckConstraint("(organisations IS NULL) = (median IS NULL)", name="median_of_organisations"),
        sa.CheckConstraint("lower_quartile IS NULL OR organisations >= 20", name="twenty_for_quartiles"),
        sa.CheckConstraint("median IS NOT NULL OR lower_quartile IS NULL", name="no_quartiles_of_a_withheld_figure"),
        sa.CheckConstraint("organisations >= 5", name="five_organisations"),
        sa.ForeignKeyConstraint(
            ["owner"],
            ["releases.id"],
        ),
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
