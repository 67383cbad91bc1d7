"""Collective voice: one voice each, in the open or without a name, put before HR and chased until there is a reply."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.membership.domain import concern
from services.membership.domain.concern import CHASE_EVERY, MIN_CROWD, Concern, Crowd
from services.membership.domain.membership import Membership
from services.membership.domain.network import Network, Representative
from services.membership.domain.steering_group import Seat, SteeringGroup
from shared.contracts.membership import (
    CloseConcern,
    ConcernAnswered,
    ConcernOutcome,
    ConcernRaised,
    ConcernReplyOverdue,
    ConcernSubmitted,
    MembershipState,
    RaiseConcern,
    Reach,
    RecordConcernResponse,
    SubmitConcern,
    UmbrellaRules,
    WithdrawConcern,
)
from shared.contracts.message import Event
from shared.refusal import Refusal

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
REPLY_BY = NOON + timedelta(days=28)
PHRASE = "seven herons on a quiet roof"


def an_id(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012x}"


CONCERN = an_id(1)
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
ENOUGH = Crowd(networks=MIN_CROWD, representatives=MIN_CROWD)


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


def a_member(network: Network, state: MembershipState = "admitted") -> Membership:
    return Membership(id=an_id(6), umbrella=UMBRELLA.id, network=network.id, state=state)


def code(decision: Sequence[Event] | Refusal) -> str:
    assert isinstance(decision, Refusal), decision
    return decision.code


@dataclass
class Course:
    """A concern, and what becomes of it; ``events`` keeps everything that happened."""

    state: Concern | None = None
    events: list[Event] = field(default_factory=list)

    def did(self, decision: Sequence[Event] | Refusal) -> "Course":
        assert not isinstance(decision, Refusal), decision
        for event in decision:
            self.state = concern.evolve(self.state, event)
            self.events.append(event)
        return self

    @property
    def now(self) -> Concern:
        assert self.state is not None
        return self.state

    def endorse(self, network: Network, principal: str) -> list[Event] | Refusal:
        return concern.endorse(self.now, network, a_member(network), principal, NOON)

    def endorsed(self, *numbers: int) -> "Course":
        for number in numbers:
            self.did(self.endorse(a_network(number), f"net-{number}-rep-0"))
        return self

    def submit(self, reply_by: datetime = REPLY_BY, at: datetime = NOON) -> list[Event] | Refusal:
        command = SubmitConcern(concern=CONCERN, addressee="HR of the Cabinet Office", reply_by=reply_by)
        return concern.submit(self.now, command, at)

    def submitted(self) -> "Course":
        return self.did(self.submit())

    def respond(self, at: datetime = NOON) -> list[Event] | Refusal:
        response = RecordConcernResponse(concern=CONCERN, response="From May there will be two.")
        return concern.record_response(self.now, response, at)

    def close(self, outcome: ConcernOutcome, at: datetime = NOON) -> list[Event] | Refusal:
        return concern.close(self.now, CloseConcern(concern=CONCERN, outcome=outcome, reason="As it is."), at)

    def withdraw(self, principal: str, *, has_key: bool = False) -> list[Event] | Refusal:
        command = WithdrawConcern(concern=CONCERN, reason="It is settled.")
        return concern.withdraw(self.now, command, principal, NOON, has_key=has_key)


def raising(
    *,
    anonymous: bool = False,
    crowd: Crowd = ENOUGH,
    speaks: bool = True,
    phrase: str | None = None,
    umbrella: Network = UMBRELLA,
) -> list[Event] | Refusal:
    command = RaiseConcern(
        umbrella=umbrella.id,
        title="Quiet rooms",
        text="There is none in most buildings.",
        suggestion="One on every floor.",
        anonymous=anonymous,
        withdrawal_phrase=phrase,
    )
    return concern.raise_(umbrella, command, "ada", CONCERN, NOON, speaks=speaks, crowd=crowd)


def raised(*, anonymous: bool = False) -> Course:
    return Course().did(raising(anonymous=anonymous))


# ---- raising -------------------------------------------------------------------------------------------------------


def test_a_representative_raises_a_concern_with_a_suggestion_and_stands_for_it_by_name() -> None:
    course = raised()
    assert (course.now.raised_by, course.now.suggestion, course.now.state) == ("ada", "One on every floor.", "open")
    assert course.now.endorsements == {}  # whether its own network stands behind it, that network says


def test_strangers_raise_nothing_and_nothing_is_raised_where_there_are_no_members() -> None:
    assert code(raising(speaks=False)) == "not-a-member"
    assert code(raising(umbrella=a_network(1))) == "not-an-umbrella"


def test_a_concern_without_a_name_holds_nothing_of_its_raiser_in_its_event_or_its_state() -> None:
    course = raised(anonymous=True)
    assert isinstance(course.events[0], ConcernRaised)
    assert course.events[0].raised_by is None
    assert "ada" not in course.now.model_dump_json() + course.events[0].model_dump_json()


@pytest.mark.parametrize(
    "crowd", [Crowd(MIN_CROWD - 1, MIN_CROWD), Crowd(MIN_CROWD, MIN_CROWD - 1), Crowd(1, 1), Crowd(1, 100)]
)
def test_a_name_is_not_left_out_where_too_few_could_have_raised_it_for_that_to_hide_anybody(crowd: Crowd) -> None:
    refused = raising(anonymous=True, crowd=crowd)
    assert code(refused) == "too-few-to-hide-among"
    assert not isinstance(raising(crowd=crowd), Refusal)  # with a name it makes no difference


def test_a_refusal_to_raise_or_take_back_names_nobody_since_it_is_kept() -> None:
    course = raised(anonymous=True)
    for refused in (
        raising(speaks=False),
        raising(anonymous=True, crowd=Crowd(1, 1)),
        raising(phrase=PHRASE),
        course.withdraw("ada"),
    ):
        assert isinstance(refused, Refusal)
        assert "ada" not in refused.model_dump_json()


def test_a_phrase_is_for_concerns_without_a_name_and_another_key_for_each() -> None:
    assert code(raising(phrase=PHRASE)) == "phrase-without-need"
    assert concern.withdrawal_key(CONCERN, PHRASE) == concern.withdrawal_key(CONCERN, PHRASE)
    assert concern.withdrawal_key(CONCERN, PHRASE).id != concern.withdrawal_key(an_id(9), PHRASE).id
    assert PHRASE not in concern.withdrawal_key(CONCERN, PHRASE).model_dump_json()


# ---- taking back ---------------------------------------------------------------------------------------------------


def test_a_concern_with_a_name_is_taken_back_by_that_name_alone() -> None:
    assert code(raised().withdraw("bob")) == "not-the-raiser"
    assert raised().did(raised().withdraw("ada")).now.state == "withdrawn"


def test_a_concern_without_a_name_is_taken_back_with_its_phrase_and_by_no_name_at_all() -> None:
    course = raised(anonymous=True)
    assert course.withdraw("ada") == course.withdraw("bob")  # the raiser is told what everybody is told
    assert code(course.withdraw("ada")) == "not-the-raiser"
    assert course.did(course.withdraw("bob", has_key=True)).now.state == "withdrawn"


def test_what_was_submitted_belongs_to_all_who_endorsed_it_and_is_not_taken_back_by_one() -> None:
    assert code(raised().endorsed(1, 2).submitted().withdraw("ada")) == "concern-not-open"


# ---- one voice for each network ------------------------------------------------------------------------------------


def test_a_network_endorses_once_whoever_of_its_representatives_says_so() -> None:
    network = a_network(1, representatives=3)
    course = raised().did(raised().endorse(network, "net-1-rep-0"))
    assert course.endorse(network, "net-1-rep-2") == []
    taken_back = concern.take_back(course.now, network, "net-1-rep-1")
    assert course.did(taken_back).now.endorsements == {}
    assert concern.take_back(course.now, network, "net-1-rep-1") == []


def test_only_representatives_of_member_networks_endorse() -> None:
    network, course = a_network(1), raised()
    assert code(course.endorse(network, "steward-1")) == "not-a-representative"
    for there in (None, a_member(network, "applied"), a_member(network, "withdrawn")):
        assert code(concern.endorse(course.now, network, there, "net-1-rep-0", NOON)) == "no-voice-here"
    assert code(concern.take_back(course.now, network, "stranger")) == "not-a-representative"


def test_who_stands_behind_a_concern_is_settled_when_it_is_submitted() -> None:
    course = raised().endorsed(1, 2).submitted()
    assert code(course.endorse(a_network(3), "net-3-rep-0")) == "concern-not-open"
    assert code(concern.take_back(course.now, a_network(1), "net-1-rep-0")) == "concern-not-open"
    submitted = course.events[-1]
    assert isinstance(submitted, ConcernSubmitted)
    assert submitted.endorsed_by == (a_network(1).id, a_network(2).id)


SAYINGS = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 1_000)), max_size=30)
SIZES = st.lists(st.integers(1, 30), min_size=5, max_size=5)
REACHES = st.lists(st.sampled_from(["local", "regional", "national"]), min_size=5, max_size=5)


@given(SAYINGS, SIZES, REACHES)
def test_representatives_and_reach_never_change_how_many_voices_stand_behind_a_concern(
    sayings: list[tuple[int, bool, int]], sizes: list[int], reaches: list[Reach]
) -> None:
    def heard(networks: list[Network]) -> Concern:
        course = raised()
        for number, for_it, speaker in sayings:
            network = networks[number]
            principal = f"net-{number}-rep-{speaker % len(network.representatives)}"
            decide = course.endorse if for_it else (lambda n, p: concern.take_back(course.now, n, p))
            course.did(decide(network, principal))
        return course.now

    plain = heard([a_network(number) for number in range(5)])
    sized = heard([a_network(number, sizes[number], reaches[number]) for number in range(5)])
    assert plain == sized
    last = {number: for_it for number, for_it, _ in sayings}
    assert len(sized.endorsements) == sum(last.values())


# ---- before HR -----------------------------------------------------------------------------------------------------


def test_the_steering_group_and_the_steward_lead_and_nobody_else_does() -> None:
    seat = Seat(role="lead", work_stream=None, person=an_id(7), principal="lee", hundredths=100)
    group = GROUP.model_copy(update={"seats": {"lead": seat}})
    assert concern.not_steering(UMBRELLA, group, "lee") is None
    assert concern.not_steering(UMBRELLA, group, "sam") is None
    refused = concern.not_steering(UMBRELLA, group, "ada")
    assert refused is not None
    assert refused.code == "not-of-the-steering-group"


def test_a_concern_is_submitted_once_with_a_date_that_lies_ahead() -> None:
    assert code(raised().submit(reply_by=NOON)) == "reply-by-passed"
    assert code(raised().submitted().submit()) == "concern-not-open"


def test_a_reply_is_overdue_from_its_date_and_said_to_be_so_again_and_again_until_it_comes() -> None:
    course = raised().submitted()
    assert concern.chase(course.now, REPLY_BY - timedelta(seconds=1)) == []
    course.did(concern.chase(course.now, REPLY_BY))
    assert concern.chase(course.now, REPLY_BY + CHASE_EVERY - timedelta(seconds=1)) == []
    course.did(concern.chase(course.now, REPLY_BY + CHASE_EVERY))
    said = [event for event in course.events if isinstance(event, ConcernReplyOverdue)]
    assert [(event.reminder, event.overdue_since) for event in said] == [(1, REPLY_BY), (2, REPLY_BY)]
    late = REPLY_BY + timedelta(days=9)
    assert concern.overdue_since(course.now, late) == REPLY_BY
    course.did(course.respond(late))
    assert concern.overdue_since(course.now, late) is None
    assert concern.chase_at(course.now) is None
    assert concern.chase(course.now, late + CHASE_EVERY) == []


def test_after_a_long_silence_of_ours_a_reply_is_chased_once_and_not_for_every_week_missed() -> None:
    course = raised().submitted()
    back = REPLY_BY + 5 * CHASE_EVERY
    course.did(concern.chase(course.now, back))
    assert concern.chase(course.now, back) == []
    assert concern.chase_at(course.now) == back + CHASE_EVERY


def test_a_response_is_recorded_once_and_of_what_was_submitted() -> None:
    assert code(raised().respond()) == "concern-not-submitted"
    course = raised().endorsed(1).submitted()
    course.did(course.respond())
    answered = course.events[-1]
    assert isinstance(answered, ConcernAnswered)
    assert (answered.raised_by, answered.endorsed_by) == ("ada", (a_network(1).id,))
    assert code(course.respond()) == "concern-not-submitted"


# ---- what became of it ---------------------------------------------------------------------------------------------


def test_an_open_concern_is_closed_as_not_submitted_and_as_nothing_else() -> None:
    assert raised().did(raised().close("not-submitted")).now.reason == "As it is."
    assert code(raised().close("resolved")) == "outcome-does-not-fit"


def test_a_concern_is_not_closed_over_the_head_of_who_has_time_to_reply_and_is_once_they_owe_it() -> None:
    course = raised().submitted()
    refused = course.close("unanswered")
    assert isinstance(refused, Refusal)
    assert refused.data == {"state": "submitted", "allowed": []}
    assert course.did(course.close("unanswered", REPLY_BY)).now.outcome == "unanswered"


@pytest.mark.parametrize("outcome", concern.OUTCOMES_WITH_A_REPLY)
def test_what_became_of_an_answered_concern_is_said_once(outcome: ConcernOutcome) -> None:
    course = raised().submitted()
    course.did(course.respond())
    assert code(course.close("not-submitted")) == "outcome-does-not-fit"
    course.did(course.close(outcome))
    assert (course.now.state, course.now.outcome) == ("closed", outcome)
    assert code(course.close(outcome)) == "outcome-does-not-fit"
    assert code(course.withdraw("ada")) == "concern-not-open"


def test_the_course_of_a_concern_is_told_from_the_first_step_to_the_last() -> None:
    course = raised().endorsed(2, 1).submitted()
    late = REPLY_BY + timedelta(days=1)
    course.did(concern.chase(course.now, REPLY_BY))
    assert [step.step for step in concern.course(course.now, late)][-2:] == ["fell-due", "chased"]
    course.did(course.respond(late))
    course.did(course.close("resolved", late))
    steps = concern.course(course.now, late)
    expected = ["raised", "endorsed", "endorsed", "submitted", "fell-due", "chased", "answered", "closed"]
    assert [step.step for step in steps] == expected
    assert [step.at for step in steps] == sorted(step.at for step in steps)


def test_a_reply_in_time_did_not_fall_due() -> None:
    course = raised().submitted()
    course.did(course.respond())
    assert "fell-due" not in [step.step for step in concern.course(course.now, REPLY_BY + timedelta(days=1))]


def test_a_network_that_left_does_not_stand_behind_a_concern_that_is_submitted_after_that() -> None:
    course = raised().endorsed(1, 2)
    stays = a_network(2).id
    command = SubmitConcern(concern=CONCERN, addressee="HR", reply_by=REPLY_BY)
    course.did(concern.submit(concern.of_members(course.now, {stays}), command, NOON))
    assert set(course.now.endorsements) == {stays}
    assert concern.of_members(course.now, set()) == course.now, "that is settled, whoever leaves now"
