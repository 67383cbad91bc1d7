"""Every course a proposal can take: commands drawn at random, in any order and at any time, held against the table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.membership.domain import discussion, proposal
from services.membership.domain.discussion import Contribution
from services.membership.domain.proposal import STATE_AFTER, TRANSITIONS, Proposal, Transition
from shared.contracts import membership
from shared.contracts.message import Command, Event
from shared.refusal import Refusal
from tests.membership.test_proposal import GROUP, NOON, POSITIONS, PROPOSAL, UMBRELLA, a_network, an_id, code

ASKED = {number: a_network(number, representatives=2) for number in range(2)}
NEWCOMER = a_network(9)
Decided = Sequence[Event] | Refusal


@dataclass
class Walk:
    """One proposal, whatever is done to it, and what was seen to happen."""

    at: datetime = NOON
    state: Proposal | None = None
    said: list[Contribution] = field(default_factory=list)
    seen: set[Transition] = field(default_factory=set)
    electorate: frozenset[str] = frozenset()

    def step(self, do: Callable[["Walk", Any], None], draw: Any) -> None:
        before = self.state
        do(self, draw)
        self.unchanged_where_it_must_be(before)

    def happened(self, by: Any, decision: Decided) -> None:
        for event in () if isinstance(decision, Refusal) else decision:
            before = self.state.state if self.state else None
            self.state = proposal.evolve(self.state, event)
            self.seen.add(Transition(before, by, type(event), self.state.state))
            if isinstance(event, membership.ProposalOpened):
                self.electorate = frozenset(event.electorate)

    def unchanged_where_it_must_be(self, before: Proposal | None) -> None:
        """The electorate is frozen once opened, and nothing at all changes of a proposal that is over."""
        assert self.state is None or frozenset(self.state.voices) == self.electorate
        if before and before.state in ("closed", "withdrawn"):
            assert self.state == before

    # ---- what may be tried, whatever the state

    def draft(self, _: Any) -> None:
        if self.state is None:
            command = membership.DraftProposal(umbrella=UMBRELLA.id, title="A charter", text="One charter.")
            self.happened(type(command), proposal.draft(UMBRELLA, command, "author", PROPOSAL, may_draft=True))

    def open(self, draw: Any) -> None:
        if self.state:
            command = membership.OpenProposal(proposal=PROPOSAL, deadline=self.at + timedelta(days=draw(0, 9)))
            ids = [network.id for network in ASKED.values()]
            self.happened(type(command), proposal.open_(self.state, UMBRELLA, command, ids, self.at))

    def speak(self, draw: Any) -> None:
        if self.state:
            number, position = draw(0, 2), POSITIONS[draw(0, 3)]
            network = ASKED.get(number, NEWCOMER)
            command = membership.TakePosition(
                proposal=PROPOSAL, network=network.id, position=position, reason=f"Reason {draw(0, 9)}."
            )
            principal = f"net-{number if number in ASKED else 9}-rep-{draw(0, 1)}"
            decision = proposal.take_position(self.state, network, command, principal, self.at)
            self.happened(type(command), decision)
            assert number in ASKED or isinstance(decision, Refusal)

    def discuss(self, draw: Any) -> None:
        if self.state:
            number = draw(0, 1)
            command = membership.ContributeToProposal(proposal=PROPOSAL, network=ASKED[number].id, text="We wonder.")
            said = discussion.contribute(
                self.state, ASKED[number], command, f"net-{number}-rep-0", self.at,
                new_id=an_id(5_000 + len(self.said)), is_member=True, said=len(self.said),
            )  # fmt: skip
            if not isinstance(said, Refusal):
                self.said.append(said)
                self.happened(type(command), discussion.told(said, self.state, first_of_day=False))

    def take_back(self, draw: Any) -> None:
        if self.state and self.said:
            place = draw(0, len(self.said) - 1)
            network = next(each for each in ASKED.values() if each.id == self.said[place].network)
            command = membership.WithdrawContribution(proposal=PROPOSAL, contribution=self.said[place].id)
            after = discussion.withdraw(self.said[place], network, command, network.steward, self.at)
            if not isinstance(after, Refusal):
                self.said[place] = after
                self.happened(type(command), discussion.told(after, self.state, first_of_day=False))

    def amend(self, draw: Any) -> None:
        if self.state:
            command = membership.AmendProposal(proposal=PROPOSAL, text=f"Wording {draw(0, 9)}.")
            self.happened(type(command), proposal.amend(self.state, command, self.at))

    def close(self, _: Any) -> None:
        if self.state:
            self.happened(membership.CloseProposal, proposal.close_early(self.state, self.at))

    def wait(self, draw: Any) -> None:
        self.at += timedelta(days=draw(0, 4))
        if self.state:
            self.happened("deadline", proposal.close_at_deadline(self.state, self.at))

    def withdraw(self, _: Any) -> None:
        if self.state:
            command = membership.WithdrawProposal(proposal=PROPOSAL, reason="It has been overtaken.")
            self.happened(type(command), proposal.withdraw(self.state, command, self.at))


# What moves on is drawn less often than what stays, so that walks are long.
TRIES = (
    Walk.draft, Walk.open, Walk.speak, Walk.speak, Walk.speak, Walk.speak, Walk.discuss, Walk.discuss, Walk.take_back,
    Walk.amend, Walk.close, Walk.close, Walk.wait, Walk.withdraw,
)  # fmt: skip


def most(_: int, high: int) -> int:
    """Draws the highest there is."""
    return high


def walked(data: st.DataObject) -> Walk:
    """A proposal after forty things that somebody tried to do with it; most are refused."""
    walk = Walk()
    for _ in range(40):
        walk.step(data.draw(st.sampled_from(TRIES)), lambda low, high: data.draw(st.integers(low, high)))
    return walk


def test_every_transition_of_the_table_can_happen_and_no_other_ever_does() -> None:
    seen: set[Transition] = set()

    @given(st.data())
    @settings(max_examples=120, derandomize=True, database=None)
    def walk(data: st.DataObject) -> None:
        seen.update(walked(data).seen)
        assert seen <= set(TRANSITIONS)

    walk()
    assert seen == set(TRANSITIONS)


def test_the_table_names_a_way_once_and_leads_from_everywhere_to_an_end() -> None:
    assert len(set(TRANSITIONS)) == len(TRANSITIONS)
    assert all(STATE_AFTER[each.before, each.event] == each.after for each in TRANSITIONS)
    assert [each.after for each in TRANSITIONS if each.before is None] == ["draft"]
    moving = {(each.before, each.after) for each in TRANSITIONS if each.before != each.after}
    assert moving == {
        (None, "draft"),
        ("draft", "open"),
        ("draft", "withdrawn"),
        ("open", "closed"),
        ("open", "withdrawn"),
    }


def test_what_the_table_does_not_know_cannot_be_applied() -> None:
    walk = Walk()
    walk.draft(None)
    assert walk.state is not None
    decided = membership.ProposalDecided(
        proposal=PROPOSAL, umbrella=UMBRELLA.id, title="A charter", version=1, outcome="agreed", sentence="Agreed.",
        asked=1, spoke=1, counts={}, stances=(), closed_at=NOON,
    )  # fmt: skip
    with pytest.raises(TypeError, match="proposal-decided"):
        proposal.evolve(walk.state, decided)


def test_every_command_and_event_about_a_proposal_is_in_the_table() -> None:
    about = {
        contract
        for contract in vars(membership).values()
        if isinstance(contract, type)
        and issubclass(contract, Command | Event)
        and ("proposal" in contract.model_fields or contract is membership.DraftProposal)
        and not contract.__name__.endswith("Statement")
    }
    # A statement is issued on a proposal, and does nothing to it.
    about -= {membership.StatementIssued}
    assert about == {each.by for each in TRANSITIONS if each.by != "deadline"} | {each.event for each in TRANSITIONS}


@given(st.data())
@settings(max_examples=100)
def test_a_decided_proposal_stays_as_it_is_whatever_is_tried_and_whenever(data: st.DataObject) -> None:
    walk = Walk()
    for do in (Walk.draft, Walk.discuss, Walk.open):
        walk.step(do, most)
    for _ in range(data.draw(st.integers(0, 8))):
        walk.step(Walk.speak, lambda low, high: data.draw(st.integers(low, high)))
    walk.at += timedelta(days=30)
    walk.step(Walk.wait, most)
    decided = walk.state
    assert decided is not None
    assert decided.decision is not None
    for _ in range(10):
        walk.step(data.draw(st.sampled_from(TRIES)), lambda low, high: data.draw(st.integers(low, high)))
    assert walk.state == decided
    withdrawal = membership.WithdrawProposal(proposal=PROPOSAL, reason="We changed our minds.")
    assert proposal.not_leading(decided, UMBRELLA, GROUP, "sam") is None
    assert code(proposal.withdraw(decided, withdrawal, NOON)) == "proposal-not-open"  # also to whoever leads it
