"""Alembic's way in: the tables of notifications and those of the loop."""

from services.notifications.tables import metadata
from shared.migration import run

run(metadata)
