"""Each service is killed at fault points under load, on both kinds of store; then everything accepted is accounted for.

The short set: every point once on each kind of store. ``make faults`` runs the long one.
"""

import asyncio
import copy
import dataclasses
from collections.abc import Callable, Iterable

import pytest

from shared.identity import DELIVERIES
from shared.testing.fault_points import POINTS
from shared.testing.stores import BACKENDS, Backend
from tests.faults import checker
from tests.faults.checker import CHECKS, Facts, Stored
from tests.faults.rounds import ALL_CHECKS, Outcome, run
from tests.faults.schedule import Round
from tests.faults.teller import WITNESS

SEED = 1
ROUNDS = [Round(SEED, number, len(POINTS)) for number in range(len(BACKENDS))]

pytestmark = pytest.mark.timeout(900)  # both rounds are run for the first test that asks


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[Backend, Outcome]:
    """What became of the platform on each kind of store; one waits for redelivery while the other is killed."""

    async def both() -> list[Outcome]:
        turn = asyncio.Lock()
        return await asyncio.gather(*(run(round_, tmp_path_factory.mktemp(round_.store), turn) for round_ in ROUNDS))

    return {outcome.round.store: outcome for outcome in asyncio.run(both())}


@pytest.mark.parametrize("check", ALL_CHECKS)
@pytest.mark.parametrize("store", BACKENDS)
def test_after_kills_at_every_fault_point(store: Backend, check: str, outcomes: dict[Backend, Outcome]) -> None:
    outcome = outcomes[store]
    found = "\n".join(outcome.found[check])
    assert not found, f"{outcome}\n{found}\nTo run it again: {outcome.replay}"


# ---- the checker is checked: whatever is taken away, added or changed, it sees -------------------------------------


@pytest.fixture
def facts(outcomes: dict[Backend, Outcome]) -> Facts:
    """What there was at the end of a sound round, to be tampered with."""
    sound = outcomes["sqlite"].facts
    assert sound is not None
    return Facts(
        ledger=dataclasses.replace(sound.ledger, poison=dict(sound.ledger.poison)),
        sent=list(sound.sent),
        streams={name: list(stored) for name, stored in sound.streams.items()},
        states={
            service: {name: dict(states) for name, states in of.items()} for service, of in sound.states.items()
        },
        letters={service: list(letters) for service, letters in sound.letters.items()},
        parked=dict(sound.parked),
        told=list(sound.told),
        posts=list(sound.posts),
        mails=list(sound.mails),
    )  # fmt: skip


def an_event_is_lost(facts: Facts) -> None:
    facts.sent.remove(next(sent for sent in facts.sent if sent.cause in facts.ledger.asked))


def a_command_has_its_effect_twice(facts: Facts) -> None:
    sent = next(sent for sent in facts.sent if sent.name == "venue-registered")
    facts.sent.append(dataclasses.replace(sent, id="again", aggregate="another"))


def an_inbound_message_is_lost(facts: Facts) -> None:
    facts.sent.remove(next(sent for sent in facts.sent if sent.cause in facts.ledger.handed))


def an_event_comes_out_of_nothing(facts: Facts) -> None:
    facts.sent[-1] = dataclasses.replace(facts.sent[-1], cause="nothing")


def a_deadline_strikes_twice(facts: Facts) -> None:
    sent = next(sent for sent in facts.sent if sent.cause.startswith("timer close-proposal"))
    facts.sent.append(dataclasses.replace(sent, id="again"))


def a_deadline_strikes_early(facts: Facts) -> None:
    sent = next(sent for sent in facts.sent if sent.cause.startswith("timer close-proposal"))
    later = f"{sent.cause.rpartition(' ')[0]} 2999-01-01T00:00:00+00:00"
    facts.sent.append(dataclasses.replace(sent, cause=later))


def a_stream_loses_its_tail(facts: Facts) -> None:
    facts.streams["MEMBERSHIP"].pop()


def a_stream_has_a_ghost(facts: Facts) -> None:
    ghost = facts.streams["EVENTS"][-1]
    facts.streams["EVENTS"].append(dataclasses.replace(ghost, id="ghost"))


def a_stream_has_a_message_twice(facts: Facts) -> None:
    facts.streams["EVENTS"].append(facts.streams["EVENTS"][-1])


def an_aggregate_skips_a_number(facts: Facts) -> None:
    last = facts.sent.pop()
    facts.sent.append(dataclasses.replace(last, sequence=last.sequence + 1))


def two_events_of_one_aggregate_change_places(facts: Facts) -> None:
    stored = facts.streams["MEMBERSHIP"]
    second = next(n for n, message in enumerate(stored) if message.sequence == 2)
    first = _place(stored, stored[second].aggregate)
    stored[first], stored[second] = stored[second], stored[first]


def _place(stored: list[Stored], aggregate: str) -> int:
    return next(n for n, message in enumerate(stored) if message.aggregate == aggregate)


def an_effect_is_lost(facts: Facts) -> None:
    facts.states["membership"]["NETWORKS"].popitem()


def an_effect_has_the_wrong_number(facts: Facts) -> None:
    id_, (state, number) = facts.states["membership"]["PROPOSALS"].popitem()
    facts.states["membership"]["PROPOSALS"][id_] = (state, number + 1)


def a_line_of_the_ledger_is_written_twice(facts: Facts) -> None:
    facts.states["events"]["LEDGER"]["again"] = next(iter(facts.states["events"]["LEDGER"].values()))


def a_follower_misses_a_network(facts: Facts) -> None:
    facts.states["notifications"]["NETWORKS"].popitem()


def a_follower_knows_another_name(facts: Facts) -> None:
    id_, (state, number) = facts.states["benchmark"]["ORGANISATIONS"].popitem()
    facts.states["benchmark"]["ORGANISATIONS"][id_] = (state.model_copy(update={"name": "Another"}), number)


def a_delivery_is_lost(facts: Facts) -> None:
    facts.told.pop()


def a_thing_is_never_told(facts: Facts) -> None:
    sent = next(sent for sent in facts.sent if sent.stream == DELIVERIES and sent.aggregate == WITNESS)
    facts.sent.remove(sent)
    facts.told.remove((WITNESS, sent.sequence, sent.cause))


def a_thing_is_told_twice(facts: Facts) -> None:
    sent = next(sent for sent in facts.sent if sent.stream == DELIVERIES)
    facts.sent.append(dataclasses.replace(sent, id="again", sequence=sent.sequence + 100_000))
    facts.told.append((sent.aggregate, sent.sequence + 100_000, sent.cause))


def a_post_is_lost(facts: Facts) -> None:
    last = facts.posts[-1]
    facts.posts[:] = [post for post in facts.posts if post.id != last.id]


def two_posts_change_places(facts: Facts) -> None:
    first = facts.posts[0]
    second = next(n for n, post in enumerate(facts.posts) if post.path == first.path and post.id != first.id)
    facts.posts[0], facts.posts[second] = facts.posts[second], first


def a_post_nobody_was_to_get(facts: Facts) -> None:
    facts.posts.append(dataclasses.replace(facts.posts[-1], body=b"{}"))


def a_mail_is_lost(facts: Facts) -> None:
    facts.mails.pop()


def a_mail_comes_again_with_something_else_in_it(facts: Facts) -> None:
    again = copy.deepcopy(facts.mails[-1])
    again.clear_content()
    again.set_content("* Nothing. Why you received this: so.")
    facts.mails.append(again)


def a_dead_letter_is_lost(facts: Facts) -> None:
    facts.letters["notifications"].pop()


def a_dead_letter_nobody_planted(facts: Facts) -> None:
    facts.letters["membership"].append("command ada 1")


TAMPERING: list[tuple[Callable[[Facts], None], Callable[[Facts], Iterable[str]]]] = [
    (an_event_is_lost, checker.commands_are_carried_out_once),
    (a_command_has_its_effect_twice, checker.commands_are_carried_out_once),
    (an_inbound_message_is_lost, checker.inbound_messages_are_taken_in_once),
    (an_event_comes_out_of_nothing, checker.every_event_has_a_cause),
    (a_deadline_strikes_twice, checker.every_event_has_a_cause),
    (a_deadline_strikes_early, checker.nothing_happens_before_it_is_due),
    (a_stream_loses_its_tail, checker.outboxes_and_streams_hold_the_same),
    (a_stream_has_a_ghost, checker.outboxes_and_streams_hold_the_same),
    (a_stream_has_a_message_twice, checker.outboxes_and_streams_hold_the_same),
    (an_aggregate_skips_a_number, checker.sequences_have_no_gap),
    (two_events_of_one_aggregate_change_places, checker.streams_keep_the_order),
    (an_effect_is_lost, checker.stores_hold_what_their_events_say),
    (an_effect_has_the_wrong_number, checker.stores_hold_what_their_events_say),
    (a_line_of_the_ledger_is_written_twice, checker.what_no_event_tells_is_there),
    (a_follower_misses_a_network, checker.copies_are_what_their_owners_have),
    (a_follower_knows_another_name, checker.copies_are_what_their_owners_have),
    (a_delivery_is_lost, checker.everybody_is_told_each_thing_once),
    (a_thing_is_never_told, checker.everybody_is_told_each_thing_once),
    (a_thing_is_told_twice, checker.everybody_is_told_each_thing_once),
    (a_post_is_lost, checker.webhooks_are_posted_everything_in_order),
    (two_posts_change_places, checker.webhooks_are_posted_everything_in_order),
    (a_post_nobody_was_to_get, checker.webhooks_are_posted_everything_in_order),
    (a_mail_is_lost, checker.mails_have_everything_in_order),
    (a_mail_comes_again_with_something_else_in_it, checker.mails_have_everything_in_order),
    (a_dead_letter_is_lost, checker.dead_letters_are_those_that_were_planted),
    (a_dead_letter_nobody_planted, checker.dead_letters_are_those_that_were_planted),
]


@pytest.mark.parametrize(("tamper", "check"), TAMPERING, ids=lambda function: function.__name__)
def test_the_checker_sees_that(
    tamper: Callable[[Facts], None], check: Callable[[Facts], Iterable[str]], facts: Facts
) -> None:
    tamper(facts)
    assert checker.problems(check, facts)


def test_every_check_is_shown_to_find_something() -> None:
    assert {check for _, check in TAMPERING} == set(CHECKS)
