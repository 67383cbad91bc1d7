"""Compares what was accepted with what is there: ledger, stores, streams, deliveries. Each check answers in sentences.

``gather`` reads everything once, when nothing is in hand any more; the checks are functions of that alone.
"""

import asyncio
import importlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from itertools import pairwise, zip_longest
from typing import Any

from nats.aio.msg import Msg
from sqlalchemy import select

from services.notifications.domain.routing import RULES
from shared import clock
from shared.broker import Connection
from shared.contracts import benchmark, events, membership, notifications
from shared.contracts.message import REGISTER, Command, Event
from shared.contracts.platform import Done
from shared.database import reading
from shared.dead_letters import DEAD_LETTERS
from shared.identity import DELIVERIES, INBOUND_REFUSED, SERVICES
from shared.inbox import PARKED
from shared.outbox import OUTBOX, UNSENT
from shared.streams import DUPLICATE_WINDOW, event_stream
from shared.testing.mail_server import text_of
from shared.testing.receiver import Post, path_of
from shared.unit_of_work import Aggregate, load
from tests.faults.ledger import Ledger
from tests.faults.schedule import PLATFORM
from tests.faults.stack import Stack
from tests.faults.teller import WITNESS

STREAMS = (*map(event_stream, SERVICES), DELIVERIES, INBOUND_REFUSED)
READ_AT_ONCE = 1000
IN_CONFIDENCE = (membership.PersonLeft,)
"""Inbound messages whose events do not say what they came from."""
NAMING_KINDS = (membership.CloseOrganisation, membership.MergeOrganisations, membership.SplitOrganisation)
"""Commands whose answers name each kind of event once, however many organisations and networks they concern."""
LONGEST = 600
"""Characters of a problem."""
TOLD_AT_MOST = 10
"""Problems of one kind that are told one by one; the rest are counted."""

# ---- what is there -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """A message as its service's outbox has it."""

    service: str
    stream: str
    id: str
    aggregate: str
    sequence: int
    marked: bool
    payload: bytes
    type: str
    cause: str
    data: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What it is called, as replies name it."""
        return REGISTER[self.type].wire.name

    def __str__(self) -> str:
        return f"{self.stream}'s {self.name} {self.id}, number {self.sequence} of {self.aggregate}"


@dataclass(frozen=True)
class Stored:
    """A message as a stream has it."""

    id: str
    at: datetime
    payload: bytes
    aggregate: str
    sequence: int


@dataclass
class Facts:
    """Everything there is at the end. ``states`` by service, name of the aggregate and id: the state and its number."""

    ledger: Ledger
    sent: list[Sent]
    streams: dict[str, list[Stored]]
    states: dict[str, dict[str, dict[str, tuple[Any, int]]]]
    letters: dict[str, list[str]]
    parked: dict[str, int]
    told: list[tuple[str, int, str]]
    """The delivery log of notifications: subscriber, position, id of the event told of."""
    posts: list[Post]
    """What was posted to webhooks, in the order it came, those that were not taken as well."""
    mails: list[EmailMessage]
    """What the mail server took, in the order it came."""

    @property
    def repeats(self) -> int:
        """Messages a stream has once more because the server had forgotten the first; their effect is to be once."""
        return sum(len(stored) - len({message.id for message in stored}) for stored in self.streams.values())

    def of(self, service: str, aggregate: str) -> dict[str, Any]:
        """The states of one aggregate by id."""
        return {id_: state for id_, (state, _) in self.states[service][aggregate].items()}

    def events_of(self, *contracts: type[Event]) -> list[Sent]:
        """The events of these kinds, in the order they were decided."""
        types = {contract.wire.type for contract in contracts}
        return [sent for sent in self.sent if sent.type in types]


AGGREGATES: Mapping[str, Mapping[str, Aggregate[Any]]] = {
    service: {
        name: value
        for name, value in vars(importlib.import_module(f"services.{service}.store")).items()
        if isinstance(value, Aggregate)
    }
    for service in SERVICES
}


async def gather(stack: Stack, ledger: Ledger) -> Facts:
    """Reads stores and streams."""
    streams = {name: await _read_stream(stack.operator, name) for name in STREAMS}
    return await asyncio.to_thread(_facts, stack, ledger, streams)


def _facts(stack: Stack, ledger: Ledger, streams: dict[str, list[Stored]]) -> Facts:
    facts = Facts(ledger, [], streams, {}, {}, {}, [], list(stack.receiver.posts), list(stack.mail.mails))
    for service, engine in stack.engines.items():
        with reading(engine) as connection:
            unsent = set(connection.scalars(select(UNSENT.c.position)))
            for row in connection.execute(select(OUTBOX).order_by(OUTBOX.c.position)):
                event = json.loads(row.payload)
                facts.sent.append(
                    Sent(service, row.stream, row.id, row.aggregate, row.sequence, row.position not in unsent,
                         row.payload, event["type"], event["causationid"], event["data"])
                )  # fmt: skip
            facts.states[service] = {
                name: load(connection, aggregate, list(connection.scalars(select(aggregate.table.c.id))))
                for name, aggregate in AGGREGATES[service].items()
            }
            facts.letters[service] = list(connection.scalars(select(DEAD_LETTERS.c.message)))
            facts.parked[service] = len(connection.execute(select(PARKED.c.key)).all())
    facts.told = [
        (subscriber, telling.position, announcement.event_id)
        for announcement in facts.of("notifications", "ANNOUNCEMENTS").values()
        for subscriber, telling in announcement.told.items()
    ]
    return facts


async def _read_stream(nc: Connection, stream: str) -> list[Stored]:
    """Every message of a stream, in order, in batches (ADR-31, direct get)."""
    found: list[Stored] = []
    first = 1
    while True:
        messages: asyncio.Queue[Msg] = asyncio.Queue()
        inbox = nc.new_inbox()
        subscription = await nc.subscribe(inbox, cb=messages.put)
        wish = {"seq": first, "batch": READ_AT_ONCE, "next_by_subj": ">"}
        await nc.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(wish).encode(), reply=inbox)
        async with asyncio.timeout(30):
            while "Status" not in (headers := (message := await messages.get()).headers or {}):
                first = int(headers["Nats-Sequence"]) + 1
                event = json.loads(message.data)
                at = datetime.fromisoformat(headers["Nats-Time-Stamp"])
                found.append(Stored(event["id"], at, message.data, event["subject"], event["sequence"]))
        await subscription.unsubscribe()
        if headers["Status"] == "404" or int(headers.get("Nats-Num-Pending", 0)) == 0:
            return found


# ---- the checks ----------------------------------------------------------------------------------------------------


def commands_are_carried_out_once(facts: Facts) -> Iterator[str]:
    """Every command was answered, always alike, and caused exactly the events its answer names; a refusal none."""
    caused = _by_cause(facts.sent)
    for asked in facts.ledger.asked.values():
        reply = asked.reply
        if reply is None:
            yield f"{asked} was never answered, in {asked.attempts} attempts"
            continue
        if any(other != reply for other in asked.replies):
            yield f"{asked} was answered once {reply.outcome} and once otherwise: {asked.replies}"
        if reply.done is None and (asked.must_be_done or reply.failure is not None):
            yield f"{asked} should have been done: {reply.model_dump(exclude_none=True)}"
        if asked.command.sealed:
            continue  # nobody can tell which events it caused: they are counted together, below
        mine = [sent for sent in caused.get(asked.id, []) if sent.service == asked.command.wire.owner]
        names = Counter(sent.name for sent in mine)
        if isinstance(asked.command, NAMING_KINDS):
            names = Counter(names.keys())
            happened = Counter((sent.name, sent.aggregate) for sent in mine)
            yield from (f"{asked} caused {count} times {what}" for what, count in happened.items() if count > 1)
        if names != (promised := _promised(asked.command, reply.done)):
            yield f"{asked} was answered with {dict(promised)}, and caused {dict(names)}: {reply}"


def _promised(command: Command, done: Done | None) -> Counter[str]:
    """The events an answer names. That of an import names each kind once, and counts them apart."""
    if done is None:
        return Counter()
    if isinstance(command, membership.ImportOrganisations):
        return +Counter({f"organisation-{what}": done.counts[what] for what in ("registered", "changed")})
    return Counter(done.events)


def inbound_messages_are_taken_in_once(facts: Facts) -> Iterator[str]:
    """Every inbound message had its effect, or was refused to its publisher, once, however often it was sent."""
    caused = _by_cause(facts.sent)
    for handed in facts.ledger.handed.values():
        if isinstance(handed.message, IN_CONFIDENCE):
            continue
        names = tuple(sent.name for sent in caused.get(handed.id, []))
        if names != handed.becomes:
            yield f"{handed} was to become {', '.join(handed.becomes)}, and has: {', '.join(names) or 'nothing'}"


def every_event_has_a_cause(facts: Facts) -> Iterator[str]:
    """No event without the command, message, timer or task that caused it, and no timer or task has one twice.

    Of sealed commands, and of people who left, nobody can tell which events they caused; but how many of each kind.
    """
    known = {id_ for id_, asked in facts.ledger.asked.items() if asked.reply is not None and asked.reply.done}
    known |= facts.ledger.handed.keys() | {sent.id for sent in facts.sent}
    unknown = Counter(
        sent.name for sent in facts.sent if sent.cause not in known and not sent.cause.startswith(("timer ", "task "))
    )
    promised = Counter[str]()
    for asked in facts.ledger.asked.values():
        if asked.command.sealed and asked.reply:
            promised += _promised(asked.command, asked.reply.done)
    for handed in facts.ledger.handed.values():
        if isinstance(handed.message, IN_CONFIDENCE):
            promised.update(handed.becomes)
    yield from _differences("events of a cause that nobody knows", unknown, promised)
    of_own_making = Counter(
        (sent.cause, sent.type, sent.aggregate) for sent in facts.sent if sent.cause.startswith(("timer ", "task "))
    )
    yield from (f"{key} happened {count} times" for key, count in of_own_making.items() if count > 1)


def nothing_happens_before_it_is_due(facts: Facts) -> Iterator[str]:
    """What a timer caused was decided at its moment or later, both by the service's own clock."""
    for sent in facts.sent:
        if sent.cause.startswith("timer "):
            due, at = sent.cause.rpartition(" ")[2], json.loads(sent.payload)["time"]
            if datetime.fromisoformat(at) < datetime.fromisoformat(due):
                yield f"{sent} was due at {due} and happened at {at}"


def outboxes_and_streams_hold_the_same(facts: Facts) -> Iterator[str]:
    """Every row of an outbox is in its stream and marked so; every message of a stream has its row; none is twice."""
    rows = {sent.id: sent for sent in facts.sent}
    for name, stored in facts.streams.items():
        copies: defaultdict[str, list[Stored]] = defaultdict(list)
        for message in stored:
            copies[message.id].append(message)
            if message.id not in rows and message.id not in facts.ledger.poison:
                yield f"{name} has a message no store knows of: {message.payload.decode()}"
        for sent in (sent for sent in facts.sent if sent.stream == name):
            found = copies[sent.id]
            if not found:
                yield f"{sent} is not in the stream"
            elif not sent.marked:
                yield f"{sent} is in the stream and not marked as sent"
            if any(copy.payload != sent.payload for copy in found):
                yield f"{sent} says something else in the stream"
            for one, two in pairwise(found):
                if two.at - one.at < DUPLICATE_WINDOW:
                    yield f"{sent} is in the stream twice, within {two.at - one.at}"


def sequences_have_no_gap(facts: Facts) -> Iterator[str]:
    """Of each aggregate or receiver the numbers are 1, 2, 3, … in the order in which they were decided."""
    for name in facts.streams:
        for aggregate, sequences in _decided(facts, name).items():
            if sequences != list(range(1, len(sequences) + 1)):
                yield f"{name}'s {aggregate} was decided in the order {sequences}"


def streams_keep_the_order(facts: Facts) -> Iterator[str]:
    """Of each aggregate or receiver the messages come into the stream in the order in which they were decided.

    A stream that was filled again after a loss does not: followers put what comes late into its place.
    """
    for name, stored in facts.streams.items():
        in_stream: defaultdict[str, dict[int, None]] = defaultdict(dict)
        for message in (message for message in stored if message.id not in facts.ledger.poison):
            in_stream[message.aggregate].setdefault(message.sequence)  # a repeat counts where it came first
        for aggregate, sequences in _decided(facts, name).items():
            if (came := list(in_stream[aggregate])) != sequences:
                yield f"{name}'s {aggregate} came into the stream in the order {came}"


def _decided(facts: Facts, stream: str) -> Mapping[str, list[int]]:
    """The numbers of each aggregate or receiver, in the order of the outbox."""
    decided: defaultdict[str, list[int]] = defaultdict(list)
    for sent in facts.sent:
        if sent.stream == stream:
            decided[sent.aggregate].append(sent.sequence)
    return decided


def stores_hold_what_their_events_say(facts: Facts) -> Iterator[str]:
    """Every aggregate is what its events make of it, with the number of the last: each had its effect exactly once."""
    for service in SERVICES:
        happened: defaultdict[str, list[Sent]] = defaultdict(list)
        for sent in facts.sent:
            if sent.stream == event_stream(service):
                happened[sent.aggregate].append(sent)
        for name, aggregate in AGGREGATES[service].items():
            for id_, (state, number) in facts.states[service][name].items():
                past = happened.pop(id_, [])
                if aggregate.evolve is None:  # its events do not say what it is, but how many there were
                    if len(past) != number:
                        yield f"{service}'s {name} {id_} has the number {number} after {len(past)} events"
                    continue
                made = None
                try:
                    for sent in past:
                        made = aggregate.evolve(made, REGISTER[sent.type].model_validate(sent.data))
                except Exception as error:  # one is missing, without which another cannot have happened
                    yield f"{service}'s {name} {id_} cannot come of its {len(past)} events: {error!r}"
                    continue
                if (made, len(past)) != (state, number):
                    yield f"{service}'s {name} {id_} is {state} after {number}, its {len(past)} events make it {made}"
        for id_, past in happened.items():
            if past[-1].name != "data-steward-removed":
                yield f"{service} has no {id_}, to which happened: {', '.join(sent.name for sent in past)}"


def what_no_event_tells_is_there(facts: Facts) -> Iterator[str]:
    """Scores as last handed in, one opening line in the ledger of burden for each admission, no plan left in hand."""
    held = {(one.round, one.organisation): one.scores for one in facts.of("benchmark", "SUBMISSIONS").values()}
    handed_in: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for asked in facts.ledger.asked.values():
        if isinstance(asked.command, benchmark.SubmitScores) and asked.reply and asked.reply.done:
            scores = {code: score.value for code, score in asked.command.scores.items()}
            handed_in[asked.command.round, asked.command.organisation].append(scores)
    for key, all_scores in handed_in.items():
        if held.get(key) != all_scores[-1]:
            yield f"benchmark holds {held.get(key)} of {key}; handed in was {all_scores}"
    admitted = Counter(
        (sent.data["umbrella"], sent.data["network"]) for sent in facts.events_of(membership.MemberNetworkAdmitted)
    )
    lines = Counter(
        (line.umbrella, line.network) for line in facts.of("events", "LEDGER").values() if line.meeting is None
    )
    yield from _differences("lines that open the ledger of burden", lines, admitted)
    plans = facts.of("events", "PLANS")
    yield from (f"the plan {id_} is still in hand" for id_, plan in plans.items() if plan.state == "in-hand")
    worked = Counter(each.plan for each in facts.of("events", "WORKED_FROM").values())
    yield from _differences("what plans were worked out from", worked, Counter(plans.keys()))
    fell_due = {
        (sent.aggregate, sent.data["recommendation"]) for sent in facts.events_of(membership.RecommendationFellDue)
    }
    for id_, statement in facts.of("membership", "STATEMENTS").items():
        for key, recommended in statement.recommendations.items():
            is_due = statement.state == "issued" and recommended.status == "open" and recommended.due < clock.now()
            if is_due and (id_, key) not in fell_due:
                yield f"nobody heard that the recommendation {key} of {id_} fell due at {recommended.due}"
    for id_, proposal in facts.of("membership", "PROPOSALS").items():
        if proposal.state == "open" and proposal.deadline < clock.now():
            yield f"the proposal {id_} is open after its deadline, {proposal.deadline}"


def copies_are_what_their_owners_have(facts: Facts) -> Iterator[str]:
    """What followers keep of the other services is what those have."""
    networks = facts.of("membership", "NETWORKS")
    memberships = facts.of("membership", "MEMBERSHIPS")
    admitted = {id_: (one.umbrella, one.network) for id_, one in memberships.items() if one.state == "admitted"}
    seated = {sent.aggregate for sent in facts.events_of(membership.SteeringMemberAppointed)}
    groups = facts.of("membership", "STEERING_GROUPS")

    def compare(
        service: str, copy: str, kept: Callable[[Any], object], owned: Mapping[str, object], only: str = ""
    ) -> Iterator[str]:
        copies = {id_: kept(one) for id_, one in facts.of(service, copy).items() if not only or getattr(one, only)}
        return _differences(f"{service}'s copy of {copy}", copies, owned)

    yield from compare(
        "benchmark",
        "ORGANISATIONS",
        lambda one: (one.slug, one.name, one.abbreviation, one.type, one.region),
        {
            id_: (one.key, one.name, one.abbreviation, one.type, one.region)
            for id_, one in facts.of("membership", "ORGANISATIONS").items()
        },
    )
    yield from compare(
        "events",
        "NETWORKS",
        lambda one: (
            one.name,
            one.office,
            one.umbrella,
            {person: who.office for person, who in one.representatives.items() if not who.stood_down},
        ),
        {
            id_: (
                one.name,
                one.office,
                one.umbrella is not None,
                {person: who.office for person, who in one.representatives.items()},
            )
            for id_, one in networks.items()
        },
    )
    yield from compare("events", "MEMBERS", lambda one: (one.umbrella, one.network), admitted, only="admitted")
    yield from compare("notifications", "MEMBER_NETWORKS", lambda one: (one.umbrella, one.network), admitted)
    yield from compare(
        "notifications",
        "NETWORKS",
        lambda one: (one.name, one.region, one.steward, _principals(one.representatives)),
        {
            id_: (one.name, one.office and one.office.region, None if one.steward_left else one.steward, _speakers(one))
            for id_, one in networks.items()
        },
    )
    yield from compare(
        "notifications",
        "STEERING_GROUPS",
        lambda one: (one.network, sorted(_principals(one.seats).values())),
        # Copied once somebody was seated in it.
        {id_: (groups[id_].network, sorted(_principals(groups[id_].seats).values())) for id_ in seated},
    )
    yield from compare(
        "notifications",
        "PROPOSALS",
        lambda one: (one.author, set(one.electorate)),
        {
            id_: (one.author, set(one.voices))
            for id_, one in facts.of("membership", "PROPOSALS").items()
            if one.state in ("draft", "open")
        },
    )
    yield from compare(
        "notifications",
        "MEETINGS",
        lambda one: (one.date, one.place, one.invited),
        {
            id_: (one.date, one.place, one.invited)
            for id_, one in facts.of("events", "MEETINGS").items()
            if one.state == "booked"
        },
    )
    yield from compare(
        "notifications",
        "DATA_STEWARDS",
        lambda one: one.principal,
        {id_: one.principal for id_, one in facts.of("benchmark", "STEWARDS").items()},
    )


def _principals(people: Mapping[str, Any]) -> dict[str, str]:
    return {key: who.principal for key, who in people.items()}


def _speakers(network: Any) -> dict[str, str]:
    """Who speaks for a network: its representatives and their deputies."""
    deputies = {who.deputy: who.deputy_principal for who in network.representatives.values() if who.deputy}
    return _principals(network.representatives) | deputies


PREMISES: Mapping[type[Event], type[Event]] = {
    membership.ProposalAmended: membership.ProposalOpened,
    membership.ProposalWithdrawn: membership.ProposalOpened,
    events.MeetingCancelled: events.MeetingBooked,
}
"""Events that are told of only where another came before: a draft that is amended concerns nobody yet."""


def everybody_is_told_each_thing_once(facts: Facts) -> Iterator[str]:
    """Deliveries are what the log says; nobody is told of a thing twice; who asked for everything got everything."""
    delivered = [(sent.aggregate, sent.sequence, sent.cause) for sent in facts.sent if sent.stream == DELIVERIES]
    yield from _differences("the delivery log", Counter(facts.told), Counter(delivered))
    for (subscriber, cause), count in Counter((who, cause) for who, _, cause in delivered).items():
        if count > 1:
            yield f"{subscriber} is told {count} times of {cause}"
    past = {(sent.type, sent.aggregate) for sent in facts.sent}
    to_tell = set()
    for sent in facts.sent:
        contract = REGISTER[sent.type]
        rule = RULES.get(contract) if issubclass(contract, Event) else None
        if rule is None or rule.confidential or (rule.never_with and sent.data.get(rule.never_with)):
            continue
        premise = PREMISES.get(rule.event)
        if premise is None or (premise.wire.type, sent.aggregate) in past:
            to_tell.add(sent.id)
    told = {cause for who, _, cause in delivered if who == WITNESS}
    untold, overtold = to_tell - told, told - to_tell
    yield from (f"{WITNESS} was not told of {sent}" for sent in facts.sent if sent.id in untold)
    yield from (f"{WITNESS} was told of {cause}, which is nothing to tell of" for cause in overtold)


def webhooks_are_posted_everything_in_order(facts: Facts) -> Iterator[str]:
    """Each webhook was posted what its subscriber was told since, each notice at first after the one before it."""
    begun = {sent.aggregate: sent.data["after"] for sent in facts.events_of(notifications.WebhookRegistered)}
    told = [sent for sent in facts.sent if sent.stream == DELIVERIES]
    for id_, webhook in facts.of("notifications", "WEBHOOKS").items():
        mine = [sent for sent in told if sent.aggregate == webhook.subscriber and sent.sequence > begun[id_]]
        expected = [(sent.id, sent.payload) for sent in sorted(mine, key=lambda sent: sent.sequence)]
        posted = list(dict.fromkeys((post.id, post.body) for post in facts.posts if post.path == path_of(webhook.url)))
        for number, (due, came) in enumerate(zip_longest(expected, posted), begun[id_] + 1):
            if due != came:
                yield f"{webhook.subscriber} was posted {came}, and {due} was due as number {number}"
                break


def mails_have_everything_in_order(facts: Facts) -> Iterator[str]:
    """Each mailbox was mailed what its subscriber was told since: mails follow one another, again only whole."""
    begun = {sent.aggregate: sent.data["after"] for sent in facts.events_of(notifications.MailboxConfirmed)}
    for id_, mailbox in facts.of("notifications", "MAILBOXES").items():
        mine = [sent for sent in facts.sent if (sent.stream, sent.aggregate) == (DELIVERIES, mailbox.subscriber)]
        told = {sent.sequence: " ".join(sent.data["sentence"].split()) for sent in mine if sent.sequence > begun[id_]}
        after, seen = begun[id_], dict[str, str]()
        for mail in facts.mails:
            through, said = mail["X-Concord-Sequence"], text_of(mail)
            if mail["To"] != mailbox.address or through is None:
                continue
            if seen.setdefault(mail["Message-ID"], said) != said:
                yield f"{mailbox.subscriber} was mailed {through} twice, and not the same"
            first, last = map(int, through.split("-"))
            if last > after:
                if first != after + 1:
                    yield f"{mailbox.subscriber} was mailed {through} after {after}"
                wanted = Counter(f"* {told.get(number)} Why you received this:" for number in range(first, last + 1))
                yield from _differences(f"the mail of {through}", Counter(_items(said)), wanted)
                after = last
        if after != max(told, default=after):
            yield f"{mailbox.subscriber} was mailed everything up to {after}, and was told {max(told)}"


def _items(mail: str) -> list[str]:
    """What the text of a mail tells of, each with the words that follow it."""
    return re.findall(r"\* .*? Why you received this:", mail)


def dead_letters_are_those_that_were_planted(facts: Facts) -> Iterator[str]:
    """Each broken event lies once with each follower that would have handled it, and each message that membership's
    store will not have with membership; nothing else does, or waits."""
    for service, follower in PLATFORM.items():
        planted = Counter(
            f"event /concord/membership {id_}"
            for id_, contract in facts.ledger.poison.items()
            if contract.wire.type in follower.surface.events
        )
        if not follower.follows:
            planted.update(facts.ledger.unstorable)
        yield from _differences(f"{service}'s dead letters", Counter(facts.letters[service]), planted)
        if facts.parked[service]:
            yield f"{service} has {facts.parked[service]} events that wait for one before them"


CHECKS: Sequence[Callable[[Facts], Iterable[str]]] = (
    commands_are_carried_out_once,
    inbound_messages_are_taken_in_once,
    every_event_has_a_cause,
    nothing_happens_before_it_is_due,
    outboxes_and_streams_hold_the_same,
    sequences_have_no_gap,
    streams_keep_the_order,
    stores_hold_what_their_events_say,
    what_no_event_tells_is_there,
    copies_are_what_their_owners_have,
    everybody_is_told_each_thing_once,
    webhooks_are_posted_everything_in_order,
    mails_have_everything_in_order,
    dead_letters_are_those_that_were_planted,
)


def problems(check: Callable[[Facts], Iterable[str]], facts: Facts) -> list[str]:
    """What a check found: the first problems in words, and how many more there are."""
    found = [problem if len(problem) <= LONGEST else problem[:LONGEST] + "…" for problem in check(facts)]
    more = [f"and {len(found) - TOLD_AT_MOST} more"] if len(found) > TOLD_AT_MOST else []
    return found[:TOLD_AT_MOST] + more


def _by_cause(sent: Iterable[Sent]) -> dict[str, list[Sent]]:
    caused: defaultdict[str, list[Sent]] = defaultdict(list)
    for each in sent:
        caused[each.cause].append(each)
    return caused


def _differences(what: str, ours: Mapping[Any, Any], theirs: Mapping[Any, Any]) -> Iterator[str]:
    for key in ours.keys() | theirs.keys():
        if ours.get(key) != theirs.get(key):
            yield f"{what}: of {key} there is {ours.get(key)}, and there should be {theirs.get(key)}"
