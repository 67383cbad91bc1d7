"""Which event message interests whom, and why: the one place that says so.

``RULES`` is the table: an event, the sentence it is told with, and who hears of it without having asked. Whoever has
subscribed to the topic hears of it besides. An event that is not in the table is told to nobody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from services.notifications.domain.known import Meeting, Proposal
from services.notifications.domain.subscriber import Subscription
from services.notifications.domain.wording import UNKNOWN_NETWORK, word
from shared.contracts import benchmark, events, membership
from shared.contracts.membership import Region
from shared.contracts.message import Event
from shared.contracts.notifications import Channel, Standing, Topic

HERE: Final = ZoneInfo("Europe/London")
MAX_REASONS = 10  # of a notice; who speaks for fifty networks need not read fifty lines

Relation = Literal["person", "representative", "members", "steward", "steering-member", "data-steward"]
"""``person`` is the principal that a fact names; ``members`` are the representatives of an umbrella's members."""

ROLE_OF: Mapping[Relation, Standing] = {
    "representative": "representative",
    "members": "representative",
    "steward": "steward",
    "steering-member": "steering-member",
    "data-steward": "data-steward",
}


@dataclass(frozen=True)
class Tell:
    """Who hears of an event by default: those who are ``who`` to the networks or principals that ``fact`` names.

    Without a fact it is everybody who is that anywhere. ``because`` is the next link of the chain of reasons.
    ``unless`` is a fact with which this does not hold.
    """

    who: Relation
    fact: str | None = None
    because: str = ""
    unless: str | None = None


@dataclass(frozen=True)
class Rule:
    """How one event is told. ``concerns`` are the facts that name the networks it concerns, where it happened first.

    ``kept`` is what is kept of the thing it happened to, ``only_with`` a fact without which nobody needs to hear of it,
    and ``never_with`` one with which nobody does. ``instead`` is a fact, and the sentence it is told with if that is
    there. A ``confidential`` event is told to those named by ``tells`` alone: no subscription reaches it. ``due`` is
    the fact that says until when something is asked, or when it takes place: who is told must hear of it before.
    """

    event: type[Event]
    topic: Topic
    template: str
    tells: tuple[Tell, ...]
    concerns: tuple[str, ...] = ()
    kept: type[BaseModel] | None = None
    only_with: str | None = None
    never_with: str | None = None
    instead: tuple[str, str] | None = None
    confidential: bool = False
    due: str | None = None

    @property
    def sources(self) -> tuple[type[BaseModel], ...]:
        """The models its facts come from."""
        return (self.event, self.kept) if self.kept else (self.event,)

    @property
    def templates(self) -> tuple[str, ...]:
        """Every sentence it may be told with."""
        return (self.template, self.instead[1]) if self.instead else (self.template,)


_UMBRELLA_AND_NETWORK = (
    Tell("representative", "network"),
    Tell("steward", "network"),
    Tell("steward", "umbrella"),
    Tell("steering-member", "umbrella"),
)
_ASKED = (
    Tell("representative", "electorate", "It is one of the networks asked for their position on this proposal."),
    Tell("person", "author", "You wrote this proposal."),
    Tell("steering-member", "umbrella"),
)
_INVITED = (
    Tell("representative", "invited", "It is one of the networks invited to this meeting."),
    Tell("steering-member", "umbrella"),
    Tell("steward", "umbrella"),
)
# Whoever raised a concern without a name hears of it as one of all the member networks, for the same reason as they do.
_BEHIND_IT = (
    Tell("person", "raised_by", "You raised this concern."),
    Tell("representative", "endorsed_by", "It is one of the networks that endorsed this concern."),
    Tell("steering-member", "umbrella"),
    Tell("steward", "umbrella"),
)
_ALL_MEMBERS = (*_BEHIND_IT, Tell("members", "umbrella"))
_STEERED = (Tell("members", "network"), Tell("steering-member", "network"), Tell("steward", "network"))
_PLANNING = (Tell("steering-member", "umbrella"), Tell("steward", "umbrella"))
_SECRETARIAT = (Tell("steering-member", "umbrella"), Tell("steward", "umbrella"))

_TABLE = (
    Rule(
        membership.NetworkRegistered,
        "membership",
        "{name} is registered as a network.",
        tells=(Tell("person", "steward", "You are its steward."),),
        concerns=("network", "parent"),
    ),
    Rule(
        membership.NetworkCarriedOver,
        "membership",
        "{network} has a new home organisation, which came after its former one.",
        tells=(Tell("representative", "network"), Tell("steward", "network")),
        concerns=("network",),
    ),
    Rule(
        membership.RepresentativeAppointed,
        "membership",
        "{network} has a new representative.",
        tells=(Tell("person", "principal", "You may speak for this network."), Tell("steward", "network")),
        concerns=("network",),
    ),
    Rule(
        membership.RepresentativeStoodDown,
        "membership",
        "{network} has one representative fewer.",
        tells=(Tell("person", "principal", "You no longer speak for this network."), Tell("steward", "network")),
        concerns=("network",),
    ),
    Rule(
        membership.StewardshipHandedOver,
        "membership",
        "{network} has another steward.",
        tells=(
            Tell("person", "steward", "You are its steward."),
            Tell("person", "before", "You were its steward."),
            Tell("representative", "network"),
        ),
        concerns=("network",),
    ),
    Rule(
        membership.StewardshipEnded,
        "membership",
        "{network} has no steward any more; an operator can appoint one.",
        tells=(Tell("person", "before", "You were its steward."), Tell("representative", "network")),
        concerns=("network",),
    ),
    Rule(
        membership.DeputyNamed,
        "membership",
        "{network} has a new deputy, who speaks for it besides its representatives.",
        tells=(
            Tell("person", "principal", "You may speak for this network, as a deputy."),
            Tell("representative", "network"),
            Tell("steward", "network"),
        ),
        concerns=("network",),
    ),
    Rule(
        membership.DeputyWithdrawn,
        "membership",
        "{network} has one deputy fewer.",
        tells=(
            Tell("person", "principal", "You no longer speak for this network as a deputy."),
            Tell("representative", "network"),
            Tell("steward", "network"),
        ),
        concerns=("network",),
    ),
    Rule(
        membership.MembershipAppliedFor,
        "membership",
        "{network} asks to become a member network of {umbrella}.",
        tells=_UMBRELLA_AND_NETWORK,
        concerns=("umbrella", "network"),
    ),
    Rule(
        membership.MemberNetworkAdmitted,
        "membership",
        "{name} is now a member network of {umbrella}, with one voice there.",
        tells=_UMBRELLA_AND_NETWORK,
        concerns=("umbrella", "network"),
    ),
    Rule(
        membership.MemberNetworkDeclined,
        "membership",
        "The application of {network} to {umbrella} was declined; it may apply again. "
        "show-network tells those who act for {network} why.",
        tells=_UMBRELLA_AND_NETWORK,
        concerns=("umbrella", "network"),
    ),
    Rule(
        membership.MemberNetworkWithdrawn,
        "membership",
        "{network} has left {umbrella}, or taken its application back.",
        tells=_UMBRELLA_AND_NETWORK,
        concerns=("umbrella", "network"),
    ),
    Rule(
        membership.MemberNetworkLapsed,
        "membership",
        "{network} is no longer a member network of {umbrella}: nobody is left to speak for it.",
        tells=_UMBRELLA_AND_NETWORK,
        concerns=("umbrella", "network"),
    ),
    Rule(
        membership.SteeringMemberAppointed,
        "steering",
        "The steering group of {network} has a new {role}.",
        tells=(Tell("person", "principal", "This seat is yours."), *_STEERED),
        concerns=("network",),
    ),
    Rule(
        membership.SteeringMemberStoodDown,
        "steering",
        "In the steering group of {network} a seat is free: {role}.",
        tells=(Tell("person", "principal", "This seat was yours."), *_STEERED),
        concerns=("network",),
    ),
    Rule(
        membership.WorkStreamOpened,
        "steering",
        "{network} has a new work stream, which has no lead yet.",
        tells=_STEERED,
        concerns=("network",),
    ),
    Rule(
        membership.WorkStreamClosed,
        "steering",
        "A work stream of {network} has come to its end.",
        tells=_STEERED,
        concerns=("network",),
    ),
    Rule(
        membership.ProposalOpened,
        "decisions",
        "A proposal in {umbrella} is open: positions are asked for until {deadline}.",
        tells=_ASKED,
        concerns=("umbrella",),
        kept=Proposal,
        due="deadline",
    ),
    Rule(
        membership.ProposalAmended,
        "decisions",
        "The wording of an open proposal in {umbrella} has changed: every network is asked again, until {deadline}.",
        tells=_ASKED,
        concerns=("umbrella",),
        kept=Proposal,
        only_with="electorate",
        due="deadline",
    ),
    Rule(
        membership.ProposalDecided,
        "decisions",
        "A proposal in {umbrella} is decided: {outcome}.",
        tells=_ASKED,
        concerns=("umbrella",),
        kept=Proposal,
    ),
    Rule(
        membership.ProposalWithdrawn,
        "decisions",
        "A proposal in {umbrella} was taken back before it was decided.",
        tells=_ASKED,
        concerns=("umbrella",),
        kept=Proposal,
        only_with="electorate",
    ),
    Rule(
        membership.ConcernRaised,
        "decisions",
        "A concern is raised in {umbrella}: member networks may endorse it.",
        tells=(
            Tell("person", "raised_by", "You raised this concern."),
            Tell("members", "umbrella"),
            Tell("steering-member", "umbrella"),
            Tell("steward", "umbrella"),
        ),
        concerns=("umbrella",),
    ),
    Rule(
        membership.ConcernAnswered,
        "decisions",
        "A concern raised in {umbrella} has a response.",
        tells=(
            *_BEHIND_IT,
            Tell(
                "members",
                "umbrella",
                "Whoever raised it is not named, so the response is told to every member network.",
                unless="raised_by",
            ),
        ),
        concerns=("umbrella",),
    ),
    Rule(
        membership.ConcernReplyOverdue,
        "decisions",
        "The reply to a concern raised in {umbrella} is overdue since {overdue_since}.",
        tells=_PLANNING,
        concerns=("umbrella",),
    ),
    Rule(
        membership.ConcernClosed,
        "decisions",
        "A concern raised in {umbrella} is closed: {outcome}.",
        tells=_ALL_MEMBERS,
        concerns=("umbrella",),
    ),
    Rule(
        membership.ConcernWithdrawn,
        "decisions",
        "A concern raised in {umbrella} was taken back by whoever raised it.",
        tells=_ALL_MEMBERS,
        concerns=("umbrella",),
    ),
    Rule(
        events.MeetingsPlanned,
        "meetings",
        "The next meetings of {umbrella} are planned; none of them is booked yet.",
        tells=_PLANNING,
        concerns=("umbrella",),
    ),
    Rule(
        events.PlanFailed,
        "meetings",
        "The next meetings of {umbrella} could not be planned.",
        tells=_PLANNING,
        concerns=("umbrella",),
    ),
    Rule(
        events.MeetingBooked,
        "meetings",
        "{umbrella} meets in {place} on {date}.",
        tells=_INVITED,
        concerns=("umbrella",),
        due="date",
    ),
    Rule(
        events.MeetingCancelled,
        "meetings",
        "The meeting of {umbrella} in {place} on {date} is cancelled.",
        tells=_INVITED,
        concerns=("umbrella",),
        kept=Meeting,
        only_with="place",
        due="date",
    ),
    Rule(
        benchmark.RoundOpened,
        "benchmark",
        "The round {label} of {instrument_name} is open: organisations may hand in their scores.",
        tells=(Tell("data-steward"),),
        instead=(
            "source",
            "The round {label} of {instrument_name} came from its publisher's file and is closed: nothing to hand in.",
        ),
    ),
    Rule(
        benchmark.RoundClosed,
        "benchmark",
        "A benchmark round is closed: nothing is handed in any more.",
        tells=(Tell("data-steward"),),
        never_with="source",  # what came from a file was told as closed when it was opened
    ),
    Rule(
        benchmark.RoundReleased,
        "benchmark",
        "The round {label} of {instrument_name} is released: its figures can be asked for.",
        tells=(Tell("data-steward"), Tell("representative")),
    ),
    Rule(
        benchmark.DataStewardNamed,
        "benchmark",
        "An organisation has a new data steward.",
        tells=(Tell("person", "principal", "You may hand in and see its scores."),),
        confidential=True,
    ),
    Rule(
        benchmark.DataStewardRemoved,
        "benchmark",
        "An organisation has one data steward fewer.",
        tells=(Tell("person", "principal", "You no longer hand in and see its scores."),),
        confidential=True,
    ),
    Rule(
        membership.StatementConsultedOn,
        "decisions",
        "{umbrella} asks for comments on a statement until {until}.",
        tells=(
            Tell("representative", "consulted", "It is one of the networks asked to comment on this statement."),
            *_SECRETARIAT,
        ),
        concerns=("umbrella",),
        due="until",
    ),
    Rule(
        membership.StatementIssued,
        "decisions",
        "{umbrella} has issued a {kind}, which organisations may sign.",
        tells=(Tell("members", "umbrella"), *_SECRETARIAT),
        concerns=("umbrella",),
    ),
    Rule(
        membership.StatementSigned,
        "decisions",
        "An organisation has signed a statement of {umbrella}.",
        tells=_SECRETARIAT,
        concerns=("umbrella", "network"),
    ),
    Rule(
        membership.SignatureWithdrawn,
        "decisions",
        "An organisation has taken back its signature under a statement of {umbrella}.",
        tells=(Tell("representative", "network", "It took the signature back."), *_SECRETARIAT),
        concerns=("umbrella", "network"),
    ),
    Rule(
        membership.RecommendationAnswered,
        "decisions",
        "A recommendation of {umbrella} has another status: {status}.",
        tells=_SECRETARIAT,
        concerns=("umbrella",),
    ),
    Rule(
        membership.RecommendationFellDue,
        "decisions",
        "A recommendation of {umbrella} was due, and nobody has answered it.",
        tells=_SECRETARIAT,
        concerns=("umbrella",),
    ),
    Rule(
        membership.MentorAsked,
        "membership",
        "A peer would like your help.",
        tells=(Tell("person", "mentor", "You offered experience to peers."),),
        confidential=True,
    ),
    Rule(
        membership.PartnerRegistered,
        "steering",
        "{umbrella} has a new partner.",
        tells=(Tell("members", "umbrella"), *_SECRETARIAT),
        concerns=("umbrella",),
    ),
    Rule(
        membership.PartnerLinked,
        "steering",
        "A partner of {umbrella} takes part in one more work stream.",
        tells=_SECRETARIAT,
        concerns=("umbrella",),
    ),
    Rule(
        membership.PartnershipEnded,
        "steering",
        "A partnership of {umbrella} has ended.",
        tells=(Tell("members", "umbrella"), *_SECRETARIAT),
        concerns=("umbrella",),
    ),
    Rule(
        membership.ContributionMade,
        "decisions",
        "There are new contributions to the discussion of a proposal in {umbrella}.",
        tells=(),  # a discussion disturbs nobody: whoever wants to hear of it subscribes, and hears once a day
        concerns=("umbrella",),  # and not the network: who said something is to be read in the discussion alone
        only_with="first_of_day",
    ),
    Rule(
        membership.NetworkEstablished,
        "membership",
        "{network} was forming, and is established now.",
        tells=(Tell("steward", "network"), Tell("representative", "network")),
        concerns=("network",),
    ),
)
RULES: Mapping[type[Event], Rule] = {rule.event: rule for rule in _TABLE}


def topics_by_default(role: Standing) -> tuple[Topic, ...]:
    """The topics somebody of this role hears of without having asked, by the table above."""
    return tuple(
        dict.fromkeys(rule.topic for rule in RULES.values() for tell in rule.tells if ROLE_OF.get(tell.who) == role)
    )


# ---- deciding ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bond:
    """Why somebody hears of an event by default: what it is to a network, and which part of the rule says so.

    Of ``members``, ``via`` is the umbrella network and ``network`` the member.
    """

    tell: Tell
    principal: str
    network: str | None = None
    via: str | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """Somebody's subscription to the topic of an event."""

    subscriber: str
    subscription: Subscription


@dataclass(frozen=True)
class Audience:
    """Everybody who might hear of an event, and what is needed to decide who does."""

    bonds: Sequence[Bond] = ()
    wishes: Sequence[Wish] = ()
    muted: frozenset[str] = frozenset()
    """Who muted the topic."""
    concerned: Mapping[str, Region | None] = field(default_factory=dict)
    """The networks the event concerns, each with its region."""
    roles: Mapping[str, frozenset[Standing]] = field(default_factory=dict)
    """What somebody is in the networks concerned."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Of networks, by id."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who is told, how, and the chain of reasons."""

    subscriber: str
    channel: Channel
    why: tuple[str, ...]


def facts_of(event: Event, kept: BaseModel | None) -> dict[str, Any]:
    """Everything known of an event: what is kept of the thing it happened to, and what the event itself says."""
    return (dict(kept) if kept else {}) | dict(event)


def concerns_somebody(rule: Rule, facts: Mapping[str, Any]) -> bool:
    """Whether the event is to be told at all."""
    if rule.never_with and facts.get(rule.never_with):
        return False
    return rule.only_with is None or bool(facts.get(rule.only_with))


def holds(tell: Tell, facts: Mapping[str, Any]) -> bool:
    """Whether a part of a rule holds for an event."""
    return tell.unless is None or not facts.get(tell.unless)


def named_by(facts: Mapping[str, Any], fact: str) -> tuple[str, ...]:
    """The ids that a fact names: none, one or several."""
    value = facts.get(fact)
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def networks_concerned(rule: Rule, facts: Mapping[str, Any]) -> tuple[str, ...]:
    """The networks an event concerns, the one it happened in first."""
    return tuple(dict.fromkeys(id_ for fact in rule.concerns for id_ in named_by(facts, fact)))


def sentence(rule: Rule, facts: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """What subscribers are told."""
    match rule.instead:
        case (fact, template) if facts.get(fact):
            return word(template, facts, names)
    return word(rule.template, facts, names)


def due_at(rule: Rule, facts: Mapping[str, Any]) -> datetime | None:
    """The moment before which an event must be heard of; of a day, its beginning where most of its readers are."""
    match facts.get(rule.due) if rule.due else None:
        case datetime() as moment:
            return moment
        case date() as day:
            return datetime.combine(day, time(), HERE).astimezone(UTC)
    return None


def recipients(rule: Rule, audience: Audience) -> list[Recipient]:
    """Who is told of an event, by handle: everybody once, with every reason there is, in the order of the rule.

    Whom it concerns in person is given that as the only reason by default: with a seat just left, others may be past.
    """
    reasons: dict[str, dict[str, None]] = {}
    channels: dict[str, Channel] = {}
    in_person = {bond.principal for bond in audience.bonds if bond.tell.who == "person"}
    for bond in audience.bonds:
        if bond.principal not in audience.muted and (bond.tell.who == "person" or bond.principal not in in_person):
            reasons.setdefault(bond.principal, {}).update(dict.fromkeys(_by_default(rule, bond, audience.names)))
            channels.setdefault(bond.principal, "nats")
    for wish in () if rule.confidential else audience.wishes:
        if _fits(wish, rule, audience):
            why = _by_subscription(wish.subscription, audience.names)
            reasons.setdefault(wish.subscriber, {})[why] = None
            channels.setdefault(wish.subscriber, wish.subscription.channel)
    return [Recipient(who, channels[who], _shortened(tuple(reasons[who]))) for who in sorted(reasons)]


def _fits(wish: Wish, rule: Rule, audience: Audience) -> bool:
    """Whether the event lies within every limit of a subscription."""
    wanted = wish.subscription
    return (
        wanted.topic == rule.topic
        and (wanted.network is None or wanted.network in audience.concerned)
        and (wanted.region is None or wanted.region in audience.concerned.values())
        and (wanted.role is None or wanted.role in audience.roles.get(wish.subscriber, ()))
    )


def _by_default(rule: Rule, bond: Bond, names: Mapping[str, str]) -> list[str]:
    name = names.get(bond.network or "", UNKNOWN_NETWORK)
    umbrella = names.get(bond.via or "", UNKNOWN_NETWORK)
    first, who = {
        "person": ("", "Whom it concerns"),
        "representative": (f"You represent {name}.", "Representatives"),
        "members": (f"You represent {name}, a member network of {umbrella}.", "Representatives"),
        "steward": (f"You are the steward of {name}.", "Stewards"),
        "steering-member": (f"You are in the steering group of {name}.", "Members of a steering group"),
        "data-steward": ("You are a data steward of an organisation.", "Data stewards"),
    }[bond.tell.who]
    verb = "is" if bond.tell.who == "person" else "are"
    last = f"{who} {verb} told of {rule.topic} unless they unsubscribe from the topic."
    return [link for link in (first, bond.tell.because, last) if link]


def _by_subscription(subscription: Subscription, names: Mapping[str, str]) -> str:
    limits = [
        f" of {names.get(subscription.network, 'a network')}" if subscription.network else "",
        f" in the region {subscription.region}" if subscription.region else "",
        f" where you are {subscription.role.replace('-', ' ')}" if subscription.role else "",
    ]
    return f"You subscribed to {subscription.topic}{''.join(limits)}."


def _shortened(reasons: tuple[str, ...]) -> tuple[str, ...]:
    if len(reasons) <= MAX_REASONS:
        return reasons
    return (*reasons[: MAX_REASONS - 1], f"And {len(reasons) - MAX_REASONS + 1} more reasons.")
