"""Alembic's way in: the tables of membership and those of the loop."""

from services.membership.tables import metadata
from shared.migration import run

run(metadata)
