"""Runs one service of the measured pipeline as a process: ``python -m tests.performance.pipeline.run membership``."""

import importlib
import sys
from functools import partial

from sqlalchemy import Engine, MetaData

from shared.database import LOOP
from shared.service import Service, run

FOLLOWS = {"membership": (), "notifications": ("membership",)}


def create_tables(metadata: MetaData, engine: Engine, _service: str) -> None:
    for tables in (LOOP, metadata):
        tables.create_all(engine)


def main(name: str) -> None:
    module = importlib.import_module(f"tests.performance.pipeline.{name}")
    run(Service(module.on, FOLLOWS[name], partial(create_tables, module.metadata)))


if __name__ == "__main__":
    main(sys.argv[1])
