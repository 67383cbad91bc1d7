"""Brings a store to the level its service needs: Alembic, with the loop's own tables beside the service's.

``python -m shared.migration SERVICE "what changes"`` writes the next migration of a service, from the difference
between its migrations so far and its tables.
"""

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Literal

from alembic import command, context
from alembic.config import Config
from sqlalchemy import Connection, Engine, MetaData, text

from shared import dead_letters, inbox, outbox, relay, tasks, timers  # noqa: F401  their tables join LOOP
from shared.database import LOOP, Document, Key, Moment, open_store, writing

ADVISORY_LOCK = 0x436F6E636F7264
"""Held while a PostgreSQL store is migrated: of several replicas that start together, one migrates."""


def config(service: str) -> Config:
    """Alembic's configuration for a service's migrations."""
    package = importlib.import_module(f"services.{service}")
    settings = Config()
    settings.set_main_option("script_location", str(Path(package.__path__[0]) / "migrations"))
    settings.set_main_option("path_separator", "os")
    settings.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return settings


def upgrade(engine: Engine, service: str) -> None:
    """Applies the migrations a store has not had yet, in one transaction."""
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        settings = config(service)
        settings.attributes["connection"] = connection
        command.upgrade(settings, "head")


def run(metadata: MetaData) -> None:
    """What ``migrations/env.py`` of each service calls."""
    connection: Connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=[metadata, LOOP],
        transactional_ddl=False,
        render_as_batch=True,
        render_item=_render,
    )
    context.run_migrations()


def _render(kind: str, item: object, _: object) -> str | Literal[False]:
    """Writes a column type of ours by its name; Alembic would spell out its variants, and one of them wrongly."""
    if kind == "type":
        if isinstance(item, Moment):
            return "shared.database.Moment()"
        for name, ours in (("Key", Key), ("Document", Document)):
            if item is ours:
                return f"shared.database.{name}"
    return False


def revise(service: str, message: str) -> None:
    """Writes the migration from what the service's migrations make to what its tables are."""
    with tempfile.TemporaryDirectory() as directory:
        engine = open_store(f"sqlite:///{directory}/store.sqlite")
        upgrade(engine, service)
        with writing(engine) as connection:
            settings = config(service)
            settings.attributes["connection"] = connection
            count = len(list(Path(settings.get_main_option("script_location") or "").glob("versions/*.py")))
            command.revision(settings, message, autogenerate=True, rev_id=f"{count + 1:04}")
        engine.dispose()


if __name__ == "__main__":
    revise(*sys.argv[1:])
