"""Which publishers tell who left which organisation."""

from sqlalchemy import select

from services.membership import tables
from services.membership.domain.leaver import PublisherLink
from services.membership.store.aggregates import PUBLISHER_LINKS
from services.membership.store.pages import page
from shared.contracts.membership import ListPublisherLinks, PublisherLinkPage, PublisherLinkView
from shared.unit_of_work import Reader, Work


def link_of(work: Work, publisher: str) -> PublisherLink | None:
    """Which organisation a publisher speaks for, or once did."""
    c = tables.publisher_links.c
    found = work.select(select(c.id).where(c.publisher == publisher))
    return work.load(PUBLISHER_LINKS, found[0].id) if found else None


def publisher_link_page(reader: Reader, query: ListPublisherLinks) -> PublisherLinkPage:
    """Which publishers speak for which organisations."""
    c, organisations = tables.publisher_links.c, tables.organisations.c
    statement = select(c.publisher, c.organisation, organisations.name).join_from(
        tables.publisher_links, tables.organisations, organisations.id == c.organisation
    )
    if query.organisation is not None:
        statement = statement.where(c.organisation == query.organisation)
    rows, total, more = page(reader, statement, c.publisher, query.after, query.limit)
    links = tuple(PublisherLinkView.model_validate(row._mapping) for row in rows)
    return PublisherLinkPage(links=links, total=total, next=links[-1].publisher if more else None)
