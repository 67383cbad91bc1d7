"""Membership from command to row to answer, on SQLite and on PostgreSQL alike."""

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uuid_utils
from pydantic import BaseModel
from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import IntegrityError

from deploy import organisation_file
from services.membership import tables
from services.membership.domain.proposal import MIN_TIME_AFTER_AMENDMENT
from services.membership.handlers import on
from shared import clock
from shared.contracts import cloudevent
from shared.contracts.membership import (
    AdmitMemberNetwork,
    AmendProposal,
    ApplyForMembership,
    AppointRepresentative,
    AppointSteeringMember,
    AppointSteward,
    CloseProposal,
    CloseWorkStream,
    ConfirmNetworkHome,
    DeclineMemberNetwork,
    DraftProposal,
    FindOrganisation,
    GivenOffice,
    GivenUmbrellaRules,
    HandOverStewardship,
    ImportOrganisations,
    ListNetworks,
    ListOrganisations,
    ListProposals,
    OpenProposal,
    OpenWorkStream,
    OrganisationRow,
    Position,
    RegisterNetwork,
    RegisterOrganisation,
    ShowNetwork,
    ShowProposal,
    ShowVoice,
    StandDownRepresentative,
    StandDownSteeringMember,
    TakePosition,
    WithdrawMemberNetwork,
    WithdrawProposal,
)
from shared.contracts.message import Command, Query, subject_of
from shared.database import reading, writing
from shared.outbox import OUTBOX
from shared.surface import Arrival, Received
from shared.timers import TIMERS
from shared.transaction import Transaction
from shared.unit_of_work import Reader
from tests.conftest import StoreOf


def new_id() -> str:
    return str(uuid_utils.uuid7())


class Service:
    """Membership on one store, without the wire."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(self, *arrivals: Arrival) -> list[dict[str, Any]]:
        """Carries messages out in one transaction, and whatever timers are due; the replies."""
        with writing(self.engine) as connection:
            committed = Transaction(connection, on, 500).run(arrivals, [])
        return [json.loads(reply or b"null") for reply in committed.replies]

    @staticmethod
    def arrival(command: Command, by: str) -> Arrival:
        payload = cloudevent.write(command, id=new_id(), source=f"/{by}", subject=None, time=clock.now())
        return on.read(Received(subject_of(type(command), by), {"content-type": cloudevent.STRUCTURED}, payload))

    def send(self, command: Command, by: str = "sam") -> dict[str, Any]:
        return self.run(self.arrival(command, by))[0]

    def do(self, command: Command, by: str = "sam") -> str:
        """Sends a command that has to succeed; the id it answers with."""
        reply = self.send(command, by)
        assert reply["outcome"] == "done", reply
        return str(reply["done"].get("id"))

    def refused(self, command: Command, by: str = "sam") -> str:
        reply = self.send(command, by)
        assert reply["outcome"] == "refused", reply
        return str(reply["refusal"]["code"])

    def ask(self, query: Query[Any]) -> Any:
        with reading(self.engine) as connection:
            answer = on.queries[query.wire.name].run(query, Reader(connection, clock.now(), "sam"))
        if isinstance(answer, BaseModel):
            answer.model_validate_json(answer.model_dump_json())  # as the wire would carry it
        return answer

    def told(self, about: str | None = None) -> list[dict[str, Any]]:
        """The event messages that are to go out, in order."""
        with reading(self.engine) as connection:
            rows = connection.execute(select(OUTBOX).order_by(OUTBOX.c.position)).all()
        return [json.loads(row.payload) for row in rows if about in (None, row.aggregate)]

    def told_names(self, about: str | None = None) -> list[str]:
        return [event["type"].removeprefix("concord.membership.").removesuffix(".v1") for event in self.told(about)]

    def count(self, table: Any) -> int:
        with reading(self.engine) as connection:
            return len(connection.execute(select(table)).all())

    def due(self) -> list[tuple[str, str, datetime]]:
        """The timers that are set: name, key and moment."""
        with reading(self.engine) as connection:
            return [(row.name, row.key, row.due_at) for row in connection.execute(select(TIMERS))]

    # ---- what most stories begin with

    def organisation(self, key: str = "cabinet-office", type_: Any = "ministerial-department") -> str:
        return self.do(RegisterOrganisation(key=key, name=key.replace("-", " ").title(), type=type_))

    def umbrella(self, **rules: Any) -> str:
        home = self.organisation()
        given = GivenUmbrellaRules(**rules)
        return self.do(RegisterNetwork(name="Umbrella", reach="national", organisation=home, umbrella=given))

    def network(self, name: str, organisation: str) -> str:
        """A network with one representative of the same name; its steward is ``<name>-steward``."""
        network = self.do(RegisterNetwork(name=name, reach="local", organisation=organisation), f"{name}-steward")
        command = AppointRepresentative(network=network, person=new_id(), principal=name)
        self.do(command, f"{name}-steward")
        return network

    def members(self, umbrella: str, *names: str) -> dict[str, str]:
        home = self.organisation("leeds-city-council", "council")
        networks = {name: self.network(name, home) for name in names}
        for name, network in networks.items():
            self.do(ApplyForMembership(umbrella=umbrella, network=network), name)
            self.do(AdmitMemberNetwork(umbrella=umbrella, network=network))
        return networks

    def proposal(self, umbrella: str, deadline: datetime | None = None) -> str:
        proposal = self.do(DraftProposal(umbrella=umbrella, title="A charter", text="We sign one charter."))
        self.do(OpenProposal(proposal=proposal, deadline=deadline or clock.now() + timedelta(days=14)))
        return proposal


@pytest.fixture
def service(store_of: StoreOf) -> Service:
    return Service(store_of("membership"))


def test_a_network_has_one_voice_however_often_it_is_registered(service: Service) -> None:
    home, other = service.organisation("leeds-city-council", "council"), service.organisation("york-council", "council")
    first = service.do(RegisterNetwork(name="Wellbeing", reach="local", organisation=home))
    for name in ("Wellbeing", "wellbeing "):
        again = service.send(RegisterNetwork(name=name, reach="local", organisation=home))
        assert again["refusal"]["code"] == "network-registered-already"
        assert again["refusal"]["data"] == {"network": first}
    service.do(RegisterNetwork(name="Wellbeing", reach="local", organisation=other))
    parent = service.umbrella()
    service.do(RegisterNetwork(name="Wellbeing", reach="local", parent=parent))
    again = service.send(RegisterNetwork(name="Wellbeing", reach="local", parent=parent))
    assert again["refusal"]["code"] == "network-registered-already"


def an_import(*rows: dict[str, Any]) -> ImportOrganisations:
    return ImportOrganisations(register_name="GOV.UK", rows=tuple(OrganisationRow(**row) for row in rows))


TREASURY = {"key": "hm-treasury", "name": "HM Treasury", "format": "Ministerial department", "abbreviation": "HMT"}
OBR = {
    "key": "office-for-budget-responsibility",
    "name": "Office for Budget Responsibility",
    "format": "Executive non-departmental public body",
    "parents": ["hm-treasury", "treasury-of-old"],
    "supersedes": ["forecasting-unit"],
}


# ---- organisations -------------------------------------------------------------------------------------------------


def test_an_import_is_kept_and_told_and_a_second_one_changes_nothing(service: Service) -> None:
    done = service.send(an_import(OBR, TREASURY))["done"]
    assert done["counts"] == {"registered": 2, "changed": 0, "unchanged": 0}
    assert done["events"] == ["organisation-registered"]
    assert [event["data"]["slug"] for event in service.told()] == ["hm-treasury", OBR["key"]]
    again = service.send(an_import(OBR, TREASURY))["done"]
    assert again["counts"] == {"registered": 0, "changed": 0, "unchanged": 2}
    assert len(service.told()) == 2
    changed = service.send(an_import(OBR | {"name": "The OBR"}, TREASURY))["done"]
    assert changed["counts"] == {"registered": 0, "changed": 1, "unchanged": 1}
    last = service.told()[-1]
    assert (last["data"]["name"], last["data"]["changed"], last["sequence"]) == ("The OBR", ["name", "former_names"], 2)


def test_an_import_with_a_problem_leaves_nothing_behind(service: Service) -> None:
    assert service.refused(an_import(TREASURY, OBR | {"format": "Castle"})) == "organisations-not-imported"
    assert service.count(tables.organisations) == 0
    assert service.told() == []


def test_all_of_the_gov_uk_register_goes_in_with_one_command(service: Service, real_data: Path) -> None:
    command = organisation_file.read((real_data / "govuk_organisations_2026.csv").read_bytes())
    assert isinstance(command, ImportOrganisations)
    first = service.send(command)
    assert first["done"]["counts"] == {"registered": 663, "changed": 0, "unchanged": 0}
    assert service.send(command)["done"]["counts"] == {"registered": 0, "changed": 0, "unchanged": 663}
    assert len(service.told()) == 663
    assert service.ask(ListOrganisations(with_unknown_parents=True)).total == 5
    home_office = service.ask(FindOrganisation(words="home office")).matches[0].organisation
    assert service.ask(ListOrganisations(parent=home_office.id, limit=500)).total == sum(
        "home-office" in row.parents for row in command.rows
    )
    found = service.ask(FindOrganisation(words="Stabilisation-Unit")).matches
    assert [(match.by, match.organisation.key) for match in found] == [
        ("former-key", "foreign-commonwealth-development-office")
    ]


def test_an_organisation_is_found_by_key_name_abbreviation_and_former_key(service: Service) -> None:
    service.do(an_import(TREASURY, OBR))

    def found(words: str) -> list[tuple[str, str]]:
        matches = service.ask(FindOrganisation(words=words)).matches
        return [(match.by, match.organisation.key) for match in matches]

    assert found("HM-Treasury") == [("key", "hm-treasury")]
    assert found("hm treasury") == [("name", "hm-treasury")]
    assert found("hmt") == [("abbreviation", "hm-treasury")]
    assert found("forecasting-unit") == [("former-key", OBR["key"])]
    assert found('forecasting"unit') == found("%") == found("treasury") == []


def test_pages_of_organisations_have_one_order_and_miss_nobody(service: Service) -> None:
    keys = ["b", "a-b", "a", "ab", "c-1", "c"]
    service.do(an_import(*[TREASURY | {"key": key, "abbreviation": ""} for key in keys]))
    seen, after = [], None
    while True:
        page = service.ask(ListOrganisations(limit=2, after=after))
        assert page.total == 6
        seen += [organisation.key for organisation in page.organisations]
        if page.next is None:
            break
        after = page.next
    assert seen == sorted(keys)


def test_organisations_are_listed_by_type_and_place(service: Service) -> None:
    service.do(an_import(TREASURY | {"region": "London", "place": "London"}, OBR))
    for query, expected in (
        (ListOrganisations(type="ministerial-department"), 1),
        (ListOrganisations(nation="England"), 1),
        (ListOrganisations(region="Wales"), 0),
        (ListOrganisations(with_unknown_parents=True), 1),
    ):
        assert service.ask(query).total == expected


def test_a_key_is_taken_once_by_the_rule_and_by_the_table(service: Service) -> None:
    service.organisation("hm-treasury")
    assert service.refused(RegisterOrganisation(key="hm-treasury", name="T", type="charity")) == "key-taken"
    with reading(service.engine) as connection:
        [row] = connection.execute(select(tables.organisations)).mappings().all()
    with pytest.raises(IntegrityError), writing(service.engine) as connection:
        connection.execute(insert(tables.organisations), {**row, "id": new_id()})


# ---- networks and members ------------------------------------------------------------------------------------------


def test_a_network_is_admitted_shown_and_told(service: Service) -> None:
    umbrella = service.umbrella()
    networks = service.members(umbrella, "leeds", "york")
    shown = service.ask(ShowNetwork(network=umbrella))
    assert [(member.name, member.state) for member in shown.members] == [("leeds", "admitted"), ("york", "admitted")]
    assert (shown.steward, shown.steering_group.total_fte, shown.steering_group.free_fte) == ("sam", 0, 6)
    leeds = service.ask(ShowNetwork(network=networks["leeds"]))
    assert [representative.principal for representative in leeds.representatives] == ["leeds"]
    assert [(membership.network, membership.state) for membership in leeds.member_of] == [(umbrella, "admitted")]
    assert service.told_names(networks["leeds"]) == ["network-registered", "representative-appointed"]
    admitted = service.told()[-1]
    assert (admitted["sequence"], admitted["data"]["name"], admitted["data"]["umbrella"]) == (2, "york", umbrella)


def test_a_second_application_is_refused_also_in_the_same_batch(service: Service) -> None:
    umbrella = service.umbrella(open=True)
    leeds = service.network("leeds", service.organisation("leeds-city-council", "council"))
    service.do(ConfirmNetworkHome(network=leeds))
    twice = [service.arrival(ApplyForMembership(umbrella=umbrella, network=leeds), "leeds") for _ in range(2)]
    first, second = service.run(*twice)
    assert first["done"]["events"] == ["membership-applied-for", "member-network-admitted"]
    assert second["refusal"]["code"] == "one-voice"
    assert service.count(tables.memberships) == 1


def test_the_table_gives_a_network_one_voice_even_if_the_rule_did_not(service: Service) -> None:
    umbrella = service.umbrella()
    service.members(umbrella, "leeds")
    with reading(service.engine) as connection:
        [row] = connection.execute(select(tables.memberships)).mappings().all()
    with pytest.raises(IntegrityError), writing(service.engine) as connection:
        connection.execute(insert(tables.memberships), {**row, "id": new_id()})


def test_a_member_whose_last_representative_stands_down_lapses_everywhere(service: Service) -> None:
    umbrella = service.umbrella()
    leeds = service.members(umbrella, "leeds")["leeds"]
    [representative] = service.ask(ShowNetwork(network=leeds)).representatives
    done = service.send(StandDownRepresentative(network=leeds, person=representative.person), "leeds")["done"]
    assert done["events"] == ["representative-stood-down", "member-network-lapsed"]
    assert service.ask(ShowNetwork(network=umbrella)).members == ()
    assert service.ask(ListNetworks(member_of=umbrella)).total == 0


def test_a_network_withdraws_and_comes_back_with_the_same_membership(service: Service) -> None:
    umbrella = service.umbrella()
    leeds = service.members(umbrella, "leeds")["leeds"]
    both = {"umbrella": umbrella, "network": leeds}
    first = service.do(WithdrawMemberNetwork(**both), "leeds")
    assert service.refused(AdmitMemberNetwork(**both)) == "no-application"
    assert service.do(ApplyForMembership(**both), "leeds") == first
    assert service.do(AdmitMemberNetwork(**both)) == first
    assert [event["sequence"] for event in service.told(first)] == [1, 2, 3, 4, 5]


def test_strangers_admit_nobody_and_members_of_the_steering_group_do(service: Service) -> None:
    umbrella = service.umbrella()
    leeds = service.network("leeds", service.organisation("leeds-city-council", "council"))
    service.do(ApplyForMembership(umbrella=umbrella, network=leeds), "leeds")
    assert service.refused(AdmitMemberNetwork(umbrella=umbrella, network=leeds), "leeds") == "not-of-the-steering-group"
    seat = AppointSteeringMember(network=umbrella, person=new_id(), principal="lena", role="lead", fte=0.5)
    service.do(seat)
    service.do(AdmitMemberNetwork(umbrella=umbrella, network=leeds), "lena")


def test_the_secretariat_asks_who_there_is_who_is_missing_and_who_has_not_answered(service: Service) -> None:
    umbrella = service.umbrella()
    networks = service.members(umbrella, "leeds", "york")
    office = GivenOffice(place="Cardiff", region="Wales", nation="Wales", latitude=51.48, longitude=-3.18)
    hull = service.organisation("hull-city-council", "council")
    cardiff = service.do(RegisterNetwork(name="Cardiff", reach="local", organisation=hull, office=office))

    def listed(**filters: Any) -> list[str]:
        return [network.id for network in service.ask(ListNetworks(**filters)).networks]

    assert listed(nation="Wales") == listed(region="Wales") == [cardiff]
    assert listed(organisation_type="council") == [*networks.values(), cardiff]
    assert listed(organisation_type="ministerial-department") == [umbrella]
    without = service.ask(ListOrganisations(without_network=True))
    ripon = service.organisation("ripon-city-council", "council")
    assert [one.id for one in service.ask(ListOrganisations(without_network=True)).organisations] == [
        *(one.id for one in without.organisations),
        ripon,
    ]
    assert hull not in [one.id for one in without.organisations]
    first, second = service.proposal(umbrella), service.proposal(umbrella)
    take(service, first, networks["leeds"], "leeds", "consent")

    def awaiting(network: str) -> list[str]:
        return [proposal.id for proposal in service.ask(ListProposals(awaits=network)).proposals]

    assert (awaiting(networks["leeds"]), awaiting(networks["york"])) == ([second], [first, second])
    service.do(WithdrawProposal(proposal=second, reason="There is no room."))
    assert (awaiting(networks["leeds"]), awaiting(cardiff)) == ([], [])


def test_a_declined_network_hears_why_and_may_apply_again(service: Service) -> None:
    umbrella = service.umbrella()
    leeds = service.network("leeds", service.organisation("leeds-city-council", "council"))
    pair = {"umbrella": umbrella, "network": leeds}
    service.do(ApplyForMembership(**pair), "leeds")
    membership = service.do(DeclineMemberNetwork(**pair, reason="It has joined through its region."))
    assert service.ask(ShowNetwork(network=leeds)).member_of == ()
    assert service.told_names(membership) == ["membership-applied-for", "member-network-declined"]
    assert service.told(membership)[-1]["data"]["reason"] == "It has joined through its region."
    service.do(ApplyForMembership(**pair), "leeds")
    service.do(AdmitMemberNetwork(**pair))


def test_a_network_goes_into_other_hands(service: Service) -> None:
    leeds = service.network("leeds", service.organisation("leeds-city-council", "council"))
    service.do(HandOverStewardship(network=leeds, principal="lena"), "leeds-steward")
    assert service.refused(HandOverStewardship(network=leeds, principal="leeds"), "leeds") == "not-the-steward"
    service.do(AppointSteward(network=leeds, principal="ben"), "operator")
    assert service.ask(ShowNetwork(network=leeds)).steward == "ben"


def test_a_seat_falls_vacant_at_the_end_of_its_term(service: Service) -> None:
    umbrella, person, end = service.umbrella(), new_id(), clock.now() + timedelta(seconds=1)
    seat = AppointSteeringMember(network=umbrella, person=person, principal="lena", role="lead", fte=0.5, until=end)
    group = service.do(seat)
    [held] = service.ask(ShowNetwork(network=umbrella)).steering_group.seats
    assert (held.person, held.until) == (person, end)
    [(name, _, due)] = service.due()
    assert (name, due) == ("end-steering-term", end)
    time.sleep(max(0, (end - clock.now()).total_seconds()))
    service.run()
    [vacant] = service.ask(ShowNetwork(network=umbrella)).steering_group.seats
    assert (vacant.person, service.due()) == (None, [])
    assert service.told(group)[-1]["data"]["because"] == "term-ended"


def test_networks_are_listed_page_by_page(service: Service) -> None:
    umbrella = service.umbrella()
    networks = service.members(umbrella, "leeds", "york", "hull")
    page = service.ask(ListNetworks(member_of=umbrella, limit=2))
    rest = service.ask(ListNetworks(member_of=umbrella, limit=2, after=page.next))
    assert [network.id for network in (*page.networks, *rest.networks)] == list(networks.values())
    assert (page.total, rest.next, page.networks[0].representatives) == (3, None, 1)
    assert [network.name for network in service.ask(ListNetworks(umbrellas=True)).networks] == ["Umbrella"]
    assert service.ask(ListNetworks(umbrellas=False, reach="local")).total == 3


@pytest.mark.parametrize(
    "command",
    [
        lambda id_: ApplyForMembership(umbrella=id_, network=id_),
        lambda id_: AppointRepresentative(network=id_, person=id_, principal="x"),
        lambda id_: StandDownRepresentative(network=id_, person=id_),
        lambda id_: RegisterNetwork(name="N", reach="local", parent=id_),
        lambda id_: DraftProposal(umbrella=id_, title="T", text="T"),
        lambda id_: AppointSteeringMember(network=id_, person=id_, principal="x", role="lead", fte=1),
    ],
)
def test_what_names_an_unknown_network_is_refused(service: Service, command: Callable[[str], Command]) -> None:
    assert service.refused(command(new_id())) == "network-unknown"


def test_only_an_umbrella_has_members_a_steering_group_and_proposals(service: Service) -> None:
    leeds = service.network("leeds", service.organisation("leeds-city-council", "council"))
    for command in (
        ApplyForMembership(umbrella=leeds, network=leeds),
        OpenWorkStream(network=leeds, name="Stress"),
        DraftProposal(umbrella=leeds, title="T", text="T"),
    ):
        assert service.refused(command, "leeds-steward") == "not-an-umbrella"


# ---- the steering group --------------------------------------------------------------------------------------------


def test_a_steering_group_is_seated_shown_and_vacated(service: Service) -> None:
    umbrella = service.umbrella()
    stress = service.do(OpenWorkStream(network=umbrella, name="Stress"))
    first = service.ask(ShowNetwork(network=umbrella)).steering_group
    assert [(seat.role, seat.name, seat.person) for seat in first.seats] == [
        ("lead", None, None),
        ("work-stream-lead", "Stress", None),
    ]
    lena, ben = new_id(), new_id()
    service.do(AppointSteeringMember(network=umbrella, person=lena, principal="lena", role="lead", fte=0.6))
    seat = {"person": ben, "principal": "ben", "role": "work-stream-lead", "work_stream": stress}
    group = service.do(AppointSteeringMember(network=umbrella, fte=0.35, **seat), "lena")
    second = service.ask(ShowNetwork(network=umbrella)).steering_group
    assert (second.total_fte, second.free_fte) == (0.95, 5.05)
    assert [(seat.role, seat.person, seat.fte) for seat in second.seats] == [
        ("lead", lena, 0.6),
        ("work-stream-lead", ben, 0.35),
    ]
    service.do(CloseWorkStream(network=umbrella, work_stream=stress), "ben")
    service.do(StandDownSteeringMember(network=umbrella, person=lena, role="lead"), "lena")
    third = service.ask(ShowNetwork(network=umbrella)).steering_group
    assert [(seat.role, seat.person) for seat in third.seats] == [("lead", None)]
    assert service.told_names(group) == [
        "work-stream-opened",
        "steering-member-appointed",
        "steering-member-appointed",
        "steering-member-stood-down",
        "work-stream-closed",
        "steering-member-stood-down",
    ]


def a_full_house(service: Service, streams: int) -> tuple[str, list[AppointSteeringMember]]:
    """An umbrella with work streams, and an appointment of one FTE to each."""
    umbrella = service.umbrella()
    commands = []
    for number in range(streams):
        stream = service.do(OpenWorkStream(network=umbrella, name=f"Stream {number}"))
        seat = {"person": new_id(), "principal": f"lead-{number}", "role": "work-stream-lead", "work_stream": stream}
        commands.append(AppointSteeringMember(network=umbrella, fte=1, **seat))
    return umbrella, commands


def test_six_fte_hold_for_appointments_in_one_batch(service: Service) -> None:
    umbrella, commands = a_full_house(service, 9)
    replies = service.run(*[service.arrival(command, "sam") for command in commands])
    assert [reply["outcome"] for reply in replies] == ["done"] * 6 + ["refused"] * 3
    assert {reply["refusal"]["code"] for reply in replies[6:]} == {"six-fte-exceeded"}
    assert service.ask(ShowNetwork(network=umbrella)).steering_group.total_fte == 6


def test_six_fte_hold_under_concurrent_transactions(service: Service) -> None:
    umbrella, commands = a_full_house(service, 12)
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(service.send, commands))
    outcomes = [reply["outcome"] for reply in replies]
    assert (outcomes.count("done"), outcomes.count("refused")) == (6, 6)
    assert service.ask(ShowNetwork(network=umbrella)).steering_group.total_fte == 6


def test_one_voice_holds_under_concurrent_transactions(service: Service) -> None:
    umbrella = service.umbrella(open=True)
    leeds = service.network("leeds", service.organisation("leeds-city-council", "council"))
    service.do(ConfirmNetworkHome(network=leeds))
    with ThreadPoolExecutor(6) as pool:
        asked = ApplyForMembership(umbrella=umbrella, network=leeds)
        replies = list(pool.map(lambda _: service.send(asked, "leeds"), range(6)))
    assert sorted(reply["outcome"] for reply in replies) == ["done"] + ["refused"] * 5
    assert service.count(tables.memberships) == 1


def test_the_table_holds_six_fte_even_if_the_rule_did_not(service: Service) -> None:
    umbrella, _ = a_full_house(service, 0)
    row = {"id": new_id(), "sequence": 1, "network": umbrella}
    with pytest.raises(IntegrityError), writing(service.engine) as connection:
        connection.execute(insert(tables.steering_groups), {**row, "total_hundredths": 601})


# ---- proposals -----------------------------------------------------------------------------------------------------


def take(service: Service, proposal: str, network: str, by: str, position: Position, reason: str | None = None) -> str:
    return service.do(TakePosition(proposal=proposal, network=network, position=position, reason=reason), by)


def until(condition: Callable[[], bool], attempts: Sequence[int] = range(10_000)) -> None:
    assert any(condition() for _ in attempts)


def test_a_proposal_is_decided_at_its_deadline_with_every_reason(service: Service) -> None:
    umbrella = service.umbrella()
    networks = service.members(umbrella, "leeds", "york", "hull")
    proposal = service.proposal(umbrella, clock.now() + timedelta(seconds=1))
    for name, network in networks.items():
        take(service, proposal, network, name, *(("stand-aside", "No budget.") if name == "hull" else ("consent",)))
    until(lambda: service.run() == [] and service.ask(ShowProposal(proposal=proposal)).state == "closed")
    shown = service.ask(ShowProposal(proposal=proposal))
    assert (shown.decision.outcome, shown.decision.asked, shown.decision.spoke) == ("agreed", 3, 3)
    assert {voice.name: voice.stance.position for voice in shown.voices} == {
        "leeds": "consent",
        "york": "consent",
        "hull": "stand-aside",
    }
    decided = service.told(proposal)[-1]
    assert decided["type"] == "concord.membership.proposal-decided.v1"
    assert {stance["reason"] for stance in decided["data"]["stances"]} == {None, "No budget."}
    assert service.count(TIMERS) == 0
    assert service.refused(WithdrawProposal(proposal=proposal, reason="Too late.")) == "proposal-not-open"


def test_a_block_is_met_by_an_amendment_and_every_change_is_kept(service: Service) -> None:
    umbrella = service.umbrella()
    networks = service.members(umbrella, "leeds", "york")
    proposal = service.proposal(umbrella)
    take(service, proposal, networks["leeds"], "leeds", "consent")
    take(service, proposal, networks["york"], "york", "block", "Too dear.")
    assert service.refused(CloseProposal(proposal=proposal)) == "block-stands"
    service.do(AmendProposal(proposal=proposal, text="We sign one charter, free of charge."))
    assert service.refused(CloseProposal(proposal=proposal)) == "not-everyone-has-spoken"
    take(service, proposal, networks["leeds"], "leeds", "consent")
    take(service, proposal, networks["york"], "york", "consent")
    service.do(CloseProposal(proposal=proposal))
    shown = service.ask(ShowProposal(proposal=proposal))
    assert (shown.decision.outcome, shown.version, [voice.earlier for voice in shown.voices]) == ("agreed", 2, [1, 1])
    history = service.ask(ShowVoice(proposal=proposal, network=networks["york"]))
    assert [(stance.version, stance.position, stance.reason) for stance in history.stances] == [
        (1, "block", "Too dear."),
        (2, "consent", None),
    ]
    assert service.count(TIMERS) == 0


def test_an_amendment_at_the_last_second_moves_the_close_so_that_everybody_can_look_at_it(service: Service) -> None:
    umbrella = service.umbrella()
    networks = service.members(umbrella, "leeds", "york", "hull", "ripon")
    proposal = service.proposal(umbrella, clock.now() + timedelta(seconds=30))
    take(service, proposal, networks["york"], "york", "block", "Too dear.")
    before = clock.now()
    service.do(AmendProposal(proposal=proposal, text="We sign one charter, free of charge."))
    take(service, proposal, networks["leeds"], "leeds", "consent")
    take(service, proposal, networks["hull"], "hull", "consent")
    shown = service.ask(ShowProposal(proposal=proposal))
    assert shown.deadline >= before + MIN_TIME_AFTER_AMENDMENT
    assert service.due() == [("close-proposal", proposal, shown.deadline)]
    [amended] = [each["data"] for each in service.told(proposal) if each["type"].endswith(".proposal-amended.v1")]
    assert datetime.fromisoformat(amended["deadline"]) == shown.deadline


def test_the_electorate_is_who_was_a_member_when_the_proposal_was_opened(service: Service) -> None:
    umbrella = service.umbrella(open=True)
    home = service.organisation("leeds-city-council", "council")
    networks = {name: service.network(name, home) for name in ("leeds", "york")}
    for name, network in networks.items():
        service.do(ConfirmNetworkHome(network=network))
        service.do(ApplyForMembership(umbrella=umbrella, network=network), name)
    proposal = service.proposal(umbrella)
    hull = service.network("hull", home)
    service.do(ConfirmNetworkHome(network=hull))
    service.do(ApplyForMembership(umbrella=umbrella, network=hull), "hull")
    late = TakePosition(proposal=proposal, network=hull, position="consent")
    assert service.refused(late, "hull") == "not-in-the-electorate"
    service.do(WithdrawMemberNetwork(umbrella=umbrella, network=networks["york"]), "york")
    take(service, proposal, networks["york"], "york", "block", "We said so before we left.")
    assert {voice.name for voice in service.ask(ShowProposal(proposal=proposal)).voices} == {"leeds", "york"}


def test_members_draft_and_authors_lead_and_strangers_do_neither(service: Service) -> None:
    umbrella = service.umbrella()
    service.members(umbrella, "leeds", "york")
    draft = DraftProposal(umbrella=umbrella, title="A charter", text="Text")
    assert service.refused(draft, "stranger") == "not-a-member"
    proposal = service.do(draft, "leeds")
    opening = OpenProposal(proposal=proposal, deadline=clock.now() + timedelta(days=1))
    assert service.refused(opening, "york") == "not-theirs-to-lead"
    service.do(opening, "leeds")
    assert service.refused(OpenProposal(proposal=new_id(), deadline=clock.now())) == "proposal-unknown"


def test_proposals_are_listed_with_how_many_have_spoken(service: Service) -> None:
    umbrella = service.umbrella()
    networks = service.members(umbrella, "leeds", "york")
    first, second = service.proposal(umbrella), service.proposal(umbrella)
    take(service, first, networks["leeds"], "leeds", "consent")
    service.do(WithdrawProposal(proposal=second, reason="Said twice."))
    page = service.ask(ListProposals(umbrella=umbrella))
    assert [(each.id, each.state, each.asked, each.spoke) for each in page.proposals] == [
        (first, "open", 2, 1),
        (second, "withdrawn", 2, 0),
    ]
    assert service.ask(ListProposals(state="withdrawn")).total == 1
    assert service.ask(ListProposals(limit=1)).next == first


def test_a_batch_of_positions_is_carried_out_together(service: Service) -> None:
    umbrella = service.umbrella()
    networks = service.members(umbrella, "leeds", "york", "hull")
    proposal = service.proposal(umbrella)
    positions = [
        service.arrival(TakePosition(proposal=proposal, network=network, position="consent"), name)
        for name, network in networks.items()
    ]
    replies = service.run(*positions, service.arrival(CloseProposal(proposal=proposal), "sam"))
    assert [reply["outcome"] for reply in replies] == ["done"] * 4
    assert service.ask(ShowProposal(proposal=proposal)).decision.outcome == "agreed"
    assert [event["sequence"] for event in service.told(proposal)] == [1, 2, 3, 4, 5, 6]
