"""People who leave their employer: who may say so, and what of theirs ends."""

from datetime import UTC, datetime
from typing import Any

from services.membership.domain import leaver, network
from services.membership.domain.leaver import PublisherLink
from services.membership.domain.network import Network, Representative
from services.membership.domain.organisation import Organisation
from shared.contracts.membership import AppointSteward, GiveUpStewardship, LinkPublisher, UnlinkPublisher
from shared.contracts.message import Event
from shared.refusal import Refusal


def an_id(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012x}"


NETWORK, LINK, ANNE, BEN, DORA = (an_id(number) for number in range(5))
COUNCIL = Organisation(id=an_id(9), key="leeds-city-council", name="Leeds City Council", type="council")
LEEDS = Network(
    id=NETWORK,
    name="Leeds staff network",
    reach="local",
    organisation=COUNCIL.id,
    parent=None,
    office=None,
    umbrella=None,
    steering_group=None,
    steward="anne",
    representatives={
        ANNE: Representative(principal="anne", office=None, deputy=DORA, deputy_principal="dora"),
        BEN: Representative(principal="ben", office=None),
    },
)


def names_of(events: list[Event]) -> list[str]:
    return [event.wire.name for event in events]


def after(events: list[Event], state: Network = LEEDS) -> Network:
    for event in events:
        state = network.evolve(state, event)
    return state


def leave(person: str, state: Network = LEEDS, acts_as: Any = ()) -> list[Event]:
    return leaver.leave(state, person, acts_as)


def link(existing: PublisherLink | None = None, organisation: Organisation | None = COUNCIL) -> list[Event] | Refusal:
    command = LinkPublisher(publisher="leeds-hr", organisation=COUNCIL.id)
    return leaver.link(command, organisation, existing, LINK)


def linked(decision: list[Event] | Refusal, state: PublisherLink | None = None) -> PublisherLink:
    assert not isinstance(decision, Refusal)
    for event in decision:
        state = leaver.evolve(state, event)
    assert state is not None
    return state


def code(decision: list[Event] | Refusal) -> str:
    assert isinstance(decision, Refusal)
    return decision.code


def test_everything_a_person_holds_in_a_network_ends_and_nothing_of_anybody_else() -> None:
    events = leave(ANNE)
    assert names_of(events) == ["deputy-withdrawn", "representative-stood-down", "stewardship-ended"]
    left = after(events)
    assert left.representatives == {BEN: LEEDS.representatives[BEN]}
    assert not network.acts_for(left, "anne")
    assert network.acts_for(left, "ben")


def test_a_deputy_who_leaves_leaves_their_representative_in_place() -> None:
    events = leave(DORA)
    assert names_of(events) == ["deputy-withdrawn"]
    assert set(after(events).representatives) == {ANNE, BEN}


def test_a_second_word_and_a_word_of_somebody_unknown_change_nothing() -> None:
    assert leave(ANNE, after(leave(ANNE))) == []
    assert leave(an_id(77)) == []


def test_a_steward_is_known_by_their_person_where_it_was_given_and_by_that_alone() -> None:
    named = LEEDS.model_copy(update={"steward_person": BEN})
    assert names_of(leave(BEN, named)) == ["representative-stood-down", "stewardship-ended"]
    assert "stewardship-ended" not in names_of(leave(ANNE, named))
    only_steward = LEEDS.model_copy(update={"steward": "sam", "steward_person": an_id(50)})
    assert names_of(leave(an_id(50), only_steward)) == ["stewardship-ended"]


def test_a_steward_is_known_by_the_principal_of_their_seat_too() -> None:
    umbrella = LEEDS.model_copy(update={"steward": "lena", "representatives": {}})
    assert leave(an_id(60), umbrella) == []
    assert names_of(leave(an_id(60), umbrella, {"lena"})) == ["stewardship-ended"]


def give_up(state: Network, by: str) -> list[Event] | Refusal:
    return network.give_up(state, GiveUpStewardship(network=NETWORK), by)


def test_the_events_of_leaving_are_those_of_standing_down() -> None:
    given_up = give_up(LEEDS, "anne")
    assert not isinstance(given_up, Refusal)
    assert leave(ANNE) == [*network.end_representative(LEEDS, ANNE), *given_up]


def test_a_steward_gives_up_and_an_operator_may_appoint_the_same_one_again() -> None:
    assert code(give_up(LEEDS, "ben")) == "not-the-steward"
    given_up = give_up(LEEDS, "anne")
    assert not isinstance(given_up, Refusal)
    alone = after(given_up)
    assert code(give_up(alone, "anne")) == "not-the-steward"
    again = network.hand_over(alone, AppointSteward(network=NETWORK, principal="anne", person=ANNE), "operator")
    assert not isinstance(again, Refusal)
    state = after(again, alone)
    assert (network.is_steward(state, "anne"), state.steward_person) == (True, ANNE)


def test_a_publisher_is_linked_with_one_organisation_and_may_be_with_another_once_it_is_unlinked() -> None:
    state = linked(link())
    assert state == PublisherLink(id=LINK, publisher="leeds-hr", organisation=COUNCIL.id)
    assert code(link(state)) == "publisher-linked"
    unlinked = linked(leaver.unlink(UnlinkPublisher(publisher="leeds-hr"), state), state)
    assert unlinked.organisation is None
    assert linked(link(unlinked), unlinked) == state
    for nothing in (None, unlinked):
        assert code(leaver.unlink(UnlinkPublisher(publisher="leeds-hr"), nothing)) == "publisher-not-linked"


def test_no_publisher_is_linked_with_an_organisation_that_is_not_there_or_no_more() -> None:
    assert code(link(organisation=None)) == "organisation-unknown"
    closed = COUNCIL.model_copy(update={"closed_at": datetime(2026, 4, 1, tzinfo=UTC)})
    assert code(link(organisation=closed)) == "organisation-closed"


def test_nobody_loses_a_stewardship_for_being_named_a_deputy_with_the_stewards_credentials() -> None:
    named = LEEDS.representatives[BEN].model_copy(update={"deputy": DORA, "deputy_principal": "anne"})
    trapped = LEEDS.model_copy(update={"representatives": {BEN: named}})
    assert names_of(leave(DORA, trapped)) == ["deputy-withdrawn"]
