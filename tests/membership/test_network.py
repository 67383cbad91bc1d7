"""Networks, where they stand, and who speaks for them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from services.membership.domain import network
from services.membership.domain.network import Network
from services.membership.domain.organisation import Organisation
from shared.contracts.membership import (
    AppointRepresentative,
    AppointSteward,
    ConfirmNetworkHome,
    GivenOffice,
    HandOverStewardship,
    MoveOffice,
    NetworkCarriedOver,
    NetworkRegistered,
    Office,
    Reach,
    RegisterNetwork,
    StandDownRepresentative,
    UmbrellaRules,
)
from shared.contracts.message import Event
from shared.refusal import Refusal


def an_id(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012x}"


NETWORK, GROUP, PARENT, ANNE, BEN = (an_id(number) for number in range(5))
LEEDS: dict[str, Any] = {
    "place": "Leeds",
    "region": "Yorkshire and The Humber",
    "nation": "England",
    "latitude": 53.8,
    "longitude": -1.55,
}
HOME = Organisation(id=an_id(9), key="leeds-city-council", name="Leeds City Council", type="council", **LEEDS)
REGISTER = RegisterNetwork(name="Leeds staff network", reach="local", organisation=HOME.id)


def registered(command: RegisterNetwork = REGISTER, **known: Any) -> list[Event] | Refusal:
    known = {"organisation": HOME, "parent": None, "beside": {}} | known
    return network.register(command, "sam", network_id=NETWORK, group_id=GROUP, **known)


def after(events: list[Event] | Refusal, state: Network | None = None) -> Network:
    assert not isinstance(events, Refusal), events
    for event in events:
        state = network.evolve(state, event)
    assert state is not None
    return state


def code(decision: list[Event] | Refusal) -> str:
    assert isinstance(decision, Refusal)
    return decision.code


def appoint(state: Network, person: str, principal: str, by: str = "sam", office: Office | None = None) -> Any:
    given = GivenOffice(**office.model_dump()) if office else None
    command = AppointRepresentative(network=state.id, person=person, principal=principal, office=given)
    return network.appoint_representative(state, command, by)


def stand_down(state: Network, person: str, by: str) -> Any:
    return network.stand_down_representative(state, StandDownRepresentative(network=state.id, person=person), by)


def test_whoever_registers_a_network_is_its_steward() -> None:
    assert after(registered()).steward == "sam"


def test_a_network_sets_out_from_the_place_of_its_home_organisation_unless_it_says_otherwise() -> None:
    assert after(registered()).office == Office(**LEEDS)
    bradford = RegisterNetwork.model_validate(REGISTER.model_dump() | {"office": LEEDS | {"place": "Bradford"}})
    assert after(registered(bradford)).office == Office(**LEEDS | {"place": "Bradford"})
    assert after(registered(organisation=HOME.model_copy(update={"latitude": None}))).office is None


def test_where_a_register_names_no_town_the_name_of_the_body_stands_for_it() -> None:
    office = after(registered(organisation=HOME.model_copy(update={"place": None}))).office
    assert office == Office(**LEEDS | {"place": "Leeds City Council"})


def test_a_network_is_registered_once_however_its_name_is_written() -> None:
    state = after(registered())
    again = REGISTER.model_copy(update={"name": "LEEDS  Staff Network"})
    decision = registered(again, beside={state.id: state.name})
    assert code(decision) == "network-registered-already"
    assert isinstance(decision, Refusal)
    assert decision.data == {"network": NETWORK}
    assert not isinstance(
        registered(REGISTER.model_copy(update={"name": "Leeds night staff"}), beside={state.id: state.name}), Refusal
    )


YORK = Office(**LEEDS | {"place": "York", "latitude": 53.96, "longitude": -1.08})


def move(state: Network | None, person: str | None = None, by: str = "sam") -> Any:
    command = MoveOffice(network=NETWORK, office=GivenOffice(**YORK.model_dump()), person=person)
    return network.move_office(state, command, by)


def test_whoever_set_out_from_the_office_of_a_network_moves_with_it() -> None:
    leeds = Office(**LEEDS)
    bradford = Office(**LEEDS | {"place": "Bradford"})
    state = after(registered())
    state = after(appoint(state, ANNE, "anne"), state)
    state = after(appoint(state, BEN, "ben", office=bradford), state)
    moved = after(move(state, by="anne"), state)
    assert moved.office == YORK
    assert {person: who.office for person, who in moved.representatives.items()} == {ANNE: YORK, BEN: bradford}
    assert move(moved) == []
    alone = after(move(state, person=BEN), state)
    assert (alone.office, alone.representatives[BEN].office) == (leeds, YORK)


def test_whoever_was_appointed_before_any_office_was_known_sets_out_from_the_first_one() -> None:
    state = after(registered(organisation=HOME.model_copy(update={"latitude": None})))
    state = after(appoint(state, ANNE, "anne"), state)
    assert state.representatives[ANNE].office is None
    assert after(move(state), state).representatives[ANNE].office == YORK


def test_strangers_move_no_office_and_nobody_one_of_a_person_unknown() -> None:
    state = after(registered())
    assert code(move(None)) == "network-unknown"
    assert code(move(state, by="stranger")) == "not-of-this-network"
    assert code(move(state, person=ANNE)) == "not-a-representative"


def test_an_office_lies_in_its_nation() -> None:
    with pytest.raises(ValidationError, match="lies in England, not in Wales"):
        Office(**LEEDS | {"nation": "Wales"})


def test_a_network_has_a_home_organisation_or_a_parent_network() -> None:
    homeless = REGISTER.model_copy(update={"organisation": None})
    assert code(registered(homeless, organisation=None)) == "network-without-home"
    assert code(registered(organisation=None)) == "organisation-unknown"


@pytest.mark.parametrize(
    ("reach", "parent_reach", "allowed"),
    [
        ("local", "regional", True),
        ("local", "national", True),
        ("regional", "national", True),
        ("local", "local", False),
        ("regional", "local", False),
        ("national", "national", False),
    ],
)
def test_a_network_stands_only_under_one_that_reaches_further(reach: Reach, parent_reach: Reach, allowed: bool) -> None:
    command = RegisterNetwork(name="Network", reach=reach, parent=PARENT)
    parent = after(registered()).model_copy(update={"id": PARENT, "reach": parent_reach})
    decision = registered(command, organisation=None, parent=parent)
    assert allowed if not isinstance(decision, Refusal) else decision.code == "parent-reaches-no-further"
    assert isinstance(decision, Refusal) is not allowed


def test_a_parent_network_has_to_exist() -> None:
    command = RegisterNetwork(name="Network", reach="local", parent=PARENT)
    assert code(registered(command, organisation=None)) == "network-unknown"


def test_an_umbrella_alone_has_a_steering_group() -> None:
    assert after(registered()).steering_group is None
    umbrella = RegisterNetwork.model_validate(REGISTER.model_dump() | {"umbrella": {}})
    [event] = registered(umbrella)
    assert isinstance(event, NetworkRegistered)
    assert (event.steering_group, event.umbrella) == (GROUP, UmbrellaRules())


def test_a_share_of_more_than_the_whole_is_refused() -> None:
    with pytest.raises(ValidationError, match="3/2 is more than 1/1"):
        UmbrellaRules(quorum="3/2")


def test_the_steward_appoints_the_first_representative_and_representatives_the_next() -> None:
    with_anne = after(appoint(after(registered()), ANNE, "anne"), after(registered()))
    with_ben = after(appoint(with_anne, BEN, "ben", by="anne"), with_anne)
    assert set(with_ben.representatives) == {ANNE, BEN}


def test_a_stranger_appoints_nobody() -> None:
    assert code(appoint(after(registered()), ANNE, "anne", by="stranger")) == "not-of-this-network"


def test_a_person_speaks_for_a_network_once_and_with_credentials_of_their_own() -> None:
    with_anne = after(appoint(after(registered()), ANNE, "anne"), after(registered()))
    assert code(appoint(with_anne, ANNE, "anne-2")) == "represents-already"
    assert code(appoint(with_anne, BEN, "anne")) == "credentials-taken"


def test_a_representative_sets_out_from_the_office_of_the_network_unless_another_is_named() -> None:
    state = after(registered())
    york = Office(**LEEDS | {"place": "York"})
    assert appoint(state, ANNE, "anne")[0].office == state.office
    assert appoint(state, ANNE, "anne", office=york)[0].office == york


def test_a_representative_is_stood_down_by_themselves_or_the_steward_and_by_nobody_else() -> None:
    state = after(appoint(after(registered()), ANNE, "anne"), after(registered()))
    assert after(stand_down(state, ANNE, "anne"), state).representatives == {}
    assert after(stand_down(state, ANNE, "sam"), state).representatives == {}
    assert code(stand_down(state, ANNE, "ben")) == "not-theirs-to-stand-down"
    assert code(stand_down(state, BEN, "sam")) == "not-a-representative"


def test_nothing_is_done_with_a_network_that_nobody_registered() -> None:
    command = AppointRepresentative(network=NETWORK, person=ANNE, principal="anne")
    assert code(network.appoint_representative(None, command, "sam")) == "network-unknown"


def test_a_steward_hands_over_and_nobody_else_does_it_for_them() -> None:
    state = after(registered())
    command = HandOverStewardship(network=NETWORK, principal="ben")
    handed = after(network.hand_over(state, command, "sam"), state)
    assert handed.steward == "ben"
    assert code(network.hand_over(handed, command, "sam")) == "not-the-steward"
    assert code(network.hand_over(handed, command, "ben")) == "steward-already"
    assert code(network.hand_over(None, command, "sam")) == "network-unknown"


def test_an_operator_appoints_a_steward_where_the_old_one_is_gone() -> None:
    state = after(registered())
    assert (
        after(network.hand_over(state, AppointSteward(network=NETWORK, principal="ben"), "operator"), state).steward
        == "ben"
    )
    assert AppointSteward.roles == ("operator",)


def confirm(state: Network | None, home: Organisation | None = HOME) -> list[Event] | Refusal:
    return network.confirm_home(state, ConfirmNetworkHome(network=NETWORK), home)


def test_an_operator_confirms_once_that_a_network_speaks_for_its_home() -> None:
    state = after(registered())
    assert not state.home_confirmed
    confirmed = after(confirm(state), state)
    assert confirmed.home_confirmed
    assert code(confirm(confirmed)) == "home-confirmed-already"
    assert code(confirm(None)) == "network-unknown"
    assert ConfirmNetworkHome.roles == ("operator",)


def test_no_home_and_a_closed_home_are_not_confirmed() -> None:
    state = after(registered())
    closed = HOME.model_copy(update={"closed_at": datetime(2026, 9, 1, tzinfo=UTC)})
    assert code(confirm(state, closed)) == "organisation-closed"
    homeless = state.model_copy(update={"organisation": None, "parent": PARENT})
    assert code(confirm(homeless, None)) == "no-home-organisation"


def test_another_home_is_not_confirmed_by_what_was_said_of_the_former_one() -> None:
    state = after(registered())
    confirmed = after(confirm(state), state)
    carried = NetworkCarriedOver(network=NETWORK, organisation=an_id(10), predecessor=HOME.id)
    assert not network.evolve(confirmed, carried).home_confirmed
