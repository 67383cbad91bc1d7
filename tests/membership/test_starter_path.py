"""The starter path of a forming network: its steps, when it is established, and the request for a peer."""

from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.membership.domain import peer_support, starter_path
from services.membership.domain.network import Network
from services.membership.domain.organisation import Organisation
from services.membership.domain.peer_support import MAX_REQUESTS
from services.membership.domain.starter_path import STEPS, TOPIC, StarterPath
from shared.contracts.membership import (
    GivenUmbrellaRules,
    NetworkEstablished,
    OfferExperience,
    RecordStarterStep,
    RegisterNetwork,
    StarterStep,
    StarterStepRecorded,
    TakeBackStarterStep,
)
from shared.contracts.message import Event
from shared.refusal import Refusal
from tests.membership.test_peer_support import HOME, LEEDS, an_id, an_offer

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
TODAY = date(2026, 6, 1)
ALL: tuple[StarterStep, ...] = tuple(STEPS)
PATH = an_id(9)


def begun(*done: StarterStep) -> StarterPath:
    path = after(None, starter_path.begin(PATH, LEEDS.id, NOON))
    for step in done:
        path = after(path, record(path, step))
    return path


def after(path: StarterPath | None, decision: Any) -> StarterPath:
    assert not isinstance(decision, Refusal), decision
    for event in decision:
        path = starter_path.evolve(path, event)
    assert path is not None
    return path


def record(
    path: StarterPath | None, step: StarterStep, done_on: date = TODAY, by: str = "sam", at: datetime = NOON
) -> list[Event] | Refusal:
    command = RecordStarterStep(network=LEEDS.id, step=step, done_on=done_on)
    return starter_path.record(path, LEEDS, command, by, at)


def take_back(path: StarterPath | None, step: StarterStep, by: str = "sam") -> list[Event] | Refusal:
    return starter_path.take_back(path, LEEDS, TakeBackStarterStep(network=LEEDS.id, step=step), by)


def code(decision: Any) -> str:
    assert isinstance(decision, Refusal), decision
    return decision.code


def test_every_step_there_is_says_what_to_do() -> None:
    assert tuple(get_args(StarterStep)) == ALL
    assert len(set(STEPS.values())) == len(ALL)


def test_a_path_shows_the_first_step_that_is_not_done() -> None:
    assert starter_path.next_step(begun()) == "find-a-sponsor"
    assert starter_path.next_step(begun("gather-five-people")) == "find-a-sponsor"
    assert starter_path.next_step(begun("gather-five-people", "find-a-sponsor")) == "agree-terms-of-reference"


def test_a_step_is_recorded_with_its_day_which_may_be_corrected() -> None:
    path = begun("find-a-sponsor")
    assert record(path, "find-a-sponsor") == []
    earlier = TODAY - timedelta(days=30)
    assert after(path, record(path, "find-a-sponsor", earlier)).done == {"find-a-sponsor": earlier}


def test_a_step_is_not_done_on_a_day_to_come() -> None:
    refusal = record(begun(), "find-a-sponsor", TODAY + timedelta(days=1))
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.field, refusal.data) == ("not-done-yet", "done_on", {"latest": "2026-06-01"})


def test_today_is_the_day_it_is_in_london() -> None:
    past_midnight_in_summer = datetime(2026, 6, 1, 23, 30, tzinfo=UTC)
    assert not isinstance(record(begun(), "find-a-sponsor", date(2026, 6, 2), at=past_midnight_in_summer), Refusal)


def test_a_step_recorded_by_mistake_is_taken_back() -> None:
    path = begun("find-a-sponsor", "gather-five-people")
    path = after(path, take_back(path, "find-a-sponsor"))
    assert (list(path.done), starter_path.next_step(path)) == (["gather-five-people"], "find-a-sponsor")
    assert take_back(path, "find-a-sponsor") == []


@given(st.permutations(ALL))
def test_the_last_step_establishes_a_network_in_whatever_order_they_are_taken(order: list[StarterStep]) -> None:
    path = begun(*order[:-1])
    assert path.established_at is None
    decision = record(path, order[-1])
    assert isinstance(decision, list)
    assert [type(event) for event in decision] == [StarterStepRecorded, NetworkEstablished]
    assert after(path, decision).established_at == NOON


@given(st.lists(st.tuples(st.sampled_from(ALL), st.booleans()), max_size=20))
def test_a_network_is_established_by_steps_if_and_only_if_all_of_them_are_done(
    course: list[tuple[StarterStep, bool]],
) -> None:
    path = begun()
    done: set[StarterStep] = set()
    for step, back in course:
        decision = take_back(path, step) if back else record(path, step)
        if path.established_at:
            assert code(decision) == "established-already"
            continue
        path = after(path, decision)
        done = done - {step} if back else done | {step}
        assert path.done.keys() == done
        assert (path.established_at is not None) is (done == set(ALL))


def test_a_network_is_established_when_its_steward_says_so_and_once() -> None:
    path = begun("find-a-sponsor")
    path = after(path, starter_path.establish(path, LEEDS, "sam", NOON))
    assert (path.established_at, starter_path.next_step(path)) == (NOON, None)
    for decision in (
        starter_path.establish(path, LEEDS, "sam", NOON),
        record(path, "hold-a-first-meeting"),
        take_back(path, "find-a-sponsor"),
    ):
        assert code(decision) == "established-already"


@pytest.mark.parametrize("principal", ["anne", "stranger"])
def test_the_steward_alone_says_how_far_it_is(principal: str) -> None:
    path = begun()
    assert code(record(path, "find-a-sponsor", by=principal)) == "not-the-steward"
    assert code(take_back(path, "find-a-sponsor", by=principal)) == "not-the-steward"
    assert code(starter_path.establish(path, LEEDS, principal, NOON)) == "not-the-steward"


def test_a_network_that_was_never_forming_has_no_path() -> None:
    assert code(record(None, "find-a-sponsor")) == "not-forming"
    assert code(starter_path.establish(None, LEEDS, "sam", NOON)) == "not-forming"


def test_an_umbrella_is_not_registered_as_forming() -> None:
    fields = {"name": "North", "reach": "regional", "organisation": HOME.id}
    assert starter_path.cannot_form(RegisterNetwork.model_validate(fields | {"forming": True})) is None
    assert starter_path.cannot_form(RegisterNetwork.model_validate(fields | {"umbrella": GivenUmbrellaRules()})) is None
    both = RegisterNetwork.model_validate(fields | {"forming": True, "umbrella": GivenUmbrellaRules()})
    assert code(starter_path.cannot_form(both)) == "umbrella-not-forming"


# ---- the peer ------------------------------------------------------------------------------------------------------


def a_peer_request(network: Network = LEEDS, home: Organisation | None = HOME, has: Any = MappingProxyType({})) -> Any:
    return starter_path.peer_request(network, home, new_id=an_id(50), has=has)


def test_the_request_is_the_stewards_and_waits_like_any_other() -> None:
    request = a_peer_request()
    assert (request.asker, request.topic, request.state, request.mentor) == ("sam", TOPIC, "waiting", None)
    assert (request.network, request.type, request.region) == (LEEDS.id, "council", "Yorkshire and The Humber")


def test_a_steward_who_has_such_a_request_or_enough_of_them_gets_no_other() -> None:
    assert a_peer_request(has={1: TOPIC}) is None
    assert a_peer_request(has=dict.fromkeys(range(1, MAX_REQUESTS + 1), "funding")) is None
    assert a_peer_request(has={1: "funding", 3: "funding"}).slot == 2


def test_the_peer_is_near_experienced_from_elsewhere_and_the_one_asked_least() -> None:
    offers = [
        an_offer(1, topics=("funding",), type="council"),
        an_offer(2, topics=(TOPIC,), type="council", organisation=HOME.id),
        an_offer(3, topics=(TOPIC,), type="nhs-body"),
        an_offer(4, topics=(TOPIC,), type="council", asked=1),
        an_offer(5, topics=(TOPIC,), type="council"),
    ]
    [match] = peer_support.match([a_peer_request()], offers, {})
    assert match.mentor == "mentor-5"


def test_many_forming_networks_are_spread_over_the_mentors() -> None:
    offers = [an_offer(number, topics=(TOPIC,), at_once=2) for number in range(3)]
    requests = [
        a_peer_request().model_copy(update={"id": an_id(500 + n), "asker": f"steward-{n}", "network": an_id(600 + n)})
        for n in range(6)
    ]
    matched = [match.mentor for match in peer_support.match(requests, offers, {})]
    assert sorted(matched) == sorted(["mentor-0", "mentor-1", "mentor-2"] * 2)


def test_a_network_that_is_still_forming_offers_no_experience() -> None:
    command = OfferExperience(network=LEEDS.id, topics=(TOPIC,), size="50-to-249")
    given_: dict[str, Any] = {"new_id": an_id(60), "is_member": True, "offers_already": False}
    assert code(peer_support.offer(LEEDS, HOME, command, "anne", forming=True, **given_)) == "still-forming"
    assert isinstance(peer_support.offer(LEEDS, HOME, command, "anne", forming=False, **given_), list)
