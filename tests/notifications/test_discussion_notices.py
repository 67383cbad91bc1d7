"""Who hears that a proposal is discussed: only who asked to, once a day, and neither whose words nor which."""

from datetime import UTC, datetime

from services.notifications.domain import routing
from services.notifications.domain.routing import RULES, Audience, Wish, recipients
from services.notifications.domain.subscriber import Subscription
from shared.contracts import membership

UMBRELLA = "0190b0a5-0000-7000-8000-000000000001"
TREASURY = "0190b0a5-0000-7000-8000-000000000002"
PROPOSAL = "0190b0a5-0000-7000-8000-000000000003"
NOON = datetime(2026, 3, 9, 12, tzinfo=UTC)
RULE = RULES[membership.ContributionMade]


def made(*, first_of_day: bool = True) -> membership.ContributionMade:
    return membership.ContributionMade(
        proposal=PROPOSAL, umbrella=UMBRELLA, contribution="0190b0a5-0000-7000-8000-000000000004", network=TREASURY,
        version=1, made_at=NOON, first_of_day=first_of_day,
    )  # fmt: skip


def test_nobody_hears_of_a_contribution_who_did_not_subscribe() -> None:
    assert RULE.tells == ()
    wanted = Subscription(topic="decisions", network=None, region=None, role=None, channel="nats", since=NOON)
    wish = Wish("ada", wanted)
    assert [one.subscriber for one in recipients(RULE, Audience(wishes=[wish], concerned={UMBRELLA: None}))] == ["ada"]
    assert recipients(RULE, Audience(concerned={UMBRELLA: None})) == []


def test_one_day_of_discussion_is_told_once() -> None:
    assert routing.concerns_somebody(RULE, routing.facts_of(made(), None))
    assert not routing.concerns_somebody(RULE, routing.facts_of(made(first_of_day=False), None))


def test_a_subscription_to_one_member_network_does_not_tell_when_it_speaks() -> None:
    assert routing.networks_concerned(RULE, routing.facts_of(made(), None)) == (UMBRELLA,)
    sentence = routing.sentence(RULE, routing.facts_of(made(), None), {UMBRELLA: "North", TREASURY: "Treasury"})
    assert sentence == "There are new contributions to the discussion of a proposal in North."
