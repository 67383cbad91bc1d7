"""Joining an umbrella, being admitted, and leaving."""

from typing import Any

import pytest

from services.membership.domain import membership
from services.membership.domain.membership import Membership
from services.membership.domain.network import Network, Representative
from services.membership.domain.organisation import Organisation
from shared.contracts.membership import DeclineMemberNetwork, MemberNetworkAdmitted, MembershipState, UmbrellaRules
from shared.contracts.message import Event
from shared.refusal import Refusal


def an_id(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012x}"


MEMBERSHIP = an_id(1)
HOME = Organisation(id=an_id(2), key="leeds-city-council", name="Leeds City Council", type="council")
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


def an_umbrella(**rules: Any) -> Network:
    rules_ = UmbrellaRules(**rules)
    return LEEDS.model_copy(
        update={"id": an_id(5), "name": "Councils' network", "steward": "una", "umbrella": rules_, "reach": "national"}
    )


def apply(
    umbrella: Network, network: Network = LEEDS, state: Membership | None = None, by: str = "anne"
) -> list[Event] | Refusal:
    return membership.apply(
        umbrella, network, state, by, new_id=MEMBERSHIP, home=HOME if network.organisation else None
    )


def after(events: list[Event] | Refusal, state: Membership | None = None) -> Membership:
    assert not isinstance(events, Refusal), events
    for event in events:
        state = membership.evolve(state, event)
    assert state is not None
    return state


def code(decision: list[Event] | Refusal) -> str:
    assert isinstance(decision, Refusal)
    return decision.code


def in_state(state: MembershipState) -> Membership:
    return Membership(id=MEMBERSHIP, umbrella=an_id(5), network=LEEDS.id, state=state)


def test_a_network_applies_and_is_admitted() -> None:
    applied = after(apply(an_umbrella()))
    assert applied.state == "applied"
    [event] = membership.admit(an_umbrella(), LEEDS, applied, may_admit=True)
    assert isinstance(event, MemberNetworkAdmitted)
    assert (event.network, event.name, event.organisation) == (LEEDS.id, LEEDS.name, HOME.id)
    assert membership.evolve(applied, event).state == "admitted"


def test_an_open_umbrella_admits_at_once_whose_home_is_confirmed_and_nobody_unseen() -> None:
    confirmed = LEEDS.model_copy(update={"home_confirmed": True})
    assert after(apply(an_umbrella(open=True), network=confirmed)).state == "admitted"
    waiting = after(apply(an_umbrella(open=True)))
    assert waiting.state == "applied"
    [event] = membership.admit(an_umbrella(open=True), LEEDS, waiting, may_admit=True)
    assert membership.evolve(waiting, event).state == "admitted"
    assert after(apply(an_umbrella(), network=confirmed)).state == "applied"


def test_only_the_steward_or_a_representative_applies_for_a_network() -> None:
    assert after(apply(an_umbrella(), by="sam")).state == "applied"
    assert code(apply(an_umbrella(), by="una")) == "not-of-this-network"


@pytest.mark.parametrize("state", ["applied", "admitted"])
def test_a_network_has_one_voice_however_often_it_asks(state: MembershipState) -> None:
    assert code(apply(an_umbrella(), state=in_state(state))) == "one-voice"


@pytest.mark.parametrize("state", ["withdrawn", "lapsed"])
def test_a_network_that_left_may_apply_again_and_keeps_its_membership(state: MembershipState) -> None:
    assert after(apply(an_umbrella(), state=in_state(state)), in_state(state)) == in_state("applied")


def test_an_umbrella_admits_the_types_of_organisation_it_names() -> None:
    assert after(apply(an_umbrella(eligible=["council", "charity"]))).state == "applied"
    refusal = apply(an_umbrella(eligible=["nhs-body"]))
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.data) == ("not-eligible", {"eligible": ["nhs-body"], "type": "council"})
    assert "nhs-body" in refusal.sentence


def test_eligibility_holds_for_open_umbrellas_too() -> None:
    assert code(apply(an_umbrella(open=True, eligible=["nhs-body"]))) == "not-eligible"


def test_a_network_that_stands_under_the_umbrella_belongs_to_it_without_a_home_organisation() -> None:
    london = LEEDS.model_copy(update={"organisation": None, "parent": an_id(5)})
    elsewhere = london.model_copy(update={"parent": an_id(8)})
    assert after(apply(an_umbrella(eligible=["council"]), london)).state == "applied"
    assert code(apply(an_umbrella(eligible=["council"]), elsewhere)) == "not-eligible"


def test_a_network_that_nobody_speaks_for_is_not_admitted() -> None:
    silent = LEEDS.model_copy(update={"representatives": {}})
    assert code(apply(an_umbrella(), silent, by="sam")) == "nobody-speaks-for-it"
    assert code(membership.admit(an_umbrella(), silent, in_state("applied"), may_admit=True)) == "nobody-speaks-for-it"


def test_a_network_is_no_member_of_itself_or_of_a_network_that_is_no_umbrella() -> None:
    umbrella = an_umbrella()
    assert code(apply(umbrella, umbrella)) == "own-umbrella"
    assert code(apply(LEEDS, umbrella)) == "not-an-umbrella"


def test_only_those_who_steer_the_umbrella_admit() -> None:
    decision = membership.admit(an_umbrella(), LEEDS, in_state("applied"), may_admit=False)
    assert code(decision) == "not-of-the-steering-group"


@pytest.mark.parametrize("state", [None, "admitted", "withdrawn", "lapsed"])
def test_only_a_network_that_has_applied_is_admitted(state: MembershipState | None) -> None:
    held = in_state(state) if state else None
    assert code(membership.admit(an_umbrella(), LEEDS, held, may_admit=True)) == "no-application"


def test_a_member_or_applicant_withdraws_and_others_have_nothing_to_withdraw_from() -> None:
    for state in ("applied", "admitted"):
        held = in_state(state)
        assert after(membership.withdraw(an_umbrella(), LEEDS, held, "anne"), held).state == "withdrawn"
    assert code(membership.withdraw(an_umbrella(), LEEDS, in_state("withdrawn"), "anne")) == "not-a-member"
    assert code(membership.withdraw(an_umbrella(), LEEDS, None, "anne")) == "not-a-member"
    assert code(membership.withdraw(an_umbrella(), LEEDS, in_state("admitted"), "una")) == "not-of-this-network"


def test_a_membership_lapses_once_when_nobody_is_left_to_speak_for_the_network() -> None:
    silent = LEEDS.model_copy(update={"representatives": {}})
    for state in ("applied", "admitted"):
        assert after(membership.lapse(in_state(state), silent), in_state(state)).state == "lapsed"
    assert membership.lapse(in_state("lapsed"), silent) == []
    assert membership.lapse(in_state("withdrawn"), silent) == []


def test_a_membership_does_not_lapse_while_somebody_speaks_for_the_network() -> None:
    assert membership.lapse(in_state("admitted"), LEEDS) == []


def decline(state: Membership | None, *, may_admit: bool = True) -> list[Event] | Refusal:
    command = DeclineMemberNetwork(umbrella=an_id(5), network=LEEDS.id, reason="It has joined through its region.")
    return membership.decline(an_umbrella(), LEEDS, state, command, may_admit=may_admit)


def test_an_application_is_declined_with_its_reason_and_may_be_made_again() -> None:
    declined = after(decline(in_state("applied")), in_state("applied"))
    assert declined.state == "declined"
    assert after(apply(an_umbrella(), state=declined), declined).state == "applied"


def test_only_an_application_is_declined_and_only_by_those_who_admit() -> None:
    assert code(decline(in_state("applied"), may_admit=False)) == "not-of-the-steering-group"
    for state in (None, in_state("admitted"), in_state("declined"), in_state("withdrawn")):
        assert code(decline(state)) == "no-application"
