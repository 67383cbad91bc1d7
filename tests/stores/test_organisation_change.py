"""Organisations that change, and texts that mean them, from command to row to answer, on SQLite and on PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.contracts.membership import (
    AdmitMemberNetwork,
    ApplyForMembership,
    CloseOrganisation,
    GivenUmbrellaRules,
    ListNetworks,
    MatchOrganisation,
    MergeOrganisations,
    RegisterNetwork,
    RegisterOrganisation,
    RenameOrganisation,
    ShowNetwork,
    ShowOrganisation,
    SplitOrganisation,
)
from tests.conftest import StoreOf
from tests.stores.test_membership import Service


class Membership(Service):
    """Membership on one store, and bodies with networks to begin a story with."""

    def body(self, key: str, name: str, **others: Any) -> str:
        return self.do(RegisterOrganisation(key=key, name=name, type="nhs-body", **others))


@pytest.fixture
def service(store_of: StoreOf) -> Membership:
    return Membership(store_of("membership"))


def test_a_merger_carries_networks_over_and_their_memberships_stand(service: Membership) -> None:
    weston = service.body("weston", "University Hospitals Bristol and Weston")
    north, bristol = service.body("north", "North Bristol"), service.body("bristol", "Bristol Trust")
    rules = GivenUmbrellaRules(eligible=("nhs-body",))
    umbrella = service.do(RegisterNetwork(name="Umbrella", reach="national", organisation=bristol, umbrella=rules))
    networks = [service.network("anne", weston), service.network("ben", north)]
    for network, by in zip(networks, ("anne", "ben"), strict=True):
        service.do(ApplyForMembership(umbrella=umbrella, network=network), by)
        service.do(AdmitMemberNetwork(umbrella=umbrella, network=network))
    before = [service.ask(ShowNetwork(network=network)) for network in networks]
    command = MergeOrganisations(organisations=(weston, north), into=bristol)
    sent = service.arrival(command, "sam")
    [reply] = service.run(sent)
    assert reply["done"]["counts"] == {"networks_carried_over": 2, "networks_left_where_they_are": 0}
    assert service.run(sent) == [reply], "the same command again changes nothing"
    assert service.send(command)["refusal"]["code"] == "closed-already"
    for network, was in zip(networks, before, strict=True):
        assert service.ask(ShowNetwork(network=network)) == was.model_copy(update={"organisation": bristol})
        assert service.told_names(network).count("network-carried-over") == 1
    assert service.ask(ListNetworks(organisation=weston)).total == 0
    assert service.told_names(weston) == ["organisation-registered", "organisation-closed"]
    assert service.told_names(bristol) == ["organisation-registered", "organisation-changed"]


def test_an_organisation_is_traced_back_and_forth_through_every_change(service: Membership) -> None:
    first, second, third, part = (service.body(key, f"Body {key}") for key in ("first", "second", "third", "part"))
    service.do(MergeOrganisations(organisations=(first,), into=second))
    service.do(CloseOrganisation(organisation=second, successors=(third,)))
    service.do(SplitOrganisation(organisation=third, into=(part,), goes_on=True))
    network = service.network("anne", third)
    story = service.ask(ShowOrganisation(organisation=third))
    assert [(step.steps, step.id) for step in story.predecessors] == [(1, second), (2, first)]
    assert [(step.steps, step.id) for step in story.successors] == [(1, part)]
    assert (story.organisation.closed_at, story.networks) == (None, (network,))
    story = service.ask(ShowOrganisation(organisation=first))
    assert [(step.steps, step.id) for step in story.successors] == [(1, second), (2, third), (3, part)]
    assert story.organisation.closed_at is not None
    assert service.ask(ShowOrganisation(organisation=network)).code == "organisation-unknown"


def test_of_mergers_at_the_same_moment_one_carries_the_networks_over(service: Membership) -> None:
    old = service.body("old", "Old")
    networks = [service.network(f"steward-{number}", old) for number in range(3)]
    heirs = [service.body(f"heir-{number}", f"Heir {number}") for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda heir: service.send(MergeOrganisations(organisations=(old,), into=heir)), heirs))
    assert sorted(reply["outcome"] for reply in replies) == ["done"] + ["refused"] * 5
    assert len({service.ask(ShowNetwork(network=network)).organisation for network in networks} & set(heirs)) == 1
    assert [service.told_names(network).count("network-carried-over") for network in networks] == [1, 1, 1]


def test_a_text_finds_its_organisation_through_every_name_it_had(service: Membership) -> None:
    coal = service.body("coal", "Coal Authority", abbreviation="CA", other_names=("Yr Awdurdod Glo",))
    mining = service.body("mining", "Mining Remediation Authority")
    service.do(RenameOrganisation(organisation=coal, name="Coal and Mining Authority"))

    def certain(text: str) -> str | None:
        answer: str | None = service.ask(MatchOrganisation(text=text)).certain
        return answer

    assert [certain(text) for text in ("The Coal Authority", "coal & mining authority", "Yr Awdurdod Glo")] == [
        coal
    ] * 3
    assert certain("Coal Mining") is None
    service.do(MergeOrganisations(organisations=(coal,), into=mining))
    assert [certain(text) for text in ("The Coal Authority", "Mining Remedation Authority", "coal")] == [mining] * 3
    answer = service.ask(MatchOrganisation(text="Coal Authority"))
    assert answer.answer == "Certain: Mining Remediation Authority."
    assert [(one.by, one.matched, one.id) for one in answer.candidates] == [("predecessor", "Coal Authority", mining)]
    assert service.ask(MatchOrganisation(text="Ministry of Magic")).candidates == ()
