"""Decisions by consensus: the four positions, the frozen electorate, the block, quorum, deadlines and outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.membership.domain import proposal
from services.membership.domain.network import Network, Representative
from services.membership.domain.proposal import (
    MAX_BYTES_OF_REASONS,
    MAX_STANCES,
    MIN_TIME_AFTER_AMENDMENT,
    Proposal,
)
from services.membership.domain.steering_group import SteeringGroup
from shared.contracts.membership import (
    AmendProposal,
    DraftProposal,
    OpenProposal,
    Position,
    ProposalDecided,
    ProposalOpened,
    Reach,
    TakePosition,
    UmbrellaRules,
    WithdrawProposal,
)
from shared.contracts.message import Event
from shared.refusal import Refusal

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
DEADLINE = NOON + timedelta(days=14)
POSITIONS: tuple[Position, ...] = ("consent", "reservations", "stand-aside", "block")


def an_id(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012x}"


PROPOSAL = an_id(1)
UMBRELLA = Network(
    id=an_id(2),
    name="Cross-government network",
    reach="national",
    organisation=an_id(3),
    parent=None,
    office=None,
    umbrella=UmbrellaRules(),
    steering_group=an_id(4),
    steward="sam",
)
GROUP = SteeringGroup(id=an_id(4), network=UMBRELLA.id)


def a_network(number: int, representatives: int = 1, reach: Reach = "local") -> Network:
    """Its representatives are known as ``net-1-rep-0``, ``net-1-rep-1`` and so on."""
    return Network(
        id=an_id(1000 + number),
        name=f"Network {number}",
        reach=reach,
        organisation=an_id(5),
        parent=None,
        office=None,
        umbrella=None,
        steering_group=None,
        steward=f"steward-{number}",
        representatives={
            an_id(100_000 * (number + 1) + person): Representative(principal=f"net-{number}-rep-{person}", office=None)
            for person in range(representatives)
        },
    )


def code(decision: Sequence[Event] | Refusal) -> str:
    assert isinstance(decision, Refusal), decision
    return decision.code


@dataclass
class Course:
    """A proposal put to some networks, and what becomes of it; ``events`` keeps everything that happened."""

    networks: Mapping[int, Network]
    umbrella: Network = UMBRELLA
    state: Proposal | None = None
    events: list[Event] = field(default_factory=list)

    def did(self, decision: Sequence[Event] | Refusal) -> "Course":
        assert not isinstance(decision, Refusal), decision
        for event in decision:
            self.state = proposal.evolve(self.state, event)
            self.events.append(event)
        return self

    @property
    def now(self) -> Proposal:
        assert self.state is not None
        return self.state

    @property
    def deadline(self) -> datetime:
        assert self.now.deadline is not None
        return self.now.deadline

    def drafted(self) -> "Course":
        command = DraftProposal(umbrella=self.umbrella.id, title="A shared charter", text="We sign one charter.")
        return self.did(proposal.draft(self.umbrella, command, "author", PROPOSAL, may_draft=True))

    def opened(self) -> "Course":
        electorate = [network.id for network in self.networks.values()]
        command = OpenProposal(proposal=PROPOSAL, deadline=DEADLINE)
        return self.did(proposal.open_(self.drafted().now, self.umbrella, command, electorate, NOON))

    def take(self, number: int, position: Position, reason: str | None = "because", rep: int = 0, **more: Any) -> Any:
        network = more.get("network") or self.networks[number]
        reason = None if position == "consent" else reason
        command = TakePosition(proposal=PROPOSAL, network=network.id, position=position, reason=reason)
        principal = more.get("principal", f"net-{number}-rep-{rep}")
        return proposal.take_position(self.now, network, command, principal, more.get("at", NOON))

    def took(self, number: int, position: Position, reason: str | None = "because", rep: int = 0) -> "Course":
        return self.did(self.take(number, position, reason, rep))

    def amend(self, text: str = "We sign one short charter.", **more: Any) -> Any:
        at = more.pop("at", NOON)
        return proposal.amend(self.now, AmendProposal(proposal=PROPOSAL, text=text, **more), at)

    def decided(self, at: datetime = DEADLINE) -> ProposalDecided:
        self.did(proposal.close_at_deadline(self.now, at))
        event = self.events[-1]
        assert isinstance(event, ProposalDecided)
        return event


def asked(count: int, **rules: Any) -> Course:
    umbrella = UMBRELLA.model_copy(update={"umbrella": UmbrellaRules(**rules)})
    return Course({number: a_network(number) for number in range(count)}, umbrella).opened()


def with_positions(*positions: Position, silent: int = 0, **rules: Any) -> Course:
    course = asked(len(positions) + silent, **rules)
    for number, position in enumerate(positions):
        course.took(number, position)
    return course


def test_a_proposal_that_nobody_blocks_is_agreed() -> None:
    event = with_positions("consent", "consent", "reservations").decided()
    assert (event.outcome, event.asked, event.spoke) == ("agreed", 3, 3)
    assert event.sentence == ("Agreed: 3 of 3 networks spoke, none blocked it, 1 had reservations and 0 stood aside.")


def test_a_block_stops_a_proposal_whatever_the_size_of_its_network() -> None:
    large = {number: a_network(number, representatives=50, reach="national") for number in range(1, 9)}
    course = Course({0: a_network(0), **large}).opened()
    for number in large:
        course.took(number, "consent")
    event = course.took(0, "block", "It costs what a small network does not have.").decided()
    assert event.outcome == "blocked"
    assert event.counts == {"block": 1, "consent": 8}


def test_a_block_outweighs_a_missing_quorum_in_the_outcome() -> None:
    assert with_positions("block", silent=9).decided().outcome == "blocked"


@pytest.mark.parametrize(("asked_", "needed"), [(1, 1), (2, 1), (3, 2), (10, 5), (11, 6)])
def test_quorum_is_half_of_the_networks_asked_rounded_up(asked_: int, needed: int) -> None:
    consents: list[Position] = ["consent"] * needed
    enough = with_positions(*consents, silent=asked_ - needed)
    assert enough.now.quorum == needed
    assert enough.decided().outcome == "agreed"
    if needed > 1:
        short = with_positions(*consents[1:], silent=asked_ - needed + 1).decided()
        assert short.outcome == "no-quorum"
        assert short.sentence == f"No decision: {needed - 1} of {asked_} networks spoke, and {needed} had to."


def test_more_than_a_third_standing_aside_is_no_consensus_and_a_third_is_not_too_many() -> None:
    assert with_positions("consent", "consent", "stand-aside").decided().outcome == "agreed"
    event = with_positions("consent", "stand-aside", "consent", "stand-aside", "consent").decided()
    assert event.outcome == "no-consensus"
    assert event.sentence == "No consensus: 2 of the 5 networks that spoke stood aside; at most 1/3 of them may."


def test_an_umbrella_may_set_its_own_quorum_and_limit_of_stand_asides() -> None:
    assert with_positions("consent", "consent", silent=1, quorum="3/4").decided().outcome == "no-quorum"
    assert with_positions("stand-aside", "consent", stand_aside_limit="1/2").decided().outcome == "agreed"


@pytest.mark.parametrize("position", ["reservations", "stand-aside", "block"])
def test_every_position_but_consent_needs_a_reason(position: Position) -> None:
    assert code(asked(3).take(0, position, reason=None)) == "reason-missing"
    assert asked(3).took(0, "consent", reason=None).now.voices[an_id(1000)].stance is not None


def test_the_outcome_gives_every_reason() -> None:
    course = asked(3).took(0, "consent").took(1, "stand-aside", "We have no budget.").took(2, "reservations", "Soon?")
    stances = {stance.network: (stance.position, stance.reason) for stance in course.decided().stances}
    assert stances == {
        an_id(1000): ("consent", None),
        an_id(1001): ("stand-aside", "We have no budget."),
        an_id(1002): ("reservations", "Soon?"),
    }


def test_a_network_speaks_with_one_voice_whoever_of_its_representatives_gives_it() -> None:
    course = Course({0: a_network(0, representatives=5), 1: a_network(1)}).opened().took(1, "consent")
    for rep in range(5):
        course.took(0, "reservations", f"As representative {rep} sees it.", rep=rep)
    event = course.decided()
    assert (event.spoke, event.counts) == (2, {"consent": 1, "reservations": 1})
    assert event.stances[0].reason == "As representative 4 sees it."


def test_a_position_may_change_until_the_close_and_every_change_is_kept_with_its_reason() -> None:
    course = asked(1).took(0, "block", "Too dear.").took(0, "stand-aside", "Cheaper now.").took(0, "consent")
    voice = course.now.voices[an_id(1000)]
    assert [(stance.position, stance.reason) for stance in voice.earlier] == [
        ("block", "Too dear."),
        ("stand-aside", "Cheaper now."),
    ]
    assert course.decided().outcome == "agreed"


def test_saying_the_same_again_changes_nothing() -> None:
    assert asked(1).took(0, "block", "Too dear.").take(0, "block", "Too dear.") == []


def test_the_electorate_is_frozen_at_opening() -> None:
    late = a_network(7)
    assert code(asked(3).take(7, "block", network=late)) == "not-in-the-electorate"


def test_a_network_that_left_the_umbrella_after_opening_keeps_its_voice() -> None:
    course = asked(2).took(0, "consent")
    assert course.took(1, "block").decided().outcome == "blocked"


@pytest.mark.parametrize("principal", ["steward-0", "net-1-rep-0", "author", "sam"])
def test_only_representatives_speak_for_a_network(principal: str) -> None:
    assert code(asked(2).take(0, "consent", principal=principal)) == "not-a-representative"


def test_an_amendment_asks_every_network_again_and_so_meets_a_block() -> None:
    course = with_positions("block", "consent").did([])
    course.did(course.amend())
    assert [voice.stance for voice in course.now.voices.values()] == [None, None]
    assert [stance.version for stance in course.now.voices[an_id(1000)].earlier] == [1]
    event = course.took(0, "consent").took(1, "consent").decided()
    assert (event.outcome, event.version) == ("agreed", 2)


def test_positions_on_an_earlier_wording_do_not_count_for_the_amended_one() -> None:
    course = with_positions("consent", "consent", "consent")
    assert course.did(course.amend()).took(0, "consent").decided().outcome == "no-quorum"


def test_an_amendment_that_changes_nothing_does_not_wipe_a_block_away() -> None:
    course = with_positions("block")
    assert code(course.amend(course.now.text)) == "nothing-amended"
    assert code(course.amend(f" {course.now.text} ")) == "nothing-amended"


def test_an_amendment_may_give_more_time_but_not_less() -> None:
    course = with_positions("block")
    assert code(course.amend(deadline=DEADLINE - timedelta(seconds=1))) == "deadline-not-later"
    later = DEADLINE + timedelta(days=7)
    assert course.did(course.amend(deadline=later)).now.deadline == later
    assert proposal.close_at_deadline(course.now, DEADLINE) == []


def test_a_block_is_not_amended_away_at_the_last_second() -> None:
    course = with_positions("block", "consent", "consent", "consent")
    amended_at = DEADLINE - timedelta(seconds=30)
    course.did(course.amend(at=amended_at)).took(1, "consent").took(2, "consent")
    assert course.now.deadline == amended_at + MIN_TIME_AFTER_AMENDMENT
    assert proposal.close_at_deadline(course.now, DEADLINE) == []
    in_time = amended_at + MIN_TIME_AFTER_AMENDMENT - timedelta(microseconds=1)
    assert proposal.close_at_deadline(course.now, in_time) == []
    course.did(course.take(0, "block", "Still too dear.", at=in_time))
    assert course.decided(amended_at + MIN_TIME_AFTER_AMENDMENT).outcome == "blocked"


def test_an_amendment_leaves_a_deadline_that_is_far_enough_away_as_it_is() -> None:
    course = with_positions("block")
    assert course.did(course.amend(at=DEADLINE - MIN_TIME_AFTER_AMENDMENT)).now.deadline == DEADLINE


def test_a_deadline_given_with_an_amendment_leaves_time_to_look_at_it() -> None:
    amended_at = DEADLINE - timedelta(days=1)
    earliest = amended_at + MIN_TIME_AFTER_AMENDMENT
    course = with_positions("block")
    refusal = course.amend(at=amended_at, deadline=earliest - timedelta(seconds=1))
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.field) == ("deadline-not-later", "deadline")
    assert refusal.data == {"earliest": earliest.isoformat()}
    assert f"{earliest:%d %B %Y at %H:%M:%S} UTC" in refusal.sentence
    assert course.did(course.amend(at=amended_at, deadline=earliest)).deadline == earliest


def test_a_draft_may_be_amended_and_has_no_deadline_yet() -> None:
    course = Course({0: a_network(0)}).drafted()
    assert code(course.amend(deadline=DEADLINE)) == "deadline-not-later"
    assert course.did(course.amend(title="A charter")).now.title == "A charter"


def test_a_proposal_closes_at_its_deadline_and_not_before() -> None:
    course = with_positions("consent")
    assert proposal.close_at_deadline(course.now, DEADLINE - timedelta(microseconds=1)) == []
    assert course.decided().closed_at == DEADLINE


def test_an_outcome_is_immutable() -> None:
    course = with_positions("consent")
    course.decided()
    assert proposal.close_at_deadline(course.now, DEADLINE) == []
    withdrawal = WithdrawProposal(proposal=PROPOSAL, reason="We changed our minds.")
    assert code(proposal.withdraw(course.now, withdrawal, NOON)) == "proposal-not-open"
    assert code(course.take(0, "block")) == "proposal-not-open"
    assert code(course.amend()) == "proposal-not-open"
    assert code(proposal.close_early(course.now, NOON)) == "proposal-not-open"


def test_nothing_is_said_after_the_deadline_even_before_the_clock_has_closed_it() -> None:
    course = with_positions("consent", silent=1)
    refusal = course.take(1, "block", at=DEADLINE)
    assert code(refusal) == "deadline-passed"
    assert "15 September 2026 at 12:00:00 UTC" in refusal.sentence
    assert refusal.data == {"deadline": DEADLINE.isoformat()}


@pytest.mark.parametrize("closed_at", [NOON + timedelta(hours=3), DEADLINE])
def test_whoever_speaks_too_late_is_told_when_it_closed_and_what_was_decided(closed_at: datetime) -> None:
    course = with_positions("consent")
    early = closed_at < DEADLINE
    course.did(
        proposal.close_early(course.now, closed_at) if early else proposal.close_at_deadline(course.now, closed_at)
    )
    refusal = course.take(0, "block", at=DEADLINE + timedelta(days=1))
    assert code(refusal) == "proposal-not-open"
    assert f"{closed_at:%d %B %Y at %H:%M:%S} UTC: Agreed: 1 of 1 network spoke" in refusal.sentence
    assert refusal.data == {"state": "closed", "closed_at": closed_at.isoformat()}


def test_it_closes_early_once_everyone_has_spoken_and_cuts_nobody_off() -> None:
    course = with_positions("consent", silent=1)
    refusal = proposal.close_early(course.now, NOON)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.data["silent"]) == ("not-everyone-has-spoken", [an_id(1001)])
    course.took(1, "stand-aside").did(proposal.close_early(course.now, NOON))
    assert course.now.state == "closed"


def test_a_block_is_met_and_not_closed_away() -> None:
    refusal = proposal.close_early(with_positions("consent", "block").now, NOON)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.data) == ("block-stands", {"blocking": [an_id(1001)]})


def test_a_draft_or_open_proposal_is_withdrawn_with_its_reason_on_record() -> None:
    command = WithdrawProposal(proposal=PROPOSAL, reason="The block convinced us.")
    for course in (Course({0: a_network(0)}).drafted(), with_positions("block")):
        course.did(proposal.withdraw(course.now, command, NOON))
        assert (course.now.state, course.now.withdrawn_because) == ("withdrawn", "The block convinced us.")


def test_a_proposal_opens_once_with_somebody_to_ask_and_a_deadline_ahead() -> None:
    course = Course({0: a_network(0)}).drafted()
    command = OpenProposal(proposal=PROPOSAL, deadline=DEADLINE)
    assert code(proposal.open_(course.now, UMBRELLA, command, [], NOON)) == "nobody-to-ask"
    assert code(proposal.open_(course.now, UMBRELLA, command, [an_id(1000)], DEADLINE)) == "deadline-passed"
    assert code(proposal.open_(asked(1).now, UMBRELLA, command, [an_id(1000)], NOON)) == "proposal-not-draft"


def test_its_author_and_those_who_steer_the_umbrella_lead_it() -> None:
    draft = asked(1).now
    assert proposal.not_leading(draft, UMBRELLA, GROUP, "author") is None
    assert proposal.not_leading(draft, UMBRELLA, GROUP, "sam") is None
    refusal = proposal.not_leading(draft, UMBRELLA, GROUP, "net-0-rep-0")
    assert refusal
    assert refusal.code == "not-theirs-to-lead"


def test_only_those_with_a_voice_in_the_umbrella_make_a_proposal() -> None:
    command = DraftProposal(umbrella=UMBRELLA.id, title="A charter", text="Text")
    assert code(proposal.draft(UMBRELLA, command, "stranger", PROPOSAL, may_draft=False)) == "not-a-member"


def test_every_reason_of_a_large_electorate_fits_into_one_outcome() -> None:
    course = asked(1_000)
    most = MAX_BYTES_OF_REASONS // 1_000
    assert code(course.take(0, "block", "é" * (most // 2))) == "reason-too-long"
    for number in range(1_000):
        course.took(number, "block", "x" * (most - 2))
    assert len(course.decided().model_dump_json()) < 900_000


def test_what_one_network_says_stays_within_one_answer() -> None:
    course = asked(1)
    for number in range(MAX_STANCES):
        course.took(0, "block", f"Reason {number}.")
    assert code(course.take(0, "consent")) == "spoken-often-enough"


# The invariant: what a network is like never changes what is decided -----------------------------------------------

REACHES: tuple[Reach, ...] = ("local", "regional", "national")


@st.composite
def statements(draw: st.DrawFn) -> tuple[int, list[tuple[int, Position]]]:
    """How many networks are asked, and who says what in turn, some several times."""
    count = draw(st.integers(1, 12))
    said = draw(st.lists(st.tuples(st.integers(0, count - 1), st.sampled_from(POSITIONS)), max_size=30))
    return count, said


def run(networks: Mapping[int, Network], said: Sequence[tuple[int, Position, int]]) -> ProposalDecided:
    course = Course(networks).opened()
    for number, position, rep in said:
        course.took(number, position, rep=rep)
    return course.decided()


def verdict(event: ProposalDecided) -> tuple[Any, ...]:
    """Everything an outcome says but who happened to say it and in whose words."""
    return event.outcome, event.sentence, event.asked, event.spoke, event.counts


@given(statements(), st.data())
def test_representatives_headcount_grade_size_and_type_never_change_an_outcome(
    case: tuple[int, list[tuple[int, Position]]], data: st.DataObject
) -> None:
    count, said = case
    plain = run({n: a_network(n) for n in range(count)}, [(n, position, 0) for n, position in said])
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))
    reaches = data.draw(st.lists(st.sampled_from(REACHES), min_size=count, max_size=count))
    grown = {
        n: a_network(n, size, reach).model_copy(update={"organisation": an_id(n)})
        for n, (size, reach) in enumerate(zip(sizes, reaches, strict=True))
    }
    # Whoever else represents a network may say what it says as well; it stays one voice.
    echoed = [
        (n, position, rep)
        for n, position in said
        for rep in data.draw(st.lists(st.integers(0, sizes[n] - 1), min_size=1, max_size=4))
    ]
    assert verdict(run(grown, echoed)) == verdict(plain)


@given(statements(), st.randoms(use_true_random=False))
def test_the_order_in_which_networks_speak_never_changes_an_outcome(
    case: tuple[int, list[tuple[int, Position]]], random: Any
) -> None:
    count, said = case
    networks = {n: a_network(n) for n in range(count)}
    final = dict(said)
    shuffled = list(final.items())
    random.shuffle(shuffled)
    in_turn = run(networks, [(n, position, 0) for n, position in said])
    assert verdict(run(networks, [(n, position, 0) for n, position in shuffled])) == verdict(in_turn)


@given(statements(), st.data())
def test_it_never_matters_which_network_says_what_nor_in_which_order_they_joined(
    case: tuple[int, list[tuple[int, Position]]], data: st.DataObject
) -> None:
    count, said = case
    swapped = data.draw(st.permutations(range(count)))
    joined = data.draw(st.permutations(range(count)))
    plain = run({n: a_network(n) for n in range(count)}, [(n, position, 0) for n, position in said])
    others = {n: a_network(n) for n in joined}
    assert verdict(run(others, [(swapped[n], position, 0) for n, position in said])) == verdict(plain)


@given(statements())
def test_one_network_more_or_less_counts_as_much_as_any_other(case: tuple[int, list[tuple[int, Position]]]) -> None:
    count, said = case
    event = run({n: a_network(n) for n in range(count)}, [(n, position, 0) for n, position in said])
    assert event.asked == count
    assert event.spoke == sum(event.counts.values()) == len(event.stances) == len(dict(said))
    assert {stance.network: stance.position for stance in event.stances} == {
        an_id(1000 + n): position for n, position in dict(said).items()
    }


@given(statements())
def test_no_majority_overrides_a_block(case: tuple[int, list[tuple[int, Position]]]) -> None:
    count, said = case
    event = run({n: a_network(n) for n in range(count)}, [(n, position, 0) for n, position in said])
    blocked = "block" in dict(said).values()
    assert (event.outcome == "blocked") is blocked


@given(
    st.lists(
        st.tuples(
            st.timedeltas(timedelta(0), timedelta(days=20)),
            st.none() | st.timedeltas(timedelta(0), timedelta(days=40)),
        ),
        max_size=8,
    )
)
def test_no_timetable_of_amendments_takes_time_from_anybody(steps: list[tuple[timedelta, timedelta | None]]) -> None:
    course, at = asked(2), NOON
    for pause, given_time in steps:
        at, before = at + pause, course.deadline
        decision = course.amend(f"Wording of {at}.", at=at, deadline=at + given_time if given_time else None)
        if not isinstance(decision, Refusal):
            course.did(decision)
            assert course.deadline >= max(before, at + MIN_TIME_AFTER_AMENDMENT)


def test_an_opening_names_the_electorate_the_quorum_and_the_deadline() -> None:
    event = asked(3).events[-1]
    assert isinstance(event, ProposalOpened)
    assert (event.electorate, event.quorum, event.deadline) == (tuple(an_id(1000 + n) for n in range(3)), 2, DEADLINE)
