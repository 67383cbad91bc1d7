"""How many bytes things take on disk: ``python -m tests.performance.sizes --seconds 30``, for docs/sizing.md.

The stories of the fault harness are told on real services, without any fault; then tables, indexes with them, and
streams are measured, and divided by what they hold. PostgreSQL is vacuumed before, so the figures are of what is kept.
"""

import asyncio
import json
import logging
import tempfile
from pathlib import Path
from typing import Annotated, TypedDict

import structlog
import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, func, select, table, text

from shared.identity import SERVICES
from shared.streams import api
from shared.testing.nats import NatsServer
from shared.testing.stores import BACKENDS, Backend, postgres
from tests.faults.checker import STREAMS
from tests.faults.under_load import under_load

FEWEST = 300
"""Rows or messages from which the bytes of one are told: of fewer, most of what is measured is empty pages."""
SEED = 5


class Size(TypedDict):
    """What lies somewhere: its bytes on disk and how many rows or messages it holds."""

    where: str
    what: str
    count: int
    bytes: int


def main(
    seconds: Annotated[float, typer.Option(min=1, help="how long the stories are told on each kind of store")] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="write one JSON document instead of a table")] = False,
) -> None:
    """Measures the bytes of a row and of a message, on SQLite, PostgreSQL and in JetStream."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    console = Console(stderr=True)
    sizes: list[Size] = []
    for store in BACKENDS:
        with console.status(f"telling stories on {store}"), tempfile.TemporaryDirectory() as directory:
            sizes += asyncio.run(_measured(Path(directory), store, seconds))
    if as_json:
        print(json.dumps(sizes))  # noqa: T201  the document that was asked for
        return
    shown = Table("where", "what", "count", "bytes of one")
    for each in sorted(sizes, key=lambda size: (size["where"], size["what"])):
        if each["count"] >= FEWEST or each["where"] == "memory":
            shown.add_row(each["where"], each["what"], f"{each['count']:,}", f"{each['bytes'] / each['count']:,.0f}")
    Console().print(shown)


async def _measured(directory: Path, store: Backend, seconds: float) -> list[Size]:
    async with under_load(directory, store, SEED) as platform:
        await asyncio.sleep(seconds)
        await platform.end()
        if platform.found:
            raise RuntimeError("\n".join(platform.found))
        sizes = [
            size
            for name in SERVICES
            for size in await asyncio.to_thread(_tables, platform.stack.engines[name], f"{store}, {name}")
        ]
        if store == "sqlite":  # the streams of the other are no different
            for stream in STREAMS:
                state = (await api(platform.stack.operator, f"STREAM.INFO.{stream}"))["state"]
                sizes.append(Size(where="JetStream", what=stream, count=state["messages"], bytes=state["bytes"]))
            nats = platform.stack.nats
            assert isinstance(nats, NatsServer)
            assert nats.process is not None
            status = await asyncio.to_thread(Path(f"/proc/{nats.process.pid}/status").read_text)
            memory = int(status.split("VmRSS:")[1].split()[0]) * 1024
            sizes.append(Size(where="memory", what="NATS", count=1, bytes=memory))
        return sizes


def _tables(engine: Engine, where: str) -> list[Size]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM FULL" if engine.dialect.name == "postgresql" else "VACUUM"))
        if engine.dialect.name == "postgresql":
            asked = (
                "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
                "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            )
        else:
            asked = "SELECT m.tbl_name, sum(d.pgsize) FROM dbstat d JOIN sqlite_schema m ON m.name = d.name GROUP BY 1"
        sizes = [(str(name), int(size)) for name, size in connection.execute(text(asked))]
        counts = {name: connection.scalar(select(func.count()).select_from(table(name))) or 0 for name, _ in sizes}
        return [Size(where=where, what=name, count=counts[name], bytes=size) for name, size in sizes]


if __name__ == "__main__":
    postgres()
    typer.run(main)
