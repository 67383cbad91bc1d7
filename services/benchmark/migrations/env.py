"""Alembic's way in: the tables of benchmark and those of the loop."""

from services.benchmark.tables import metadata
from shared.migration import run

run(metadata)
