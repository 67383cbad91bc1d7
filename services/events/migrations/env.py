"""Alembic's way in: the tables of events and those of the loop."""

from services.events.tables import metadata
from shared.migration import run

run(metadata)
