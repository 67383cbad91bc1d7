"""Partners of an umbrella."""

from sqlalchemy import select

from services.membership import tables
from services.membership.store.pages import page
from shared.contracts.membership import ListPartners, PartnerLinkView, PartnerPage, PartnerView
from shared.unit_of_work import Reader, Work


def names_of_partners(work: Work, umbrella: str) -> list[str]:
    """The names of the partners an umbrella has at present."""
    c = tables.partners.c
    return [row.name for row in work.select(select(c.name).where(c.umbrella == umbrella, c.ended_at.is_(None)))]


def partner_page(reader: Reader, query: ListPartners) -> PartnerPage:
    """Partners in the order they were registered, which is the order of their ids."""
    c, linked, stream = tables.partners.c, tables.partner_links.c, tables.work_streams.c
    statement = select(tables.partners)
    for column, wanted in ((c.umbrella, query.umbrella), (c.type, query.type)):
        if wanted is not None:
            statement = statement.where(column == wanted)
    if query.work_stream is not None:
        statement = statement.where(c.id.in_(select(linked.owner).where(linked.key == query.work_stream)))
    if not query.with_ended:
        statement = statement.where(c.ended_at.is_(None))
    rows, total, more = page(reader, statement, c.id, query.after, query.limit)
    links = (
        select(linked.owner, linked.key.label("work_stream"), linked.since, stream.name, stream.ongoing)
        .join_from(tables.partner_links, tables.work_streams, stream.key == linked.key)
        .where(linked.owner.in_([row.id for row in rows]))
        .order_by(stream.name, linked.key)
    )
    streams: dict[str, list[PartnerLinkView]] = {}
    for link in reader.select(links):
        streams.setdefault(link.owner, []).append(PartnerLinkView.model_validate(link._mapping))
    partners = tuple(
        PartnerView.model_validate({**row._mapping, "work_streams": tuple(streams.get(row.id, ()))}) for row in rows
    )
    return PartnerPage(partners=partners, total=total, next=partners[-1].id if more else None)
