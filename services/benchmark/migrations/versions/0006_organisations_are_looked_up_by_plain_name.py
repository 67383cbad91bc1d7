"""organisations are looked up by plain name"""

import sqlalchemy as sa
from alembic import op

import shared.database
from services.benchmark.domain.organisation import plain_name

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("organisations", sa.Column("plain_name", shared.database.Key, nullable=True))
    op.add_column("organisations", sa.Column("plain_name_of", sa.Text(), nullable=True))
    op.create_index(op.f("ix_organisations_plain_name"), "organisations", ["plain_name"])
    names = ("id", "name", "plain_name", "plain_name_of")
    organisations = sa.table("organisations", *map(sa.column, names))
    known = op.get_bind().execute(sa.select(organisations.c.id, organisations.c.name)).all()
    named = organisations.update().where(organisations.c.id == sa.bindparam("of"))
    if known:
        rows = [{"of": id_, "plain_name": plain_name(name)} for id_, name in known]
        named = named.values(plain_name=sa.bindparam("plain_name"), plain_name_of=organisations.c.name)
        op.get_bind().execute(named, rows)
