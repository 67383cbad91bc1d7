"""People of networks on a store: deputies, seats that end with networks, and people who leave their employer."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from services.membership import tables
from services.membership.handlers import on
from shared import clock
from shared.contracts import cloudevent
from shared.contracts.membership import (
    ApplyForMembership,
    AppointRepresentative,
    AppointSteeringMember,
    AppointSteward,
    ConfirmNetworkHome,
    LinkPublisher,
    ListNetworks,
    ListPublisherLinks,
    NameDeputy,
    NetworkView,
    OpenWorkStream,
    PersonLeft,
    Position,
    RaiseConcern,
    RegisterNetwork,
    ShowNetwork,
    ShowVoice,
    StandDownRepresentative,
    TakePosition,
    UnlinkPublisher,
    WithdrawDeputy,
    WithdrawMemberNetwork,
)
from shared.contracts.message import Command, subject_of
from shared.contracts.platform import InboundRefused
from shared.database import reading, writing
from shared.outbox import OUTBOX
from shared.surface import Received
from tests.conftest import StoreOf
from tests.stores.test_membership import Service, new_id

HR = "leeds-hr"


@pytest.fixture
def service(store_of: StoreOf) -> Service:
    return Service(store_of("membership"))


def shown(service: Service, network: str) -> NetworkView:
    view: NetworkView = service.ask(ShowNetwork(network=network))
    return view


def person_of(service: Service, network: str) -> str:
    [representative] = shown(service, network).representatives
    return representative.person


def seats(service: Service, umbrella: str) -> list[tuple[str | None, Any]]:
    group = shown(service, umbrella).steering_group
    assert group is not None
    return [(seat.person, seat.vacant_because) for seat in group.seats]


def seat_lead(service: Service, umbrella: str, person: str, principal: str) -> str:
    command = AppointSteeringMember(network=umbrella, person=person, principal=principal, role="lead", fte=0.5)
    return service.do(command)


def say(service: Service, person: str, publisher: str = HR, id_: str | None = None) -> None:
    """A publisher says that somebody left."""
    attributes: dict[str, Any] = {"correlationid": "dismissed-in-march"}
    payload = cloudevent.write(
        PersonLeft(person=person), id=id_ or new_id(), source=f"/{publisher}", time=clock.now(), **attributes
    )
    headers = {"content-type": cloudevent.STRUCTURED}
    service.run(on.read(Received(subject_of(PersonLeft, publisher), headers, payload)))


def refused(service: Service) -> list[dict[str, Any]]:
    return [told["data"] for told in service.told() if told["type"] == InboundRefused.wire.type]


# ---- deputies ------------------------------------------------------------------------------------------------------


def test_a_deputy_is_shown_speaks_and_goes_with_the_representative(service: Service) -> None:
    umbrella = service.umbrella()
    leeds = service.members(umbrella, "leeds", "york")["leeds"]
    dora = new_id()
    service.do(NameDeputy(network=leeds, person=dora, principal="dora"), "leeds")
    [representative] = shown(service, leeds).representatives
    assert (representative.deputy, representative.deputy_principal) == (dora, "dora")

    proposal = service.proposal(umbrella)
    service.do(TakePosition(proposal=proposal, network=leeds, position="consent"), "dora")
    service.do(RaiseConcern(umbrella=umbrella, title="Noise", text="It is loud.", suggestion="Doors."), "dora")
    assert service.refused(WithdrawMemberNetwork(umbrella=umbrella, network=leeds), "dora") == "not-of-this-network"

    service.do(AppointRepresentative(network=leeds, person=new_id(), principal="ben"), "leeds")
    done = service.send(StandDownRepresentative(network=leeds, person=representative.person), "leeds")["done"]
    assert done["events"] == ["deputy-withdrawn", "representative-stood-down"]
    late = TakePosition(proposal=proposal, network=leeds, position="block", reason="So.")
    assert service.refused(late, "dora") == "not-a-representative"
    raised = RaiseConcern(umbrella=umbrella, title="Noise", text="Still.", suggestion="Doors.")
    assert service.refused(raised, "dora") == "not-a-member"


def test_a_deputy_does_not_keep_a_network_in_its_umbrella(service: Service) -> None:
    umbrella = service.umbrella()
    leeds = service.members(umbrella, "leeds")["leeds"]
    service.do(NameDeputy(network=leeds, person=new_id(), principal="dora"), "leeds")
    done = service.send(StandDownRepresentative(network=leeds, person=person_of(service, leeds)), "leeds")["done"]
    assert done["events"] == ["deputy-withdrawn", "representative-stood-down", "member-network-lapsed"]
    assert shown(service, umbrella).members == ()


def test_a_representative_and_a_deputy_who_answer_at_once_are_one_voice_and_all_they_said_is_kept(
    service: Service,
) -> None:
    umbrella = service.umbrella()
    leeds = service.members(umbrella, "leeds", "york")["leeds"]
    service.do(NameDeputy(network=leeds, person=new_id(), principal="dora"), "leeds")
    proposal = service.proposal(umbrella)
    positions: tuple[Position, ...] = ("consent", "reservations", "stand-aside", "block")

    def take(turn: int) -> None:
        by = ("leeds", "dora")[turn % 2]
        reason = f"The reason of {by}, the {turn}th."
        command = TakePosition(proposal=proposal, network=leeds, position=positions[turn % 4], reason=reason)
        service.do(command, by)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(take, range(8)))
    said = service.ask(ShowVoice(proposal=proposal, network=leeds)).stances
    taken = [event["data"]["stance"]["reason"] for event in service.told(proposal) if "stance" in event["data"]]
    assert sorted(stance.reason for stance in said) == sorted(taken)
    assert len(set(taken)) == 8
    with reading(service.engine) as connection:
        [voice] = connection.execute(select(tables.voices).where(tables.voices.c.key == leeds)).all()
    assert voice.stance["reason"] == taken[-1]


def test_the_table_gives_a_person_one_part_as_deputy_even_if_the_rule_did_not(service: Service) -> None:
    leeds = service.network("leeds", service.organisation("leeds-city-council", "council"))
    service.do(AppointRepresentative(network=leeds, person=new_id(), principal="ben"), "leeds")
    for values in ({"deputy": new_id(), "deputy_principal": "dora"}, {"deputy": new_id()}):
        with pytest.raises(IntegrityError), writing(service.engine) as connection:
            connection.execute(update(tables.representatives).values(**values))


# ---- seats and networks --------------------------------------------------------------------------------------------


def test_a_seat_falls_vacant_when_the_network_it_is_held_for_withdraws(service: Service) -> None:
    umbrella = service.umbrella()
    networks = service.members(umbrella, "leeds", "york")
    leeds, york = (person_of(service, network) for network in networks.values())
    seat_lead(service, umbrella, leeds, "leeds")
    group = seat_lead(service, umbrella, york, "york")
    assert [seat.networks for seat in shown(service, umbrella).steering_group.seats] == [  # type: ignore[union-attr]
        (networks["leeds"],),
        (networks["york"],),
    ]
    done = service.send(WithdrawMemberNetwork(umbrella=umbrella, network=networks["leeds"]), "leeds")["done"]
    assert done["events"] == ["member-network-withdrawn", "steering-member-stood-down"]
    assert seats(service, umbrella) == [(york, None)]
    last = service.told(group)[-1]["data"]
    assert (last["person"], last["because"], last["left_with"]) == (leeds, "stood-down", networks["leeds"])
    service.do(WithdrawMemberNetwork(umbrella=umbrella, network=networks["york"]), "york")
    assert seats(service, umbrella) == [(None, "network-left")]


def test_a_seat_falls_vacant_when_its_network_lapses_and_also_if_its_holder_stood_down_as_representative_before(
    service: Service,
) -> None:
    umbrella = service.umbrella()
    leeds = service.members(umbrella, "leeds", "york")["leeds"]
    anne, ben = person_of(service, leeds), new_id()
    stream = service.do(OpenWorkStream(network=umbrella, name="Stress"))
    taken = {"network": umbrella, "role": "work-stream-lead", "work_stream": stream, "fte": 0.5}
    service.do(AppointSteeringMember(person=anne, principal="leeds", **taken))
    service.do(AppointRepresentative(network=leeds, person=ben, principal="ben"), "leeds")
    service.do(StandDownRepresentative(network=leeds, person=anne), "leeds")
    assert seats(service, umbrella) == [(None, None), (anne, None)]
    done = service.send(StandDownRepresentative(network=leeds, person=ben), "ben")["done"]
    assert done["events"] == ["representative-stood-down", "member-network-lapsed", "steering-member-stood-down"]
    assert seats(service, umbrella) == [(None, None), (None, "network-left")]


def test_nobody_is_seated_for_a_network_that_lapses_at_the_same_moment(service: Service) -> None:
    umbrella = service.umbrella()
    networks = service.members(umbrella, *(f"town-{number}" for number in range(8)))
    at_once: list[tuple[Command, str]] = []
    for name, network in networks.items():
        person = person_of(service, network)
        taken = {"person": person, "principal": name, "role": "work-stream-lead", "fte": 0.5}
        stream = service.do(OpenWorkStream(network=umbrella, name=name))
        at_once += [
            (AppointSteeringMember(network=umbrella, work_stream=stream, **taken), "sam"),
            (StandDownRepresentative(network=network, person=person), name),
        ]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: service.do(*one), at_once))
    view = shown(service, umbrella)
    assert (view.members, view.steering_group is None) == ((), False)
    # Whoever was seated first went with the network; whoever was seated afterwards spoke for none any more.
    assert [seat.networks for seat in view.steering_group.seats if seat.person] == [  # type: ignore[union-attr]
        ()
        for seat in view.steering_group.seats
        if seat.person  # type: ignore[union-attr]
    ]


def test_a_seat_of_the_secretariat_outlasts_every_network(service: Service) -> None:
    umbrella, lena = service.umbrella(), new_id()
    leeds = service.members(umbrella, "leeds")["leeds"]
    seat_lead(service, umbrella, lena, "lena")
    service.do(WithdrawMemberNetwork(umbrella=umbrella, network=leeds), "leeds")
    assert seats(service, umbrella) == [(lena, None)]


def test_nobody_who_is_called_a_representative_with_other_credentials_is_tied_to_that_network(service: Service) -> None:
    """Or else a network could take somebody's seat with it whom it names without being able to speak with them."""
    umbrella, lena = service.umbrella(open=True), new_id()
    home = service.organisation("leeds-city-council", "council")
    trap = service.do(RegisterNetwork(name="Trap", reach="local", organisation=home), "mallory")
    service.do(AppointRepresentative(network=trap, person=lena, principal="mallory"), "mallory")
    service.do(ConfirmNetworkHome(network=trap), "operator")
    service.do(ApplyForMembership(umbrella=umbrella, network=trap), "mallory")
    seat_lead(service, umbrella, lena, "lena")
    service.do(WithdrawMemberNetwork(umbrella=umbrella, network=trap), "mallory")
    assert seats(service, umbrella) == [(lena, None)]


# ---- people who leave ----------------------------------------------------------------------------------------------


class Council:
    """Leeds council, whose network is a member of an umbrella that its steward and representative, Anne, leads.

    She represents the network of York as well, which is at home elsewhere.
    """

    def __init__(self, service: Service) -> None:
        self.umbrella = service.umbrella(open=True)
        self.home = service.organisation("leeds-city-council", "council")
        self.leeds = service.do(RegisterNetwork(name="Leeds", reach="local", organisation=self.home), "anne")
        self.york = service.network("york", service.organisation("york-council", "council"))
        self.anne, self.dora = new_id(), new_id()
        for network, by in ((self.leeds, "anne"), (self.york, "york")):
            service.do(AppointRepresentative(network=network, person=self.anne, principal="anne"), by)
            service.do(ConfirmNetworkHome(network=network), "operator")
        service.do(NameDeputy(network=self.leeds, person=self.dora, principal="dora"), "anne")
        service.do(ApplyForMembership(umbrella=self.umbrella, network=self.leeds), "anne")
        self.group = seat_lead(service, self.umbrella, self.anne, "anne")
        service.do(LinkPublisher(publisher=HR, organisation=self.home), "operator")


@pytest.fixture
def council(service: Service) -> Council:
    return Council(service)


def test_whoever_leaves_their_employer_holds_nothing_in_its_networks_any_more(
    service: Service, council: Council
) -> None:
    before = len(service.told())
    say(service, council.anne)
    leeds = shown(service, council.leeds)
    assert (leeds.representatives, leeds.member_of, leeds.without_steward) == ((), (), True)
    assert seats(service, council.umbrella) == [(None, "network-left")]
    assert [event["type"].split(".")[2] for event in service.told()[before:]] == [
        "deputy-withdrawn",
        "representative-stood-down",
        "stewardship-ended",
        "member-network-lapsed",
        "steering-member-stood-down",
    ]
    appointed = AppointRepresentative(network=council.leeds, person=new_id(), principal="ben")
    assert service.refused(appointed, "anne") == "not-of-this-network"


def test_what_they_hold_beyond_the_networks_of_that_employer_stays_theirs(service: Service, council: Council) -> None:
    say(service, council.anne)
    assert council.anne in {one.person for one in shown(service, council.york).representatives}


def test_a_seat_stays_with_whoever_still_speaks_for_another_member_network(service: Service, council: Council) -> None:
    ben = new_id()
    for network, by in ((council.leeds, "anne"), (council.york, "york")):
        service.do(AppointRepresentative(network=network, person=ben, principal="ben"), by)
    service.do(ApplyForMembership(umbrella=council.umbrella, network=council.york), "york")
    seat_lead(service, council.umbrella, ben, "ben")
    say(service, ben)
    assert (ben, None) in seats(service, council.umbrella)
    assert ben not in {one.person for one in shown(service, council.leeds).representatives}
    say(service, council.anne)
    assert seats(service, council.umbrella) == [(ben, None)]


def test_a_deputy_leaves_and_nothing_else_changes(service: Service, council: Council) -> None:
    say(service, council.dora)
    [anne] = shown(service, council.leeds).representatives
    assert (anne.person, anne.deputy) == (council.anne, None)
    assert seats(service, council.umbrella) == [(council.anne, None)]


def test_somebody_who_only_sits_in_a_steering_group_leaves_it_with_the_employer_of_its_umbrella(
    service: Service, council: Council
) -> None:
    lena, home = new_id(), shown(service, council.umbrella).organisation
    assert home is not None
    seat_lead(service, council.umbrella, lena, "lena")
    say(service, lena)
    assert (lena, None) in seats(service, council.umbrella)
    service.do(LinkPublisher(publisher="cabinet-hr", organisation=home), "operator")
    say(service, lena, "cabinet-hr")
    assert seats(service, council.umbrella) == [(council.anne, None)]


def test_operators_see_which_networks_have_no_steward_and_appoint_one(service: Service, council: Council) -> None:
    assert service.ask(ListNetworks(without_steward=True)).total == 0
    say(service, council.anne)
    [alone] = service.ask(ListNetworks(without_steward=True)).networks
    assert (alone.id, alone.without_steward) == (council.leeds, True)
    service.do(AppointSteward(network=council.leeds, principal="ben", person=new_id()), "operator")
    assert service.ask(ListNetworks(without_steward=True)).total == 0
    assert (shown(service, council.leeds).steward, shown(service, council.leeds).without_steward) == ("ben", False)
    service.do(AppointRepresentative(network=council.leeds, person=council.anne, principal="anne"), "ben")


def test_the_same_word_again_and_again_and_redelivered_changes_nothing_more(service: Service, council: Council) -> None:
    id_ = new_id()
    say(service, council.anne, id_=id_)
    told = service.told()
    ben = AppointSteward(network=council.leeds, principal="ben")
    service.do(ben, "operator")
    back = AppointRepresentative(network=council.leeds, person=council.anne, principal="anne")
    service.do(back, "ben")
    say(service, council.anne, id_=id_)
    assert [one.person for one in shown(service, council.leeds).representatives] == [council.anne]
    say(service, council.dora)
    say(service, council.dora)
    assert len(service.told()) == len(told) + 2


def test_a_publisher_that_no_operator_linked_is_refused_in_the_same_words_whoever_it_names(
    service: Service, council: Council
) -> None:
    say(service, council.anne, "stranger")
    say(service, new_id(), "stranger")
    first, second = (notice["refusal"] for notice in refused(service))
    assert first == second
    assert first["code"] == "publisher-not-linked"
    assert [one.person for one in shown(service, council.leeds).representatives] == [council.anne]
    service.do(UnlinkPublisher(publisher=HR), "operator")
    say(service, council.anne)
    assert len(refused(service)) == 3
    assert [one.person for one in shown(service, council.leeds).representatives] == [council.anne]


def test_a_linked_publisher_learns_nothing_about_whom_the_networks_know(service: Service, council: Council) -> None:
    before = len(service.told())
    say(service, new_id())
    assert len(service.told()) == before
    say(service, council.anne)
    assert refused(service) == []


def test_no_event_says_that_somebody_left_nor_whose_word_it_was(service: Service, council: Council) -> None:
    before = len(service.told())
    id_ = new_id()
    say(service, council.anne, id_=id_)
    events = service.told()[before:]
    causes = {event["causationid"] for event in events}
    assert len(causes) == len({event["subject"] for event in events}) == 3
    for event in events:
        said = str(event)
        assert not [word for word in (HR, id_, "dismissed", "person-left", council.home) if word in said]
    with reading(service.engine) as connection:
        rows = connection.execute(select(OUTBOX).order_by(OUTBOX.c.position)).all()
    assert {row.principal for row in rows[before:]} == {None}


def test_who_may_say_that_somebody_left_is_open_to_everybody(service: Service, council: Council) -> None:
    service.do(LinkPublisher(publisher="york-hr", organisation=council.home), "operator")
    first = service.ask(ListPublisherLinks(organisation=council.home, limit=1))
    rest = service.ask(ListPublisherLinks(after=first.next))
    assert [(link.publisher, link.name) for link in (*first.links, *rest.links)] == [
        (HR, "Leeds City Council"),
        ("york-hr", "Leeds City Council"),
    ]
    again = LinkPublisher(publisher=HR, organisation=council.home)
    assert service.refused(again, "operator") == "publisher-linked"
    service.do(UnlinkPublisher(publisher=HR), "operator")
    service.do(again, "operator")
    assert service.refused(UnlinkPublisher(publisher="nobody"), "operator") == "publisher-not-linked"
    unknown = LinkPublisher(publisher="hull-hr", organisation=new_id())
    assert service.refused(unknown, "operator") == "organisation-unknown"


def test_a_deputy_withdrawn_on_a_store_leaves_no_trace_in_what_is_shown(service: Service, council: Council) -> None:
    service.do(WithdrawDeputy(network=council.leeds, person=council.dora), "dora")
    [anne] = shown(service, council.leeds).representatives
    assert (anne.deputy, anne.deputy_principal) == (None, None)
