"""Which event interests whom, and why: the rules, and what they make of an audience."""

from datetime import UTC, date, datetime
from typing import Any, get_args

import pytest

from services.notifications.domain import routing
from services.notifications.domain.known import Meeting, Proposal
from services.notifications.domain.routing import MAX_REASONS, RULES, Audience, Bond, Tell, Wish, recipients
from services.notifications.domain.subscriber import Subscription
from shared.contracts import benchmark, events, membership
from shared.contracts.membership import Region
from shared.contracts.message import Event
from shared.contracts.notifications import Standing, Topic

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
UMBRELLA = "0190b0a5-0000-7000-8000-000000000001"
TREASURY = "0190b0a5-0000-7000-8000-000000000002"
CARDIFF = "0190b0a5-0000-7000-8000-000000000003"
PROPOSAL = "0190b0a5-0000-7000-8000-000000000004"
NAMES = {UMBRELLA: "Cross-Government Network", TREASURY: "Treasury Network", CARDIFF: "Cardiff Network"}

DECIDED = RULES[membership.ProposalDecided]
ADMITTED = RULES[membership.MemberNetworkAdmitted]
NAMED = RULES[benchmark.DataStewardNamed]
ASKED = DECIDED.tells[0]


def wish(subscriber: str, topic: Topic = "decisions", **limits: Any) -> Wish:
    limits = {"network": None, "region": None, "role": None} | limits
    return Wish(subscriber, Subscription(topic=topic, channel="nats", since=NOW, **limits))


def told(rule: routing.Rule = DECIDED, **audience: Any) -> list[str]:
    return [to.subscriber for to in recipients(rule, Audience(**{"names": NAMES} | audience))]


def reasons(rule: routing.Rule = DECIDED, **audience: Any) -> tuple[str, ...]:
    [to] = recipients(rule, Audience(**{"names": NAMES} | audience))
    return to.why


# ---- the rules -----------------------------------------------------------------------------------------------------


def test_every_topic_has_a_rule_and_every_role_hears_of_something_by_default() -> None:
    assert {rule.topic for rule in RULES.values()} == set(get_args(Topic))
    assert all(routing.topics_by_default(role) for role in get_args(Standing))
    assert routing.topics_by_default("data-steward") == ("benchmark",)


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.event.wire.type)
def test_every_fact_a_rule_goes_by_exists(rule: routing.Rule) -> None:
    facts = {fact for source in rule.sources for fact in source.model_fields}
    conditions = {rule.only_with, rule.never_with, rule.instead and rule.instead[0]} - {None}
    named = {fact for tell in rule.tells for fact in (tell.fact, tell.unless) if fact} | set(rule.concerns) | conditions
    assert named <= facts


def test_nobody_hears_what_a_single_network_said_or_who_handed_in_scores() -> None:
    quiet: tuple[type[Event], ...] = (
        membership.PositionTaken,
        benchmark.ScoresSubmitted,
        benchmark.RespondentLinked,
        events.AttendanceRecorded,
    )
    assert not set(quiet) & set(RULES)


def test_a_draft_that_is_changed_or_taken_back_concerns_nobody_yet() -> None:
    drafted, opened = Proposal(id=PROPOSAL, author="ada"), Proposal(id=PROPOSAL, electorate=(TREASURY,))
    withdrawn = membership.ProposalWithdrawn(proposal=PROPOSAL, umbrella=UMBRELLA, title="A", reason="B")
    rule = RULES[membership.ProposalWithdrawn]
    assert not routing.concerns_somebody(rule, routing.facts_of(withdrawn, drafted))
    assert routing.concerns_somebody(rule, routing.facts_of(withdrawn, opened))


def test_a_cancelled_meeting_is_told_with_what_was_kept_of_its_booking() -> None:
    kept = Meeting(id=PROPOSAL, date=date(2026, 10, 1), place="York", invited=(TREASURY, CARDIFF))
    cancelled = events.MeetingCancelled(meeting=PROPOSAL, umbrella=UMBRELLA, reason="ill", cancelled_at=NOW)
    rule, facts = RULES[events.MeetingCancelled], routing.facts_of(cancelled, kept)
    assert routing.sentence(rule, facts, NAMES) == (
        "The meeting of Cross-Government Network in York on 1 October 2026 is cancelled."
    )
    assert routing.named_by(facts, "invited") == (TREASURY, CARDIFF)


def test_an_amendment_is_told_with_the_deadline_it_leaves() -> None:
    said = {"proposal": PROPOSAL, "umbrella": UMBRELLA, "title": "A", "text": "B", "version": 2, "deadline": NOW}
    rule, amended = RULES[membership.ProposalAmended], membership.ProposalAmended.model_validate(said)
    assert routing.sentence(rule, routing.facts_of(amended, None), NAMES) == (
        "The wording of an open proposal in Cross-Government Network has changed: "
        "every network is asked again, until 9 March 2026, 12:00 UTC."
    )


def test_an_admission_concerns_the_umbrella_first_and_then_the_network() -> None:
    facts = {"umbrella": UMBRELLA, "network": TREASURY}
    assert routing.networks_concerned(ADMITTED, facts) == (UMBRELLA, TREASURY)


# ---- by default ----------------------------------------------------------------------------------------------------


def test_a_representative_hears_with_the_whole_chain_of_reasons() -> None:
    assert reasons(bonds=[Bond(ASKED, "ada", TREASURY)]) == (
        "You represent Treasury Network.",
        "It is one of the networks asked for their position on this proposal.",
        "Representatives are told of decisions unless they unsubscribe from the topic.",
    )


def test_a_representative_of_a_member_hears_by_way_of_the_umbrella() -> None:
    [first, _] = reasons(RULES[membership.WorkStreamOpened], bonds=[Bond(Tell("members"), "ada", TREASURY, UMBRELLA)])
    assert first == "You represent Treasury Network, a member network of Cross-Government Network."


def test_everybody_is_told_once_however_many_reasons_there_are() -> None:
    bonds = [Bond(ASKED, "ada", TREASURY), Bond(ASKED, "ada", CARDIFF), Bond(ASKED, "bob", CARDIFF)]
    assert told(bonds=bonds, wishes=[wish("ada"), wish("ada", network=UMBRELLA)], concerned={UMBRELLA: None}) == [
        "ada",
        "bob",
    ]


def test_very_many_reasons_are_counted_rather_than_listed() -> None:
    networks = {f"network-{number}": f"Network {number}" for number in range(50)}
    why = reasons(bonds=[Bond(ASKED, "ada", id_) for id_ in networks], names=networks)
    assert len(why) == MAX_REASONS
    assert why[-1] == "And 43 more reasons."


def test_whom_it_concerns_in_person_is_told_that_and_not_that_they_are_still_in_a_group_they_left() -> None:
    rule = RULES[membership.SteeringMemberStoodDown]
    person, steering = rule.tells[0], next(tell for tell in rule.tells if tell.who == "steering-member")
    why = reasons(rule, bonds=[Bond(person, "ada"), Bond(steering, "ada", UMBRELLA)])
    assert why == (
        "This seat was yours.",
        "Whom it concerns is told of steering unless they unsubscribe from the topic.",
    )


def test_who_muted_the_topic_hears_nothing_by_default() -> None:
    bonds = [Bond(ASKED, "ada", TREASURY), Bond(ASKED, "bob", TREASURY)]
    assert told(bonds=bonds, muted=frozenset({"ada"})) == ["bob"]


def test_who_muted_the_topic_still_hears_what_a_subscription_of_theirs_asks_for() -> None:
    audience: dict[str, Any] = {"bonds": [Bond(ASKED, "ada", TREASURY)], "muted": frozenset({"ada"})}
    audience |= {"wishes": [wish("ada", network=UMBRELLA)], "concerned": {UMBRELLA: None}}
    assert reasons(**audience) == ("You subscribed to decisions of Cross-Government Network.",)


# ---- by subscription -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "hears"),
    [
        ({}, True),
        ({"network": UMBRELLA}, True),
        ({"network": CARDIFF}, False),
        ({"region": "London"}, True),
        ({"region": "Wales"}, False),
        ({"role": "representative"}, True),
        ({"role": "steward"}, False),
        ({"network": UMBRELLA, "region": "London", "role": "representative"}, True),
        ({"network": UMBRELLA, "region": "Wales", "role": "representative"}, False),
        ({"network": UMBRELLA, "region": "London", "role": "steward"}, False),
    ],
)
def test_a_subscription_is_met_when_every_limit_of_it_is(limits: dict[str, Any], hears: bool) -> None:
    concerned: dict[str, Region | None] = {UMBRELLA: None, TREASURY: "London"}
    roles = {"ada": frozenset({"representative"})}
    heard = told(ADMITTED, wishes=[wish("ada", "membership", **limits)], concerned=concerned, roles=roles)
    assert heard == (["ada"] if hears else [])


def test_a_subscription_to_another_topic_is_not_met() -> None:
    assert told(wishes=[wish("ada", "meetings")]) == []


def test_a_subscriber_is_told_what_it_subscribed_to() -> None:
    limits = {"network": UMBRELLA, "region": "London", "role": "data-steward"}
    audience = {"wishes": [wish("ada", **limits)], "concerned": {UMBRELLA: "London"}}
    assert reasons(**audience, roles={"ada": {"data-steward"}}) == (
        "You subscribed to decisions of Cross-Government Network in the region London where you are data steward.",
    )


def test_no_subscription_reaches_what_is_confidential() -> None:
    audience = {"wishes": [wish("bob", "benchmark")], "bonds": [Bond(NAMED.tells[0], "ada")]}
    assert told(NAMED, **audience) == ["ada"]
