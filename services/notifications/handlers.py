"""What notifications hears: it keeps what it needs of the other services, and tells whoever is interested."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from services.notifications import store
from services.notifications.domain import known, routing, subscriber
from services.notifications.domain.delivery_log import Announcement, Telling
from services.notifications.store import (
    ANNOUNCEMENTS,
    DATA_STEWARDS,
    MEETINGS,
    MEMBER_NETWORKS,
    NETWORKS,
    PROPOSALS,
    STEERING_GROUPS,
    SUBSCRIBERS,
)
from shared.contracts import benchmark, events, membership
from shared.contracts.message import Event
from shared.contracts.notifications import (
    DefaultView,
    DeliveryPage,
    DeliveryView,
    ListAllDeliveries,
    ListDeliveries,
    ListSubscriptions,
    Notice,
    Subscribe,
    SubscriptionPage,
    SubscriptionView,
    Unsubscribe,
    delivery_subject,
)
from shared.contracts.platform import Done
from shared.identity import DELIVERIES
from shared.refusal import Refusal
from shared.surface import Surface
from shared.timers import Timer
from shared.unit_of_work import Place, Reader, Work

on = Surface("notifications")


# ---- subscriptions -------------------------------------------------------------------------------------------------


@on.command(Subscribe)
def subscribe(command: Subscribe, work: Work) -> Done | Refusal:
    mine = work.load(SUBSCRIBERS, work.principal) or subscriber.Subscriber(id=work.principal)
    is_known = command.network is not None and work.load(NETWORKS, command.network) is not None
    id_ = work.new_id()
    decision = subscriber.subscribe(mine, command, subscription=id_, network_is_known=is_known, at=work.now)
    done = work.save(SUBSCRIBERS, work.principal, decision)
    # Answered with the id of the subscription, by which it can be ended.
    return done if isinstance(done, Refusal) else done.model_copy(update={"id": id_})


@on.command(Unsubscribe)
def unsubscribe(command: Unsubscribe, work: Work) -> Done | Refusal:
    mine = work.load(SUBSCRIBERS, work.principal) or subscriber.Subscriber(id=work.principal)
    return work.save(SUBSCRIBERS, work.principal, subscriber.unsubscribe(mine, command, work.now))


# ---- telling -------------------------------------------------------------------------------------------------------


def tell(event: Event, work: Work, kept: BaseModel | None = None) -> None:
    """Tells everybody interested in an event, before anything of it is kept; ``kept`` is what was kept before."""
    rule = routing.RULES[type(event)]
    facts = routing.facts_of(event, kept)
    if not routing.concerns_somebody(rule, facts):
        return
    audience = store.audience(work, rule, facts)
    recipients = routing.recipients(rule, audience)
    if not recipients:
        return
    networks = routing.networks_concerned(rule, facts)
    said: dict[str, Any] = {
        "topic": rule.topic,
        "sentence": routing.sentence(rule, facts, audience.names),
        "event": event.wire.type,
        "about": event.aggregate,
        "network": networks[0] if networks else None,
    }
    happened_at = work.envelope.time or work.now
    sequences = work.announce_all(
        DELIVERIES,
        [
            (
                delivery_subject(recipient.subscriber, rule.topic),
                recipient.subscriber,
                Notice(**said, happened_at=happened_at, why=recipient.why),
            )
            for recipient in recipients
        ],
    )
    told = {
        recipient.subscriber: Telling(position=position, channel=recipient.channel, why=recipient.why)
        for recipient, position in zip(recipients, sequences, strict=True)
    }
    id_ = work.new_id()
    announcement = Announcement(id=id_, told_at=work.now, event_id=work.envelope.id, told=told, **said)
    work.put(ANNOUNCEMENTS, id_, announcement)


@on.timer("forget-announcements")
def forget_announcements(_timer: Timer, _work: Work) -> None:
    """Stores still have such timers from before the log was pruned with everything else; they come to nothing."""


def concerned(event: Event) -> Iterable[Place]:
    """The copies of networks that telling of an event will need."""
    rule = routing.RULES[type(event)]
    return [(NETWORKS, id_) for id_ in routing.networks_concerned(rule, routing.facts_of(event, None))]


for only_told in (
    membership.NetworkCarriedOver,
    membership.MembershipAppliedFor,
    membership.WorkStreamOpened,
    membership.WorkStreamClosed,
    membership.StatementConsultedOn,
    membership.StatementIssued,
    membership.StatementSigned,
    membership.SignatureWithdrawn,
    membership.RecommendationAnswered,
    membership.RecommendationFellDue,
    membership.MentorAsked,
    membership.ContributionMade,
    membership.NetworkEstablished,
    membership.PartnerRegistered,
    membership.PartnerLinked,
    membership.PartnershipEnded,
    membership.ConcernRaised,
    membership.ConcernAnswered,
    membership.ConcernReplyOverdue,
    membership.ConcernClosed,
    membership.ConcernWithdrawn,
    events.MeetingsPlanned,
    events.PlanFailed,
    benchmark.RoundOpened,
    benchmark.RoundClosed,
    benchmark.RoundReleased,
):
    on.event(only_told, loads=concerned)(tell)


# ---- keeping and telling: networks and who speaks for them ---------------------------------------------------------


@on.event(membership.NetworkRegistered, loads=concerned)
@on.event(membership.RepresentativeAppointed, loads=concerned)
@on.event(membership.RepresentativeStoodDown, loads=concerned)
@on.event(membership.StewardshipHandedOver, loads=concerned)
@on.event(membership.StewardshipEnded, loads=concerned)
@on.event(membership.DeputyNamed, loads=concerned)
@on.event(membership.DeputyWithdrawn, loads=concerned)
def network_changed(event: known.NetworkEvent, work: Work) -> None:
    tell(event, work)
    work.put(NETWORKS, event.network, known.network_after(work.load(NETWORKS, event.network), event))


@on.event(membership.OfficeMoved, loads=lambda event: [(NETWORKS, event.network)])
def office_moved(event: membership.OfficeMoved, work: Work) -> None:
    """Nobody is told; who wants to hear of a region hears of the network there from now on."""
    work.put(NETWORKS, event.network, known.network_after(work.load(NETWORKS, event.network), event))


@on.event(membership.MemberNetworkAdmitted, loads=concerned)
def member_network_admitted(event: membership.MemberNetworkAdmitted, work: Work) -> None:
    tell(event, work)
    member = known.MemberNetwork(id=event.membership, umbrella=event.umbrella, network=event.network)
    work.put(MEMBER_NETWORKS, event.membership, member)


@on.event(membership.MemberNetworkDeclined, loads=concerned)
def member_network_declined(event: membership.MemberNetworkDeclined, work: Work) -> None:
    tell(event, work)


@on.event(membership.MemberNetworkWithdrawn, loads=concerned)
@on.event(membership.MemberNetworkLapsed, loads=concerned)
def member_network_left(event: membership.MemberNetworkWithdrawn | membership.MemberNetworkLapsed, work: Work) -> None:
    tell(event, work)
    work.put(MEMBER_NETWORKS, event.membership, None)


@on.event(membership.SteeringMemberAppointed, loads=concerned)
@on.event(membership.SteeringMemberStoodDown, loads=concerned)
def steering_group_changed(
    event: membership.SteeringMemberAppointed | membership.SteeringMemberStoodDown, work: Work
) -> None:
    tell(event, work)
    work.put(STEERING_GROUPS, event.group, known.steering_group_after(work.load(STEERING_GROUPS, event.group), event))


# ---- keeping and telling: proposals --------------------------------------------------------------------------------


@on.event(membership.ProposalDrafted)
def proposal_drafted(event: membership.ProposalDrafted, work: Work) -> None:
    work.put(PROPOSALS, event.proposal, known.proposal_after(work.load(PROPOSALS, event.proposal), event))


@on.event(membership.ProposalOpened, loads=concerned)
def proposal_opened(event: membership.ProposalOpened, work: Work) -> None:
    before = work.load(PROPOSALS, event.proposal)
    tell(event, work, before)
    work.put(PROPOSALS, event.proposal, known.proposal_after(before, event))


@on.event(membership.ProposalAmended, loads=concerned)
def proposal_amended(event: membership.ProposalAmended, work: Work) -> None:
    tell(event, work, work.load(PROPOSALS, event.proposal))


@on.event(membership.ProposalDecided, loads=concerned)
@on.event(membership.ProposalWithdrawn, loads=concerned)
def proposal_ended(event: membership.ProposalDecided | membership.ProposalWithdrawn, work: Work) -> None:
    tell(event, work, work.load(PROPOSALS, event.proposal))
    work.put(PROPOSALS, event.proposal, None)


# ---- keeping and telling: meetings ---------------------------------------------------------------------------------


@on.event(events.MeetingBooked, loads=concerned)
def meeting_booked(event: events.MeetingBooked, work: Work) -> None:
    tell(event, work)
    work.put(MEETINGS, event.meeting, known.meeting_booked(event))


@on.event(events.MeetingCancelled, loads=concerned)
def meeting_cancelled(event: events.MeetingCancelled, work: Work) -> None:
    tell(event, work, work.load(MEETINGS, event.meeting))
    work.put(MEETINGS, event.meeting, None)


# ---- keeping and telling: who looks after scores -------------------------------------------------------------------


@on.event(benchmark.DataStewardNamed)
def data_steward_named(event: benchmark.DataStewardNamed, work: Work) -> None:
    tell(event, work)
    work.put(DATA_STEWARDS, event.steward, known.DataSteward(id=event.steward, principal=event.principal))


@on.event(benchmark.DataStewardRemoved)
def data_steward_removed(event: benchmark.DataStewardRemoved, work: Work) -> None:
    tell(event, work)
    work.put(DATA_STEWARDS, event.steward, None)


# ---- questions -----------------------------------------------------------------------------------------------------


@on.query(ListSubscriptions)
def list_subscriptions(_: ListSubscriptions, reader: Reader) -> SubscriptionPage:
    mine = reader.load(SUBSCRIBERS, reader.principal) or subscriber.Subscriber(id=reader.principal)
    by_default = tuple(
        DefaultView(
            role=row.role,
            network=row.network,
            network_name=row.name,
            topics=tuple(topic for topic in routing.topics_by_default(row.role) if topic not in mine.muted),
        )
        for row in store.roles_of(reader, reader.principal)
    )
    return SubscriptionPage(
        subscriptions=tuple(SubscriptionView(id=id_, **dict(one)) for id_, one in mine.subscriptions.items()),
        by_default=by_default,
        muted=tuple(sorted(mine.muted)),
    )


@on.query(ListDeliveries)
def list_deliveries(query: ListDeliveries, reader: Reader) -> DeliveryPage | Refusal:
    return _page(reader, query, reader.principal, None)


@on.query(ListAllDeliveries)
def list_all_deliveries(query: ListAllDeliveries, reader: Reader) -> DeliveryPage | Refusal:
    return _page(reader, query, query.subscriber, query.event_id)


def _page(
    reader: Reader, query: ListDeliveries | ListAllDeliveries, subscriber_: str | None, event_id: str | None
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
        subscriber=subscriber_,
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
