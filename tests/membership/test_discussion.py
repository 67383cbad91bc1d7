"""Discussion on proposals: who contributes, for how long, under whose name, and what never comes of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.membership.domain import discussion, proposal
from services.membership.domain.discussion import MAX_CONTRIBUTIONS, Contribution
from services.membership.domain.proposal import Proposal
from shared.contracts.membership import (
    ContributeToProposal,
    ContributionMade,
    ContributionWithdrawn,
    WithdrawContribution,
    WithdrawProposal,
)
from shared.contracts.message import Event
from shared.refusal import Refusal
from tests.membership.test_proposal import (
    DEADLINE,
    GROUP,
    NOON,
    PROPOSAL,
    UMBRELLA,
    Course,
    a_network,
    an_id,
    asked,
    verdict,
    with_positions,
)

WORDS = "We would need two more weeks."
CONTRIBUTION = an_id(7_000)


def say(state: Proposal, number: int = 0, at: datetime = NOON, **more: Any) -> Contribution | Refusal:
    network = a_network(number)
    command = ContributeToProposal(proposal=PROPOSAL, network=network.id, text=more.pop("text", WORDS))
    principal = more.pop("principal", f"net-{number}-rep-0")
    given_: dict[str, Any] = {"new_id": CONTRIBUTION, "is_member": True, "said": 0} | more
    return discussion.contribute(state, network, command, principal, at, **given_)


def said(state: Proposal, number: int = 0, **more: Any) -> Contribution:
    contribution = say(state, number, **more)
    assert isinstance(contribution, Contribution), contribution
    return contribution


def take_back(contribution: Contribution | None, principal: str = "net-0-rep-0", **more: Any) -> Any:
    command = WithdrawContribution(proposal=more.get("proposal", PROPOSAL), contribution=CONTRIBUTION)
    return discussion.withdraw(contribution, a_network(0), command, principal, NOON + timedelta(hours=1))


def told(contribution: Contribution, state: Proposal) -> list[Event]:
    return discussion.told(contribution, state, first_of_day=True)


def code(answer: Any) -> str:
    assert isinstance(answer, Refusal), answer
    return answer.code


def test_a_draft_and_an_open_proposal_are_discussed() -> None:
    draft = Course({0: a_network(0)}).drafted().now
    assert said(draft).text == said(asked(1).now).text == WORDS


def test_a_contribution_belongs_to_its_network_and_keeps_no_person() -> None:
    contribution = said(asked(1).now, principal="net-0-rep-0")
    assert set(Contribution.model_fields) == {
        "id", "proposal", "network", "version", "text", "made_at", "withdrawn_at",
    }  # fmt: skip
    assert "rep" not in contribution.model_dump_json()


def test_nothing_is_said_once_it_is_over() -> None:
    decided = with_positions("consent")
    decided.decided()
    refusal = say(decided.now)
    assert code(refusal) == "proposal-not-open"
    assert isinstance(refusal, Refusal)
    assert "would have to be draft or open" in refusal.sentence
    assert code(say(asked(1).now, at=DEADLINE)) == "deadline-passed"
    withdrawn = asked(1)
    withdrawn.did(proposal.withdraw(withdrawn.now, WithdrawProposal(proposal=PROPOSAL, reason="No."), NOON))
    assert code(say(withdrawn.now)) == "proposal-not-open"


def test_a_newcomer_without_a_voice_is_heard_and_so_is_one_that_left_with_its_voice() -> None:
    state = asked(1).now
    assert said(state, 7, is_member=True).network not in state.voices
    assert said(state, 0, is_member=False).network in state.voices


@pytest.mark.parametrize("state", [asked(1).now, Course({0: a_network(0)}).drafted().now])
def test_a_network_from_elsewhere_is_not_heard(state: Proposal) -> None:
    assert code(say(state, 7, is_member=False)) == "not-a-member"


@pytest.mark.parametrize("principal", ["steward-0", "net-1-rep-0", "author", "sam"])
def test_only_representatives_contribute_for_a_network(principal: str) -> None:
    assert code(say(asked(2).now, principal=principal)) == "not-a-representative"


def test_no_network_contributes_more_often_than_any_other_may() -> None:
    state = asked(2).now
    assert said(state, said=MAX_CONTRIBUTIONS - 1)
    refusal = say(state, said=MAX_CONTRIBUTIONS)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.data) == ("contributed-often-enough", {"most": MAX_CONTRIBUTIONS})


def test_what_is_told_of_a_contribution_holds_ids_and_not_a_word_of_it() -> None:
    state = asked(1).now
    contribution = said(state)
    [made] = told(contribution, state)
    [gone] = told(take_back(contribution), state)
    assert isinstance(made, ContributionMade)
    assert isinstance(gone, ContributionWithdrawn)
    for event in (made, gone):
        assert WORDS not in event.model_dump_json()
        assert (event.aggregate, event.contribution, event.network) == (state.id, contribution.id, an_id(1000))


@pytest.mark.parametrize(
    ("at", "began"),
    [
        (datetime(2026, 6, 1, 22, 59, tzinfo=UTC), datetime(2026, 5, 31, 23, tzinfo=UTC)),
        (datetime(2026, 6, 1, 23, 0, tzinfo=UTC), datetime(2026, 6, 1, 23, tzinfo=UTC)),
        (datetime(2026, 12, 1, 23, 59, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
        (datetime(2026, 3, 29, 12, 0, tzinfo=UTC), datetime(2026, 3, 29, tzinfo=UTC)),
    ],
)
def test_a_day_begins_at_midnight_in_london_in_summer_and_winter(at: datetime, began: datetime) -> None:
    assert discussion.day_began(at) == began


@pytest.mark.parametrize("principal", ["steward-0", "net-0-rep-0"])
def test_a_network_takes_its_words_back_and_they_are_gone(principal: str) -> None:
    after = take_back(said(asked(1).now), principal)
    assert (after.text, after.withdrawn_at) == (None, NOON + timedelta(hours=1))


@pytest.mark.parametrize("principal", ["net-1-rep-0", "author", "sam"])
def test_nobody_else_takes_back_what_a_network_said(principal: str) -> None:
    assert code(take_back(said(asked(2).now), principal)) == "not-of-this-network"


def test_only_what_is_there_is_taken_back_and_once() -> None:
    contribution = said(asked(1).now)
    assert code(take_back(None)) == "contribution-unknown"
    assert code(take_back(contribution, proposal=an_id(77))) == "contribution-unknown"
    assert code(take_back(take_back(contribution))) == "withdrawn-already"


@pytest.mark.parametrize(
    ("principal", "speaks", "reads"),
    [("rep", True, True), ("author", False, False), ("sam", False, True), ("stranger", False, False)],
)
def test_a_discussion_is_read_by_those_it_is_among(principal: str, speaks: bool, reads: bool) -> None:
    refusal = discussion.not_for(UMBRELLA, GROUP, principal, speaks=speaks)
    assert (refusal is None) is reads


def test_an_amendment_keeps_what_was_said_with_the_wording_it_was_said_of() -> None:
    course = asked(1)
    first = said(course.now)
    course.did(told(first, course.now)).did(course.amend())
    assert (first.version, said(course.now).version) == (1, 2)
    assert not isinstance(take_back(first), Refusal)


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=12), st.integers(0, 3))
def test_no_discussion_however_long_changes_a_proposal_or_its_outcome(
    talk: list[tuple[int, bool]], positions: int
) -> None:
    quiet, loud = asked(3), asked(3)
    for number, again in talk:
        before = loud.now
        contribution = said(before, number)
        events: list[Event] = told(contribution, before)
        if again:
            events += told(contribution.model_copy(update={"text": None, "withdrawn_at": NOON}), before)
        loud.did(events)
        assert loud.now == before
    for course in (quiet, loud):
        for number in range(positions):
            course.took(number, "block" if number == 2 else "consent")
    assert verdict(loud.decided()) == verdict(quiet.decided())
