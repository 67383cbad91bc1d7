"""The starter paths of networks that are forming."""

from sqlalchemy import select

from services.membership import tables
from services.membership.domain import starter_path
from services.membership.domain.starter_path import StarterPath
from services.membership.store.aggregates import STARTER_PATHS
from services.membership.store.pages import page
from shared.contracts.membership import ListStarterPaths, StarterPathPage, StarterPathSummary
from shared.unit_of_work import Reader, Work


def starter_path_of(work: Work | Reader, network: str) -> StarterPath | None:
    """The starter path of a network, if it was ever forming."""
    c = tables.starter_paths.c
    found = work.select(select(c.id).where(c.network == network))
    return work.load(STARTER_PATHS, found[0].id) if found else None


def is_forming(work: Work, network: str) -> bool:
    """Whether a network has a starter path and is not established yet."""
    c = tables.starter_paths.c
    return bool(work.select(select(c.id).where(c.network == network, c.established_at.is_(None))))


def starter_path_page(reader: Reader, query: ListStarterPaths) -> StarterPathPage:
    """Starter paths in the order they were begun, which is the order of their ids."""
    c, networks = tables.starter_paths.c, tables.networks.c
    statement = select(tables.starter_paths, networks.name).join_from(
        tables.starter_paths, tables.networks, networks.id == c.network
    )
    statement = statement.where(c.established_at.is_not(None) if query.established else c.established_at.is_(None))
    rows, total, more = page(reader, statement, c.id, query.after, query.limit)
    paths = [(StarterPath.model_validate(row._mapping), row.name) for row in rows]
    summaries = tuple(
        StarterPathSummary(
            **path.model_dump(exclude={"done"}), name=name, done=len(path.done), next=starter_path.next_step(path)
        )
        for path, name in paths
    )
    return StarterPathPage(paths=summaries, total=total, next=summaries[-1].id if more else None)
