"""Who was told what, when, by which channel, and what became of it."""

from services.notifications import store
from services.notifications.handlers.surface import on
from shared.contracts.notifications import DeliveryPage, DeliveryView, ListAllDeliveries, ListDeliveries
from shared.refusal import Refusal
from shared.unit_of_work import Reader


@on.query(ListDeliveries)
def list_deliveries(query: ListDeliveries, reader: Reader) -> DeliveryPage | Refusal:
    return _page(reader, query, reader.principal, None)


@on.query(ListAllDeliveries)
def list_all_deliveries(query: ListAllDeliveries, reader: Reader) -> DeliveryPage | Refusal:
    return _page(reader, query, query.subscriber, query.event_id)


def _page(
    reader: Reader, query: ListDeliveries | ListAllDeliveries, subscriber: str | None, event_id: str | None
) -> DeliveryPage | Refusal:
    announcement, _, last = (query.after or "").partition(" ")
    if query.after is not None and not (announcement and last):
        return Refusal(
            code="unknown-page",
            sentence="The page asked for is not one of this list; give `next` of the page before, or nothing.",
            field="after",
        )
    rows = store.deliveries(
        reader,
        subscriber=subscriber,
        topic=query.topic,
        event_id=event_id,
        after=(announcement, last) if query.after is not None else None,
        limit=query.limit + 1,
    )
    lines = tuple(
        DeliveryView(
            subscriber=row.key,
            sequence=row.position,
            topic=row.topic,
            sentence=row.sentence,
            event=row.event,
            event_id=row.event_id,
            about=row.about,
            network=row.network,
            told_at=row.told_at,
            channel=row.channel,
            state="published" if row.waiting is None else "waiting",
            why=row.why,
        )
        for row in rows[: query.limit]
    )
    more = len(rows) > query.limit
    return DeliveryPage(deliveries=lines, next=f"{rows[query.limit - 1].id} {lines[-1].subscriber}" if more else None)
