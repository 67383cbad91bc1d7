"""Brings a store to the level its service needs: Alembic, with the loop's own tables beside the service's.

``python -m shared.migration SERVICE "what changes"`` writes the next migration of a service, from the difference
between its migrations so far and its tables.
"""

import importlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import structlog
from sqlalchemy import Connection, Engine, MetaData, inspect, text

from shared import dead_letters, history, inbox, outbox, relay, tasks, timers  # noqa: F401  their tables join LOOP
from shared.database import LOOP, Document, Key, Moment, open_store, writing

# Alembic is imported where it is needed: loading it takes a quarter of a second, and most starts find nothing to do.
if TYPE_CHECKING:
    from alembic.config import Config

ADVISORY_LOCK = 0x436F6E636F7264
"""Held while a PostgreSQL store is migrated: of several replicas that start together, one migrates."""

log = structlog.get_logger()


def config(service: str) -> "Config":
    """Alembic's configuration for a service's migrations."""
    from alembic.config import Config

    settings = Config()
    settings.set_main_option("script_location", str(_migrations(service)))
    settings.set_main_option("path_separator", "os")
    settings.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return settings


def upgrade(engine: Engine, service: str) -> None:
    """Applies the migrations a store has not had yet, in one transaction.

    A store that is further is left as it is: what a version adds does not disturb the one before it, and what it takes
    away that one did not use any more (``docs/decisions/upgrade.md``).
    """
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        at = level(connection)
        if at is not None and at > newest(service):
            # Of replicas that are replaced one by one, one of the version before may yet start again.
            log.warning("the store is of a newer version than this program", level=at, known=newest(service))
        if at is not None and at >= newest(service):
            return
        from alembic import command

        settings = config(service)
        settings.attributes["connection"] = connection
        command.upgrade(settings, "head")


def newest(service: str) -> str:
    """The level of the last migration of a service: migrations are numbered, and their files begin with the number."""
    return max(steps(service))


def steps(service: str) -> dict[str, Path]:
    """The migrations of a service by their number, in order."""
    return {file.name.partition("_")[0]: file for file in sorted((_migrations(service) / "versions").glob("[0-9]*.py"))}


def level(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    level: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return level


def _migrations(service: str) -> Path:
    return Path(importlib.import_module(f"services.{service}").__path__[0]) / "migrations"


def run(metadata: MetaData) -> None:
    """What ``migrations/env.py`` of each service calls."""
    from alembic import context

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
    from alembic import command

    with tempfile.TemporaryDirectory() as directory:
        engine = open_store(f"sqlite:///{directory}/store.sqlite")
        upgrade(engine, service)
        with writing(engine) as connection:
            settings = config(service)
            settings.attributes["connection"] = connection
            command.revision(settings, message, autogenerate=True, rev_id=f"{int(newest(service)) + 1:04}")
        engine.dispose()


if __name__ == "__main__":
    revise(*sys.argv[1:])
