"""Keeping what is needed of the other services, and telling whoever is interested in what they say."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from services.notifications import store
from services.notifications.domain import known, routing
from services.notifications.domain.delivery_log import Announcement, Telling
from services.notifications.handlers import mail, webhooks
from services.notifications.handlers.surface import on
from services.notifications.store import (
    ANNOUNCEMENTS,
    DATA_STEWARDS,
    MEETINGS,
    MEMBER_NETWORKS,
    NETWORKS,
    PROPOSALS,
    STEERING_GROUPS,
)
from shared.contracts import benchmark, events, membership
from shared.contracts.message import Event
from shared.contracts.notifications import Notice, delivery_subject
from shared.identity import DELIVERIES
from shared.timers import Timer
from shared.unit_of_work import Place, Work


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
    due_at = routing.due_at(rule, facts)
    happened_at = work.envelope.time or work.now
    told_of_it = [recipient.subscriber for recipient in recipients]
    listening, mailed = webhooks.of_audience(work, told_of_it), store.mailboxes_of(work, told_of_it)
    sequences = work.announce_all(
        DELIVERIES,
        [
            (
                delivery_subject(recipient.subscriber, rule.topic),
                recipient.subscriber,
                Notice(**said, happened_at=happened_at, why=recipient.why, due_at=due_at),
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
    last = {who: telling.position for who, telling in told.items()}
    webhooks.tell(work, listening, last)
    mail.tell(work, mailed, last, due_at)


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
