"""Peer support: a fair match that explains itself, two who both say yes, and nobody who learns more than they must."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.membership.domain import peer_support
from services.membership.domain.network import Network, Representative
from services.membership.domain.organisation import Organisation
from services.membership.domain.peer_support import (
    ANSWER_WITHIN,
    FEW,
    FORGOTTEN_AFTER,
    MAX_REQUESTS,
    SIZES,
    HelpRequest,
    Match,
    Offer,
)
from shared.contracts.membership import (
    AcceptPeer,
    AskForHelp,
    DeclinePeer,
    Helped,
    MentorAsked,
    OfferExperience,
    PeerTopic,
)
from shared.contracts.message import Event
from shared.refusal import Refusal

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)


def an_id(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012x}"


HOME = Organisation(id=an_id(2), key="leeds", name="Leeds", type="council", region="Yorkshire and The Humber")
LEEDS = Network(
    id=an_id(3),
    name="Leeds staff network",
    reach="local",
    organisation=HOME.id,
    parent=None,
    office=None,
    umbrella=None,
    steering_group=None,
    steward="sam",
    representatives={an_id(4): Representative(principal="anne", office=None)},
)


def an_offer(number: int, **changes: Any) -> Offer:
    fields = {
        "id": an_id(100 + number), "mentor": f"mentor-{number}", "network": an_id(200 + number),
        "organisation": an_id(300 + number), "type": "nhs-body", "region": "Wales", "topics": ("funding",),
        "size": "5000-or-more", "at_once": 2,
    }  # fmt: skip
    return Offer.model_validate(fields | changes)


def a_request(number: int = 0, **changes: Any) -> HelpRequest:
    fields = {
        "id": an_id(400 + number), "topic": "funding", "asker": f"asker-{number}", "network": an_id(500 + number),
        "organisation": an_id(600 + number), "type": "council", "region": "London", "size": "250-to-999",
        "words": "We are broke.",
    }  # fmt: skip
    return HelpRequest.model_validate(fields | changes)


def matched(requests: Sequence[HelpRequest], offers: Sequence[Offer], **in_hand: int) -> list[tuple[str, str]]:
    held = {mentor.replace("_", "-"): count for mentor, count in in_hand.items()}
    return [(found.request, found.offer) for found in peer_support.match(requests, offers, held)]


def code(decision: object) -> str:
    assert isinstance(decision, Refusal), decision
    return decision.code


# ---- who is matched with whom --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("near", "score"),
    [
        ({}, 0),
        ({"region": "London"}, 1),
        ({"size": "1000-to-4999"}, 1),
        ({"size": "250-to-999"}, 2),
        ({"type": "council"}, 3),
        ({"type": "council", "size": "250-to-999", "region": "London"}, 6),
    ],
)
def test_an_offer_scores_for_type_size_and_region(near: dict[str, str], score: int) -> None:
    [found] = peer_support.match([a_request()], [an_offer(1, **near)], {})
    assert found.score == score


def test_the_answer_says_why_this_peer() -> None:
    offers = [an_offer(1, type="council", size="50-to-249"), an_offer(2)]
    [found] = peer_support.match([a_request()], offers, {})
    assert found.why == (
        "The peer offers experience of funding.",
        "It is at home in an organisation of your type: council. (+3)",
        "The organisation is nearly of your size: 50 to 249. (+1)",
        "Nobody who has the experience and room is nearer; of those as near, the one with the fewest in hand.",
    )


def test_what_is_not_known_of_an_organisation_makes_nobody_near() -> None:
    request = a_request(type=None, region=None)
    [found] = peer_support.match([request], [an_offer(1, type=None, region=None)], {})
    assert found.score == 0


def test_without_the_topic_the_nearest_is_no_peer() -> None:
    near = {"type": "council", "size": "250-to-999", "region": "London"}
    assert matched([a_request()], [an_offer(1, topics=("training-managers",), **near)]) == []


@pytest.mark.parametrize(
    "same",
    [
        {"mentor": "asker-0"},
        {"network": an_id(500)},
        {"organisation": an_id(600)},
        {"mentor": None},
    ],
    ids=["themselves", "their own network", "their own house", "nobody any more"],
)
def test_nobody_is_matched_where_people_know_each_other(same: dict[str, Any]) -> None:
    assert matched([a_request()], [an_offer(1, **same)]) == []


def test_a_mentor_it_came_to_nothing_with_is_not_proposed_again_with_another_offer() -> None:
    assert matched([a_request(tried=("mentor-1",))], [an_offer(1), an_offer(2, mentor="mentor-1")]) == []


def test_a_mentor_has_no_more_in_hand_than_they_said_and_the_longest_waiting_comes_first() -> None:
    requests = [a_request(3), a_request(1), a_request(2)]
    assert matched(requests, [an_offer(1)]) == [(an_id(401), an_id(101)), (an_id(402), an_id(101))]
    assert matched(requests, [an_offer(1)], mentor_1=1) == [(an_id(401), an_id(101))]
    assert matched(requests, [an_offer(1)], mentor_1=2) == []


def test_requests_are_spread_over_mentors_who_are_equally_near() -> None:
    offers = [an_offer(1), an_offer(2), an_offer(3, asked=1)]
    assert [offer for _, offer in matched([a_request(number) for number in range(4)], offers)] == [
        an_id(101),
        an_id(102),
        an_id(103),
        an_id(101),
    ]


@given(st.integers(0, 12), st.integers(0, 6), st.randoms(use_true_random=False))
def test_the_match_does_not_hang_on_the_order_and_overloads_nobody(asking: int, offering: int, random: Random) -> None:
    requests = [a_request(number, size=random.choice(SIZES)) for number in range(asking)]
    offers = [
        an_offer(number, size=random.choice(SIZES), type=random.choice(["council", "charity"]), at_once=1 + number % 3)
        for number in range(offering)
    ]
    found = peer_support.match(requests, offers, {})
    shuffled = random.sample(requests, asking), random.sample(offers, offering)
    assert peer_support.match(*shuffled, {}) == found
    for offer in offers:
        assert sum(each.offer == offer.id for each in found) <= offer.at_once
    assert len(found) == min(asking, sum(offer.at_once for offer in offers))


# ---- both say yes or no --------------------------------------------------------------------------------------------


def proposed() -> HelpRequest:
    found = Match(request=an_id(400), offer=an_id(101), mentor="mentor-1", score=3, why=("So.",))
    return peer_support.propose(a_request(), found, NOON)


HANDLE = an_id(700)


def accept(
    request: HelpRequest, by: str, named: str | None = None, *, offer: int = 1, at: datetime = NOON, stands: bool = True
) -> HelpRequest | Refusal:
    """``named``: the id they name the request by, if not the one they know."""
    known = request.id if request.state == "proposed" else request.asked_as
    command = AcceptPeer(request=named or known or HANDLE, offer=an_id(100 + offer))
    return peer_support.accept(request, command, by, at, stands=stands, new_id=HANDLE)


def decline(request: HelpRequest, by: str, *, offer: int = 1) -> HelpRequest | Refusal:
    known = request.id if request.state == "proposed" else request.asked_as
    command = DeclinePeer(request=known or HANDLE, offer=an_id(100 + offer))
    return peer_support.decline(request, command, by, NOON)


def close(request: HelpRequest, by: str = "asker-0", helped: Helped = "partly") -> HelpRequest | Refusal:
    return peer_support.close(request, request.id, by, helped, closed_before=4)


def accepted(request: HelpRequest, by: str) -> HelpRequest:
    after = accept(request, by)
    assert isinstance(after, HelpRequest), after
    return after


def declined(request: HelpRequest, by: str) -> HelpRequest:
    after = decline(request, by)
    assert isinstance(after, HelpRequest), after
    return after


def test_the_asker_answers_first_and_then_the_peer() -> None:
    request = proposed()
    assert code(accept(request, "mentor-1")) == "no-such-request"
    asked = accepted(request, "asker-0")
    assert (asked.state, asked.answer_by) == ("asked", NOON + ANSWER_WITHIN)
    assert code(accept(asked, "asker-0", asked.id)) == "no-such-request"
    both = accepted(asked, "mentor-1")
    assert both.state == "matched"
    assert code(accept(both, "mentor-1")) == "no-such-request"


def test_an_answer_is_to_the_peer_it_was_meant_for_and_to_no_other() -> None:
    request = proposed()
    assert code(accept(request, "asker-0", offer=2)) == code(decline(request, "asker-0", offer=2)) == "another-peer"
    asked = accepted(request, "asker-0")
    assert code(accept(asked, "mentor-1", offer=2)) == code(decline(asked, "mentor-1", offer=2)) == "another-peer"
    both = accepted(asked, "mentor-1")
    assert code(decline(both, "mentor-1", offer=2)) == "another-peer"


def test_the_peer_knows_a_request_by_an_id_of_their_own_which_goes_when_they_are_out_of_it() -> None:
    asked = accepted(proposed(), "asker-0")
    assert (proposed().asked_as, asked.asked_as) == (None, HANDLE)
    assert code(accept(asked, "mentor-1", asked.id)) == "no-such-request"
    assert code(accept(proposed(), "asker-0", HANDLE)) == "no-such-request"
    both = accepted(asked, "mentor-1")
    assert both.asked_as == HANDLE
    assert declined(asked, "mentor-1").asked_as is declined(both, "mentor-1").asked_as is None


def test_when_the_time_is_up_nobody_accepts_any_more_even_if_nothing_has_become_of_it_yet() -> None:
    late = NOON + ANSWER_WITHIN
    asked = accepted(proposed(), "asker-0")
    for request, by in ((proposed(), "asker-0"), (asked, "mentor-1")):
        assert isinstance(accept(request, by, at=late - timedelta(seconds=1)), HelpRequest)
        assert code(accept(request, by, at=late)) == "time-is-up"


def test_whose_offer_stands_no_more_is_neither_asked_nor_told() -> None:
    asked = accepted(proposed(), "asker-0")
    for request, by in ((proposed(), "asker-0"), (asked, "mentor-1")):
        again = accept(request, by, stands=False)
        assert isinstance(again, HelpRequest), again
        assert (again.state, again.mentor, again.asked_as, again.tried) == ("waiting", None, None, ("mentor-1",))


def test_a_peer_who_is_declined_or_declines_is_not_proposed_again() -> None:
    asked = accepted(proposed(), "asker-0")
    for after in (declined(proposed(), "asker-0"), declined(asked, "mentor-1"), peer_support.released(asked)):
        assert (after.state, after.mentor, after.tried) == ("waiting", None, ("mentor-1",))
        assert matched([after], [an_offer(1), an_offer(2)]) == [(an_id(400), an_id(102))]


def test_what_is_not_theirs_is_answered_like_what_does_not_exist() -> None:
    request = proposed()
    for by in ("mentor-1", "stranger"):
        refusals = [
            accept(request, by),
            decline(request, by),
            close(request, by),
            peer_support.withdraw(request, request.id, by),
        ]
        assert refusals == [peer_support.withdraw(None, request.id, by)] * 4


def test_silence_sets_the_peer_free_and_finds_another_for_the_asker() -> None:
    request, late = proposed(), NOON + ANSWER_WITHIN
    assert peer_support.silence(request, late - timedelta(seconds=1)) == request
    ended = peer_support.silence(request, late)
    assert ended is not None
    assert (ended.state, ended.mentor) == ("ended", None)
    assert peer_support.silence(ended, late + FORGOTTEN_AFTER) is None
    again = peer_support.silence(accepted(request, "asker-0"), late)
    assert again is not None
    assert (again.state, again.tried) == ("waiting", ("mentor-1",))


def test_a_peer_who_accepted_may_end_it_and_the_asker_still_says_whether_it_helped() -> None:
    both = accepted(accepted(proposed(), "asker-0"), "mentor-1")
    assert peer_support.released(both) == both
    ended = declined(both, "mentor-1")
    assert (ended.state, ended.mentor) == ("ended", None)
    assert close(ended) == HelpRequest(id=ended.id, topic="funding", state="closed", helped="partly", place=5)


def test_nobody_helped_before_they_accepted() -> None:
    assert code(close(proposed())) == "not-matched"


# ---- offering and asking -------------------------------------------------------------------------------------------


def offer(by: str = "anne", is_member: bool = True, already: bool = False) -> list[Event] | Refusal:
    command = OfferExperience(network=LEEDS.id, topics=("funding", "funding"), size="under-50")
    return peer_support.offer(LEEDS, HOME, command, by, new_id=an_id(1), is_member=is_member, offers_already=already)


def test_representatives_of_member_networks_offer_once() -> None:
    decision = offer()
    assert not isinstance(decision, Refusal)
    state = peer_support.evolve(None, decision[0])
    assert (state.mentor, state.topics, state.type, state.region) == ("anne", ("funding",), "council", HOME.region)
    assert code(offer(by="sam")) == "not-a-representative"
    assert code(offer(is_member=False)) == "not-a-member"
    assert code(offer(already=True)) == "offers-already"
    assert peer_support.evolve(state, MentorAsked(offer=state.id, mentor="anne")).asked == 1
    [ended] = peer_support.end_offer(state, "anne")
    assert peer_support.evolve(state, ended).mentor is None
    assert code(peer_support.end_offer(state, "sam")) == "no-offer"


def ask(by: str = "anne", has: Mapping[int, PeerTopic] = MappingProxyType({})) -> HelpRequest | Refusal:
    command = AskForHelp(network=LEEDS.id, topic="funding", size="under-50")
    return peer_support.ask(LEEDS, HOME, command, by, new_id=an_id(1), has=has)


def test_a_network_that_is_a_member_of_nothing_yet_may_ask_and_nobody_asks_for_too_much() -> None:
    assert isinstance(ask(), HelpRequest)
    assert isinstance(ask("sam"), HelpRequest)
    assert code(ask("stranger")) == "not-of-this-network"
    assert code(ask(has={1: "funding"})) == "asked-already"
    full: dict[int, PeerTopic] = dict.fromkeys(range(1, MAX_REQUESTS + 1), "senior-leaders")
    assert code(ask(has=full)) == "requests-enough"
    del full[2]
    third = ask(has=full)
    assert isinstance(third, HelpRequest)
    assert third.slot == 2


def test_figures_that_could_be_known_are_not_shown() -> None:
    few = peer_support.figures(["yes"] * (FEW - 1))
    assert (few.closed, few.helped) == (None, None)
    assert few.withheld
    enough = peer_support.figures(["yes"] * (FEW - 1) + ["no"])
    assert enough.helped == {"yes": FEW - 1, "partly": 0, "no": 1}


def test_figures_move_by_ten_answers_at_once_so_that_none_is_known_from_what_they_were_before() -> None:
    answers: list[Helped] = ["yes", "no", "partly"] * FEW
    for closed in range(FEW, len(answers)):
        shown = peer_support.figures(answers[:closed])
        assert shown == peer_support.figures(answers[: closed - closed % FEW])
        assert shown.closed == closed - closed % FEW
        assert shown.helped
        assert sum(shown.helped.values()) == shown.closed
    assert peer_support.figures(answers).closed == 3 * FEW
