"""Organisations are renamed, closed, merged and split; networks find a new home once, and nothing is forgotten."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.membership.domain import network as networks_
from services.membership.domain import organisation, organisation_change, organisation_register
from services.membership.domain.network import Network, Representative
from services.membership.domain.organisation import Organisation
from services.membership.domain.organisation_change import Succession
from services.membership.domain.organisation_register import Intake
from shared.contracts.membership import (
    ImportOrganisations,
    NetworkCarriedOver,
    OrganisationClosed,
    OrganisationRow,
    RegisterNetwork,
    RenameOrganisation,
)
from shared.contracts.message import Event
from shared.refusal import Refusal

AT = datetime(2026, 7, 1, tzinfo=UTC)


def an_id(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012x}"


def body(number: int, name: str) -> Organisation:
    return Organisation(id=an_id(number), key=f"body-{number}", name=name, type="nhs-body")


def a_network(number: int, home: Organisation) -> Network:
    return Network(
        id=an_id(100 + number),
        name=f"Network {number}",
        reach="local",
        organisation=home.id,
        parent=None,
        office=None,
        umbrella=None,
        steering_group=None,
        steward="sam",
        representatives={an_id(200 + number): Representative(principal="anne", office=None)},
    )


ALL = WESTON, NORTH, BRISTOL, BATH = body(1, "UHBW"), body(2, "North Bristol"), body(3, "Bristol"), body(4, "Bath")


def asked(
    leaving: Sequence[Organisation],
    successors: Sequence[Organisation],
    homes: dict[str, str] | None = None,
    *,
    goes_on: bool = False,
) -> Succession:
    leaving_ids, successor_ids = [one.id for one in leaving], [one.id for one in successors]
    return Succession(leaving_ids, successor_ids, homes or {}, "organisations", "into", goes_on)


def succeed(
    request: Succession,
    networks: Sequence[Network] = (),
    known: Sequence[Organisation] = ALL,
) -> list[Event] | Refusal:
    return organisation_change.succeed(request, {one.id: one for one in known}, {one.id: one for one in networks}, AT)


def after(decision: list[Event] | Refusal, known: Sequence[Organisation] = ALL) -> dict[str, Organisation]:
    assert not isinstance(decision, Refusal), decision
    states = {one.id: one for one in known}
    for event in decision:
        if not isinstance(event, NetworkCarriedOver):
            states[event.aggregate] = organisation.evolve(states[event.aggregate], event)
    return states


def code(decision: object) -> str:
    assert isinstance(decision, Refusal), decision
    return decision.code


# ---- renamed -------------------------------------------------------------------------------------------------------


def rename(before: Organisation, name: str) -> Organisation:
    decision = organisation_change.rename(before, RenameOrganisation(organisation=before.id, name=name))
    assert not isinstance(decision, Refusal), decision
    return organisation.evolve(before, decision[0])


def listed(before: Organisation, name: str) -> Organisation:
    """What is known once the register of the organisation says a name."""
    row = OrganisationRow(key=before.key, name=name, format="nhs-body")
    command = ImportOrganisations(register_name="NHS trusts", rows=(row,))
    intake = organisation_register.take_in(command, [before], [an_id(99)])
    assert isinstance(intake, Intake), intake
    return organisation.evolve(before, intake.events[0]) if intake.events else before


def test_a_renamed_organisation_keeps_every_name_it_had() -> None:
    there = rename(rename(WESTON, "Avon"), "Severn")
    assert (there.name, there.former_names) == ("Severn", ("UHBW", "Avon"))
    back = rename(there, "Avon")
    assert (back.name, back.former_names) == ("Avon", ("UHBW", "Severn"))


def test_a_renaming_that_renames_nothing_is_refused() -> None:
    command = RenameOrganisation(organisation=WESTON.id, name=WESTON.name)
    assert code(organisation_change.rename(WESTON, command)) == "called-so-already"
    assert code(organisation_change.rename(None, command)) == "organisation-unknown"


def test_a_register_that_lags_behind_does_not_undo_a_renaming() -> None:
    of_register = WESTON.model_copy(update={"register_name": "NHS trusts", "format": "nhs-body"})
    renamed = rename(of_register, "Bristol Trust")
    assert listed(renamed, "UHBW") == renamed
    followed = listed(renamed, "Bristol Trust")
    assert (followed.name, followed.listed_name, followed.former_names) == ("Bristol Trust", None, ("UHBW",))
    other = listed(renamed, "Bristol University Trust")
    assert (other.name, other.former_names) == ("Bristol University Trust", ("UHBW", "Bristol Trust"))
    assert listed(followed, "UHBW").name == "UHBW", "a register may well change its mind"


# ---- closed, merged, split -----------------------------------------------------------------------------------------


def test_a_merger_closes_what_was_and_carries_every_network_over() -> None:
    networks = [a_network(1, WESTON), a_network(2, NORTH), a_network(3, WESTON)]
    decision = succeed(asked([WESTON, NORTH], [BRISTOL]), networks)
    states = after(decision)
    assert [states[one.id].closed_at for one in (WESTON, NORTH, BRISTOL)] == [AT, AT, None]
    assert states[BRISTOL.id].predecessors == (WESTON.id, NORTH.id)
    assert states[WESTON.id].successors == states[NORTH.id].successors == (BRISTOL.id,)
    assert isinstance(decision, list)
    carried = [event for event in decision if isinstance(event, NetworkCarriedOver)]
    assert [(event.network, event.organisation, event.predecessor) for event in carried] == [
        (network.id, BRISTOL.id, network.organisation) for network in networks
    ]
    [moved] = [networks_.evolve(networks[0], event) for event in carried[:1]]
    assert moved == networks[0].model_copy(update={"organisation": BRISTOL.id}), "nothing else of a network changes"


def test_what_was_carried_over_once_is_not_carried_over_again() -> None:
    states = after(succeed(asked([WESTON], [BRISTOL])))
    again = succeed(asked([WESTON], [BATH]), known=list(states.values()))
    assert code(again) == "closed-already"
    assert isinstance(again, Refusal)
    assert again.data == {"successors": [BRISTOL.id]}


def test_a_closing_without_successors_leaves_networks_alone_until_a_successor_is_named() -> None:
    networks = [a_network(1, WESTON)]
    decision = succeed(asked([WESTON], []), networks)
    assert decision == [OrganisationClosed(organisation=WESTON.id, successors=(), closed_at=AT)]
    states = after(decision)
    assert code(succeed(asked([WESTON], []), known=list(states.values()))) == "closed-already"
    later = succeed(asked([WESTON], [BRISTOL]), networks, list(states.values()))
    assert isinstance(later, list)
    assert [type(event) for event in later][-1] is NetworkCarriedOver


def test_of_several_successors_each_network_is_told_its_own() -> None:
    first, second = networks = [a_network(1, WESTON), a_network(2, WESTON)]
    split = asked([WESTON], [BRISTOL, BATH], {first.id: BRISTOL.id})
    refusal = succeed(split, networks)
    assert code(refusal) == "network-without-successor"
    assert isinstance(refusal, Refusal)
    assert refusal.data == {"networks": [second.id]}
    decision = succeed(asked([WESTON], [BRISTOL, BATH], {first.id: BRISTOL.id, second.id: BATH.id}), networks)
    assert isinstance(decision, list)
    homes = {event.network: event.organisation for event in decision if isinstance(event, NetworkCarriedOver)}
    assert homes == {first.id: BRISTOL.id, second.id: BATH.id}


def test_an_organisation_that_goes_on_beside_its_part_keeps_the_networks_that_are_not_named() -> None:
    first, second = networks = [a_network(1, WESTON), a_network(2, WESTON)]
    decision = succeed(asked([WESTON], [BATH], {second.id: BATH.id}, goes_on=True), networks)
    states = after(decision)
    assert (states[WESTON.id].closed_at, states[WESTON.id].successors) == (None, (BATH.id,))
    assert states[BATH.id].predecessors == (WESTON.id,)
    assert isinstance(decision, list)
    assert [event.aggregate for event in decision if isinstance(event, NetworkCarriedOver)] == [second.id]
    assert first.organisation == WESTON.id


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (asked([body(9, "Nobody")], [BRISTOL]), "organisation-unknown"),
        (asked([WESTON], [body(9, "Nobody")]), "organisation-unknown"),
        (asked([WESTON], [WESTON]), "own-successor"),
        (asked([WESTON], [BRISTOL], {an_id(999): BRISTOL.id}), "not-its-network"),
        (asked([WESTON], [BRISTOL], {an_id(101): BATH.id}), "not-a-successor"),
    ],
)
def test_what_cannot_be_carried_out_says_why(request_: Succession, expected: str) -> None:
    assert code(succeed(request_, [a_network(1, WESTON)])) == expected


def test_a_closed_organisation_takes_over_nothing_is_not_renamed_and_has_no_new_network() -> None:
    states = after(succeed(asked([WESTON], [BRISTOL])))
    closed = states[WESTON.id]
    assert code(succeed(asked([NORTH], [closed]), known=list(states.values()))) == "successor-closed"
    command = RenameOrganisation(organisation=closed.id, name="Another")
    assert code(organisation_change.rename(closed, command)) == "organisation-closed"
    registering = RegisterNetwork(name="New", reach="local", organisation=closed.id)
    new = networks_.register(
        registering, "sam", network_id=an_id(5), group_id=an_id(6), organisation=closed, parent=None, beside={}
    )
    assert code(new) == "organisation-closed"


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_whatever_is_merged_no_organisation_comes_after_itself_and_every_network_has_one_open_home(
    mergers: list[tuple[int, int]],
) -> None:
    states = {one.id: one for one in (body(number, f"Body {number}") for number in range(6))}
    homes = {one.id: one for one in (a_network(number, states[an_id(number)]) for number in range(6))}
    for leaving, into in mergers:
        at_home = {id_: one for id_, one in homes.items() if one.organisation == an_id(leaving)}
        request = Succession([an_id(leaving)], [an_id(into)], {}, "organisations", "into")
        decision = organisation_change.succeed(request, states, at_home, AT)
        for event in decision if isinstance(decision, list) else []:
            if isinstance(event, NetworkCarriedOver):
                homes[event.network] = networks_.evolve(homes[event.network], event)
            else:
                states[event.aggregate] = organisation.evolve(states[event.aggregate], event)
    for network in homes.values():
        assert states[network.organisation or ""].closed_at is None
    for one in states.values():
        reached, next_ = set[str](), set(one.successors)
        while next_:
            reached |= next_
            next_ = {id_ for each in next_ for id_ in states[each].successors} - reached
        assert one.id not in reached
