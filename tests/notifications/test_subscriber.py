"""Who wants to hear what: subscriptions, limits, and what is muted."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.notifications.domain.subscriber import (
    MAX_SUBSCRIPTIONS,
    Subscriber,
    evolve,
    subscribe,
    unsubscribe,
)
from shared.contracts.message import Event
from shared.contracts.notifications import (
    Subscribe,
    SubscriptionEnded,
    SubscriptionMade,
    TopicMuted,
    TopicUnmuted,
    Unsubscribe,
)
from shared.refusal import Refusal

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
NOBODY = Subscriber(id="ada")
NETWORK = "0190b0a5-0000-7000-8000-000000000001"


def numbered(number: int) -> str:
    return f"0190b0a5-0000-7000-9000-{number:012}"


def ask(subscriber: Subscriber, *, number: int = 1, known: bool = True, **wanted: Any) -> list[Event] | Refusal:
    return subscribe(subscriber, Subscribe(**wanted), subscription=numbered(number), network_is_known=known, at=NOW)


def after(subscriber: Subscriber, decision: list[Event] | Refusal) -> Subscriber:
    assert not isinstance(decision, Refusal), decision
    for event in decision:
        subscriber = evolve(subscriber, event)
    return subscriber


def end(subscriber: Subscriber, **what: Any) -> list[Event] | Refusal:
    return unsubscribe(subscriber, Unsubscribe(**what), NOW)


def test_a_subscription_keeps_its_topic_and_every_limit() -> None:
    decision = ask(NOBODY, topic="decisions", network=NETWORK, region="Wales", role="representative")
    assert decision == [
        SubscriptionMade(
            subscriber="ada",
            subscription=numbered(1),
            topic="decisions",
            network=NETWORK,
            region="Wales",
            role="representative",
            channel="nats",
            made_at=NOW,
        )
    ]
    [kept] = after(NOBODY, decision).subscriptions.values()
    assert (kept.topic, kept.network, kept.region, kept.role, kept.since) == (
        "decisions",
        NETWORK,
        "Wales",
        "representative",
        NOW,
    )


def test_the_first_event_of_somebody_makes_the_subscriber() -> None:
    assert evolve(None, TopicMuted(subscriber="ada", topic="meetings", muted_at=NOW)).muted.keys() == {"meetings"}


def test_a_network_that_nobody_registered_cannot_be_subscribed_to() -> None:
    answer = ask(NOBODY, topic="decisions", network=NETWORK, known=False)
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.field) == ("unknown-network", "network")


def test_the_same_subscription_twice_is_refused_and_names_the_first() -> None:
    ada = after(NOBODY, ask(NOBODY, topic="meetings", region="Wales"))
    answer = ask(ada, number=2, topic="meetings", region="Wales")
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.data) == ("already-subscribed", {"subscription": numbered(1)})
    assert not isinstance(ask(ada, number=2, topic="meetings", region="Scotland"), Refusal)


def test_nobody_has_more_subscriptions_than_the_limit() -> None:
    ada = NOBODY
    for number in range(MAX_SUBSCRIPTIONS):
        ada = after(ada, ask(ada, number=number, topic="meetings", network=numbered(number)))
    answer = ask(ada, number=MAX_SUBSCRIPTIONS, topic="benchmark")
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.data["max"]) == ("too-many-subscriptions", MAX_SUBSCRIPTIONS)


def test_unsubscribing_from_a_topic_ends_all_of_it_and_what_comes_by_default() -> None:
    ada = after(NOBODY, ask(NOBODY, number=1, topic="meetings", region="Wales"))
    ada = after(ada, ask(ada, number=2, topic="meetings"))
    ada = after(ada, ask(ada, number=3, topic="decisions"))
    decision = end(ada, topic="meetings")
    assert decision == [
        SubscriptionEnded(subscriber="ada", subscription=numbered(1), topic="meetings"),
        SubscriptionEnded(subscriber="ada", subscription=numbered(2), topic="meetings"),
        TopicMuted(subscriber="ada", topic="meetings", muted_at=NOW),
    ]
    ada = after(ada, decision)
    assert (list(ada.subscriptions), list(ada.muted)) == ([numbered(3)], ["meetings"])


def test_unsubscribing_from_a_topic_twice_changes_nothing_more() -> None:
    ada = after(NOBODY, end(NOBODY, topic="meetings"))
    assert end(ada, topic="meetings") == []


def test_ending_one_subscription_leaves_the_others_and_the_defaults() -> None:
    ada = after(NOBODY, ask(NOBODY, number=1, topic="meetings", region="Wales"))
    ada = after(ada, ask(ada, number=2, topic="meetings"))
    ada = after(ada, end(ada, subscription=numbered(1)))
    assert (list(ada.subscriptions), ada.muted) == ([numbered(2)], {})


def test_a_subscription_of_somebody_else_cannot_be_ended() -> None:
    answer = end(NOBODY, subscription=numbered(1))
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.field) == ("unknown-subscription", "subscription")


def test_subscribing_to_a_whole_topic_takes_the_mute_back() -> None:
    ada = after(NOBODY, end(NOBODY, topic="meetings"))
    decision = ask(ada, topic="meetings")
    assert isinstance(decision, list)
    assert decision[0] == TopicUnmuted(subscriber="ada", topic="meetings")
    assert after(ada, decision).muted == {}


def test_subscribing_within_limits_leaves_the_topic_muted_by_default() -> None:
    ada = after(NOBODY, end(NOBODY, topic="meetings"))
    assert list(after(ada, ask(ada, topic="meetings", region="Wales")).muted) == ["meetings"]


@pytest.mark.parametrize("what", [{}, {"subscription": NETWORK, "topic": "meetings"}])
def test_unsubscribing_names_either_a_subscription_or_a_topic(what: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="either subscription, to end one, or topic"):
        Unsubscribe(**what)  # type: ignore[arg-type]
