"""deputies, seats that end with networks, and people who leave"""

import sqlalchemy as sa
from alembic import op

import shared.database

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "publisher_links",
        sa.Column("id", shared.database.Key, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("publisher", shared.database.Key, nullable=False),
        sa.Column("organisation", shared.database.Key, nullable=True),
        sa.ForeignKeyConstraint(["organisation"], ["organisations.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("publisher"),
    )
    op.create_index("ix_publisher_links_organisation", "publisher_links", ["organisation"])
    op.add_column("networks", sa.Column("steward_left", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("networks", sa.Column("steward_person", shared.database.Key, nullable=True))
    with op.batch_alter_table("representatives") as batch:
        batch.add_column(sa.Column("deputy", shared.database.Key, nullable=True))
        batch.add_column(sa.Column("deputy_principal", shared.database.Key, nullable=True))
        batch.create_unique_constraint("deputy_of_one", ["owner", "deputy"])
        batch.create_unique_constraint("deputy_with_credentials_of_their_own", ["owner", "deputy_principal"])
        batch.create_check_constraint("deputy_with_credentials", "(deputy IS NULL) = (deputy_principal IS NULL)")
        batch.create_index("ix_representatives_deputy_principal", ["deputy_principal"])
    # Nobody wrote down for which networks the seats taken so far are held: they end with none.
    op.add_column("seats", sa.Column("networks", shared.database.Document, nullable=False, server_default="[]"))
    op.create_index("seats_of_person", "seats", ["person"])
    op.add_column("steering_groups", sa.Column("lead_vacated", shared.database.Key, nullable=True))
    op.add_column("work_streams", sa.Column("vacated", shared.database.Key, nullable=True))
