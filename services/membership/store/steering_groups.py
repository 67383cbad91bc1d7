"""Umbrella networks by the steering groups they have."""

from collections.abc import Collection

from sqlalchemy import select

from services.membership import tables
from services.membership.domain.network import Network
from services.membership.store.aggregates import NETWORKS
from services.membership.store.pages import page
from shared.contracts.membership import ListSteeringGroups
from shared.unit_of_work import Reader, Work


def umbrellas_seating(work: Work, person: str) -> list[str]:
    """The umbrella networks in whose steering group a person sits."""
    group, seat = tables.steering_groups.c, tables.seats.c
    statement = select(group.network).join_from(tables.seats, tables.steering_groups, seat.owner == group.id)
    return [row.network for row in work.select(statement.where(seat.person == person).distinct())]


def umbrella_page(reader: Reader, query: ListSteeringGroups) -> tuple[Collection[Network], int, bool]:
    """Umbrella networks in the order they were registered, how many in all pages, and whether more follow."""
    c, seat = tables.networks.c, tables.seats.c
    statement = select(c.id).where(c.steering_group.is_not(None))
    if query.network is not None:
        statement = statement.where(c.id == query.network)
    if query.ends_by is not None:
        statement = statement.where(c.steering_group.in_(select(seat.owner).where(seat.until <= query.ends_by)))
    rows, total, more = page(reader, statement, c.id, query.after, query.limit)
    return reader.load_all(NETWORKS, [row.id for row in rows]).values(), total, more
