"""Forming networks on a store: the path, who sees it, and a peer who is asked as every other is."""

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from services.membership import tables
from services.membership.domain.starter_path import HERE, STEPS
from services.membership.handlers import on
from shared import clock
from shared.contracts.membership import (
    AcceptPeer,
    ApplyForMembership,
    AppointRepresentative,
    AskForHelp,
    ConfirmNetworkHome,
    DeclareNetworkEstablished,
    GivenUmbrellaRules,
    HandOverStewardship,
    ListNetworks,
    ListStarterPaths,
    OfferExperience,
    RecordStarterStep,
    RegisterNetwork,
    ShowStarterPath,
    StarterPathView,
    StarterStep,
    TakeBackStarterStep,
)
from shared.contracts.message import Query
from shared.database import reading, writing
from shared.unit_of_work import Reader
from tests.conftest import StoreOf
from tests.stores.test_membership import new_id
from tests.stores.test_peer_support import Peers

STEWARD = "nia"


class Forming(Peers):
    """Membership with three established member networks, and bodies where others may form."""

    def form(self, name: str = "ripon", by: str = STEWARD, **more: Any) -> str:
        home = self.organisation(f"{name}-council", "council")
        command = RegisterNetwork(name=name, reach="local", organisation=home, forming=True, **more)
        return self.do(command, by)

    def path(self, network: str, by: str = STEWARD) -> StarterPathView:
        self.run()  # what is due by itself: matching, and asking mentors
        answer = self.ask_as(by, ShowStarterPath(network=network))
        assert isinstance(answer, StarterPathView), answer
        return answer

    def ask_as(self, principal: str, query: Query[Any]) -> Any:
        with reading(self.engine) as connection:
            return on.queries[query.wire.name].run(query, Reader(connection, clock.now(), principal))

    def step(self, network: str, step: StarterStep, by: str = STEWARD) -> list[str]:
        today = clock.now().astimezone(HERE).date()
        reply = self.send(RecordStarterStep(network=network, step=step, done_on=today), by)
        assert reply["outcome"] == "done", reply
        return list(reply["done"]["events"])


@pytest.fixture
def service(store_of: StoreOf) -> Forming:
    return Forming(store_of("membership"))


def test_a_forming_network_walks_its_path_and_is_established_at_the_end_of_it(service: Forming) -> None:
    reply = service.send(
        RegisterNetwork(
            name="ripon", reach="local", organisation=service.organisation("ripon-council", "council"), forming=True
        ),
        STEWARD,
    )
    network = reply["done"]["id"]
    assert reply["done"]["events"] == ["network-registered", "starter-path-begun"]
    [registered] = service.told(network)
    assert registered["data"]["forming"] is True
    *steps, last = STEPS
    for step in steps:
        assert service.step(network, step) == ["starter-step-recorded"]
    service.do(TakeBackStarterStep(network=network, step="find-a-sponsor"), STEWARD)
    shown = service.path(network)
    assert (shown.name, shown.done, shown.next, shown.established_at) == ("ripon", 3, "find-a-sponsor", None)
    assert [(step.step, step.done_on is None) for step in shown.steps][-1] == (last, True)
    service.step(network, "find-a-sponsor")
    assert service.step(network, last) == ["starter-step-recorded", "network-established"]
    shown = service.path(network)
    assert (shown.done, shown.next) == (5, None)
    assert shown.established_at is not None
    assert [event["sequence"] for event in service.told(shown.id)] == list(range(1, 10))
    assert service.refused(DeclareNetworkEstablished(network=network), STEWARD) == "established-already"


def test_a_network_that_is_registered_as_it_always_was_is_not_forming(service: Forming) -> None:
    leeds = service.networks["leeds"]
    assert service.count(tables.starter_paths) == service.count(tables.help_requests) == 0
    assert service.refused(DeclareNetworkEstablished(network=leeds), "leeds-steward") == "not-forming"
    assert service.ask_as("leeds", ShowStarterPath(network=leeds)).code == "not-forming"
    assert service.ask_as("leeds", ShowStarterPath(network=new_id())).code == "network-unknown"
    unknown = RecordStarterStep(network=new_id(), step="find-a-sponsor", done_on=clock.now().date())
    assert service.refused(unknown) == "network-unknown"


def test_a_registration_that_is_refused_leaves_neither_path_nor_request(service: Forming) -> None:
    home = service.organisation("ripon-council", "council")
    umbrella = RegisterNetwork(name="R", reach="local", organisation=home, forming=True, umbrella=GivenUmbrellaRules())
    assert service.refused(umbrella) == "umbrella-not-forming"
    assert service.refused(RegisterNetwork(name="R", reach="local", forming=True)) == "network-without-home"
    assert service.count(tables.starter_paths) == service.count(tables.help_requests) == 0


def test_the_peer_is_an_experienced_one_who_is_told_once_the_steward_has_accepted(service: Forming) -> None:
    offer = service.offer("york", topics=("starting-a-network",))
    network = service.form()
    peer = service.path(network).peer
    assert peer is not None
    assert (peer.state, peer.offer, peer.peer_network, peer.peer) == ("proposed", offer, "york", None)
    assert "mentor-asked" not in service.told_names()
    service.do(AcceptPeer(request=peer.id, offer=offer), STEWARD)
    asked = service.path(network).peer
    assert asked is not None
    assert (asked.state, service.told_names()[-1]) == ("asked", "mentor-asked")
    [shown] = service.mine("york").asked_of_me
    assert (shown.topic, shown.asker, shown.network) == ("starting-a-network", None, None)
    service.do(AcceptPeer(request=shown.id, offer=offer), "york")
    matched = service.path(network).peer
    assert matched is not None
    assert (matched.state, matched.peer) == ("matched", "york")
    [shown] = service.mine("york").asked_of_me
    assert (shown.asker, shown.network) == (STEWARD, network)


def test_nobody_but_the_steward_sees_how_far_the_search_for_a_peer_is(service: Forming) -> None:
    service.offer("york", topics=("starting-a-network",))
    network = service.form()
    assert service.path(network).peer is not None
    for principal in ("york", "leeds", "sam", "operator"):
        assert service.path(network, principal).peer is None
    requested = [event for event in service.told() if "request" in json.dumps(event["data"])]
    assert requested == []  # no event tells of it


def test_forming_networks_are_spread_over_the_mentors_there_are(service: Forming) -> None:
    for name in ("leeds", "york", "hull"):
        service.offer(name, topics=("starting-a-network",), at_once=1)
    networks = [service.form(f"place-{number}", f"steward-{number}") for number in range(4)]
    peers = [service.path(network, f"steward-{number}").peer for number, network in enumerate(networks)]
    assert sorted(peer.peer_network or "" for peer in peers if peer) == ["", "hull", "leeds", "york"]
    assert [peer.state for peer in peers if peer] == ["proposed"] * 3 + ["waiting"]


def test_who_has_asked_about_starting_a_network_already_is_not_entered_twice(service: Forming) -> None:
    first = service.form("ripon")
    second = service.form("selby")
    assert service.count(tables.help_requests) == 1
    assert service.path(first).peer is not None
    assert service.path(second).peer is None


def test_a_new_steward_walks_on_and_asks_for_a_peer_of_their_own(service: Forming) -> None:
    network = service.form()
    service.do(HandOverStewardship(network=network, principal="ola"), STEWARD)
    step = RecordStarterStep(network=network, step="find-a-sponsor", done_on=clock.now().date() - timedelta(days=1))
    assert service.refused(step, STEWARD) == "not-the-steward"
    service.do(step, "ola")
    assert service.path(network, "ola").peer is None
    service.do(AskForHelp(network=network, topic="starting-a-network", size="50-to-249"), "ola")
    peer = service.path(network, "ola").peer
    assert peer is not None
    assert peer.state == "waiting"


def test_a_network_that_is_still_forming_lends_no_experience_and_does_once_established(service: Forming) -> None:
    network = service.form()
    service.do(AppointRepresentative(network=network, person=new_id(), principal="ripon"), STEWARD)
    [umbrella] = service.ask(ListNetworks(umbrellas=True)).networks
    service.do(ConfirmNetworkHome(network=network), "operator")
    service.do(ApplyForMembership(umbrella=umbrella.id, network=network), STEWARD)
    offer = OfferExperience(network=network, topics=("funding",), size="50-to-249")
    assert service.refused(offer, "ripon") == "still-forming"
    service.do(DeclareNetworkEstablished(network=network), STEWARD)
    service.do(offer, "ripon")


def test_the_secretariat_sees_which_networks_are_forming_and_which_have_come_about(service: Forming) -> None:
    networks = [service.form(f"place-{number}", f"steward-{number}") for number in range(3)]
    service.step(networks[0], "gather-five-people", "steward-0")
    service.do(DeclareNetworkEstablished(network=networks[1]), "steward-1")
    first = service.ask(ListStarterPaths(limit=1))
    rest = service.ask(ListStarterPaths(limit=1, after=first.next))
    assert [(path.network, path.name, path.done, path.next) for path in (*first.paths, *rest.paths)] == [
        (networks[0], "place-0", 1, "find-a-sponsor"),
        (networks[2], "place-2", 0, "find-a-sponsor"),
    ]
    assert (first.total, rest.next) == (2, None)
    [established] = service.ask(ListStarterPaths(established=True)).paths
    assert (established.network, established.next) == (networks[1], None)


def test_the_table_gives_a_network_one_path_even_if_the_rule_did_not(service: Forming) -> None:
    service.form()
    with reading(service.engine) as connection:
        [row] = connection.execute(select(tables.starter_paths)).mappings().all()
    with pytest.raises(IntegrityError), writing(service.engine) as connection:
        connection.execute(insert(tables.starter_paths), {**row, "id": new_id()})
