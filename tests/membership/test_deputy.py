"""Deputies: who names them, what they may say, and when they are deputies no more."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.membership.domain import concern, deputy, network, proposal
from services.membership.domain.concern import Concern
from services.membership.domain.membership import Membership, lapse
from services.membership.domain.network import Network, Representative
from services.membership.domain.proposal import Proposal, Voice
from shared.contracts.membership import (
    AppointRepresentative,
    NameDeputy,
    PositionTaken,
    StandDownRepresentative,
    TakePosition,
    WithdrawDeputy,
)
from shared.contracts.message import Event
from shared.refusal import Refusal


def an_id(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012x}"


LEEDS, UMBRELLA, PROPOSAL, ANNE, BEN, DORA, EVE = (an_id(number) for number in range(7))
NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
NETWORK = Network(
    id=LEEDS,
    name="Leeds staff network",
    reach="local",
    organisation=an_id(9),
    parent=None,
    office=None,
    umbrella=None,
    steering_group=None,
    steward="sam",
    representatives={
        ANNE: Representative(principal="anne", office=None),
        BEN: Representative(principal="ben", office=None),
    },
)


def name(state: Network, person: str, principal: str, by: str) -> Any:
    return deputy.name(state, NameDeputy(network=LEEDS, person=person, principal=principal), by)


def withdraw(state: Network, person: str, by: str) -> Any:
    return deputy.withdraw(state, WithdrawDeputy(network=LEEDS, person=person), by)


def appoint(state: Network, person: str, principal: str) -> Any:
    return network.appoint_representative(
        state, AppointRepresentative(network=LEEDS, person=person, principal=principal), "sam"
    )


def stand_down(state: Network, person: str) -> Any:
    return network.stand_down_representative(state, StandDownRepresentative(network=LEEDS, person=person), "sam")


def after(events: list[Event] | Refusal, state: Network = NETWORK) -> Network:
    assert not isinstance(events, Refusal), events
    for event in events:
        state = network.evolve(state, event)
    return state


def code(decision: list[Event] | Refusal) -> str:
    assert isinstance(decision, Refusal)
    return decision.code


def names_of(events: list[Event]) -> list[str]:
    return [event.wire.name for event in events]


WITH_DORA = after(name(NETWORK, DORA, "dora", "anne"))


def test_a_representative_names_a_deputy_who_speaks_for_the_network() -> None:
    anne = WITH_DORA.representatives[ANNE]
    assert (anne.deputy, anne.deputy_principal) == (DORA, "dora")
    assert network.speaks_for(WITH_DORA, "dora") == DORA
    assert network.speaks_for(WITH_DORA, "anne") == ANNE
    assert network.speaks_for(NETWORK, "dora") is None


@pytest.mark.parametrize("by", ["sam", "dora", "stranger"])
def test_nobody_but_a_representative_names_a_deputy_not_even_the_steward_or_a_deputy(by: str) -> None:
    assert code(name(WITH_DORA, EVE, "eve", by)) == "not-a-representative"


def test_each_representative_has_one_deputy_at_a_time() -> None:
    assert code(name(WITH_DORA, EVE, "eve", "anne")) == "has-a-deputy"
    both = after(name(WITH_DORA, EVE, "eve", "ben"), WITH_DORA)
    assert [who.deputy for who in both.representatives.values()] == [DORA, EVE]
    changed = after(name(after(withdraw(WITH_DORA, DORA, "anne"), WITH_DORA), EVE, "eve", "anne"))
    assert changed.representatives[ANNE].deputy == EVE


@pytest.mark.parametrize(
    ("person", "principal", "why"),
    [
        (BEN, "benjamin", "speaks-already"),
        (DORA, "dorothy", "speaks-already"),
        (EVE, "anne", "credentials-taken"),
        (EVE, "dora", "credentials-taken"),
    ],
)
def test_a_deputy_is_somebody_else_with_credentials_of_their_own(person: str, principal: str, why: str) -> None:
    assert code(name(WITH_DORA, person, principal, "ben")) == why


def test_a_deputy_appoints_and_stands_down_nobody_and_neither_joins_nor_leaves_for_the_network() -> None:
    assert not network.acts_for(WITH_DORA, "dora")
    assert network.represents(WITH_DORA, "dora") is None
    command = AppointRepresentative(network=LEEDS, person=EVE, principal="eve")
    assert code(network.appoint_representative(WITH_DORA, command, "dora")) == "not-of-this-network"


@pytest.mark.parametrize("by", ["anne", "dora", "sam"])
def test_a_deputy_is_withdrawn_by_whoever_named_them_by_themselves_or_by_the_steward(by: str) -> None:
    assert after(withdraw(WITH_DORA, DORA, by), WITH_DORA) == NETWORK


@pytest.mark.parametrize("by", ["ben", "stranger"])
def test_another_representative_leaves_the_deputy_of_a_colleague_alone(by: str) -> None:
    assert code(withdraw(WITH_DORA, DORA, by)) == "not-theirs-to-withdraw"
    assert code(withdraw(WITH_DORA, BEN, by)) == "not-a-deputy"


def test_a_deputy_goes_with_the_representative() -> None:
    events = stand_down(WITH_DORA, ANNE)
    assert names_of(events) == ["deputy-withdrawn", "representative-stood-down"]
    assert network.speaks_for(after(events, WITH_DORA), "dora") is None


def test_a_deputy_is_no_representative_who_remains_so_the_membership_lapses() -> None:
    only_anne = after(stand_down(WITH_DORA, BEN), WITH_DORA)
    there = Membership(id=an_id(8), umbrella=UMBRELLA, network=LEEDS, state="admitted")
    assert lapse(there, only_anne) == []
    assert names_of(lapse(there, after(stand_down(only_anne, ANNE), only_anne))) == ["member-network-lapsed"]


def test_a_deputy_who_becomes_a_representative_is_a_deputy_no_more() -> None:
    events = appoint(WITH_DORA, DORA, "dora")
    assert names_of(events) == ["deputy-withdrawn", "representative-appointed"]
    state = after(events, WITH_DORA)
    assert state.representatives[ANNE].deputy is None
    assert network.represents(state, "dora") == DORA
    assert code(appoint(WITH_DORA, EVE, "dora")) == "credentials-taken"


def test_no_deputy_is_named_for_a_network_that_nobody_registered() -> None:
    unknown: Any = None
    assert code(name(unknown, DORA, "dora", "anne")) == code(withdraw(unknown, DORA, "anne")) == "network-unknown"


# ---- one voice still -----------------------------------------------------------------------------------------------


def test_a_deputy_gives_the_one_voice_of_the_network_and_changes_it() -> None:
    state = Proposal(
        id=PROPOSAL, umbrella=UMBRELLA, author="sam", title="T", text="T", state="open", opened_at=NOW, quorum=1,
        deadline=NOW + timedelta(days=14), voices={LEEDS: Voice()},
    )  # fmt: skip

    def say(state: Proposal, by: str, position: Any) -> Any:
        command = TakePosition(proposal=PROPOSAL, network=LEEDS, position=position, reason="So.")
        return proposal.take_position(state, WITH_DORA, command, by, NOW)

    for by, position in (("anne", "consent"), ("dora", "block")):
        [taken] = say(state, by, position)
        assert isinstance(taken, PositionTaken)
        state = proposal.evolve(state, taken)
    [voice] = state.voices.values()
    assert voice.stance is not None
    assert (voice.stance.position, voice.stance.person) == ("block", DORA)
    assert [(one.position, one.person) for one in voice.earlier] == [("consent", ANNE)]
    withdrawn = after(withdraw(WITH_DORA, DORA, "anne"), WITH_DORA)
    command = TakePosition(proposal=PROPOSAL, network=LEEDS, position="consent")
    assert code(proposal.take_position(state, withdrawn, command, "dora", NOW)) == "not-a-representative"


def test_a_deputy_endorses_for_the_network_once_however_many_do() -> None:
    state = Concern(
        id=PROPOSAL, umbrella=UMBRELLA, title="T", text="T", suggestion="S", raised_by="sam", raised_at=NOW,
        state="open",
    )  # fmt: skip
    there = Membership(id=an_id(8), umbrella=UMBRELLA, network=LEEDS, state="admitted")
    decision = concern.endorse(state, WITH_DORA, there, "dora", NOW)
    assert not isinstance(decision, Refusal)
    [endorsed] = decision
    assert concern.endorse(concern.evolve(state, endorsed), WITH_DORA, there, "anne", NOW) == []
