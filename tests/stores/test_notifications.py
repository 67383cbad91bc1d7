"""Notifications on a store: who is told what, in which order, and what the log says of it."""

import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uuid_utils
from sqlalchemy import Engine, delete, event, func, select, update

from services.benchmark.domain import people_survey
from services.notifications import tables
from services.notifications.handlers import on
from services.notifications.store import FORGOTTEN_AT_ONCE, forget_old_announcements
from shared import clock, dead_letters
from shared.contracts import benchmark, cloudevent, events, membership, notifications
from shared.contracts.message import Event, Message, Query, subject_of
from shared.contracts.notifications import (
    ListAllDeliveries,
    ListDeliveries,
    ListSubscriptions,
    Subscribe,
    Unsubscribe,
)
from shared.database import reading, writing
from shared.identity import DELIVERIES
from shared.outbox import OUTBOX, UNSENT
from shared.refusal import Refusal
from shared.settings import Settings
from shared.surface import Arrival, Received
from shared.transaction import Transaction
from shared.unit_of_work import Reader
from tests.conftest import StoreOf


def new_id() -> str:
    return str(uuid_utils.uuid7())


UMBRELLA, TREASURY, CARDIFF = new_id(), new_id(), new_id()
GROUP, PROPOSAL = new_id(), new_id()


class Platform:
    """Notifications on a store, with what the other services say to it."""

    def __init__(self, store: Engine) -> None:
        self.store = store
        self._sequences: dict[str, int] = {}

    # ---- in --------------------------------------------------------------------------------------------------------

    def send(self, command: Message, principal: str) -> Any:
        arrival = self._read(command, subject_of(type(command), principal), id=new_id(), source="/tester")
        return json.loads(self._run(arrival)[0] or b"{}")

    def hear(self, *heard: Event) -> None:
        self._run(*(self._event(each) for each in heard))
        with reading(self.store) as connection:
            assert [letter.error for letter in dead_letters.page(connection, None, 10)] == []

    def ask(self, query: Query[Any], principal: str) -> Any:
        handler = on.queries[query.wire.name]
        with reading(self.store) as connection:
            return handler.run(query, Reader(connection, clock.now(), principal))

    def _event(self, said: Event) -> Arrival:
        service, aggregate = said.wire.owner, said.aggregate
        sequence = self._sequences[aggregate] = self._sequences.get(aggregate, 0) + 1
        attributes = {"id": new_id(), "source": f"/concord/{service}", "subject": aggregate, "sequence": sequence}
        return self._read(said, subject_of(type(said), aggregate), **attributes)

    def _read(self, message: Message, to: str, **attributes: Any) -> Arrival:
        payload = cloudevent.write(message, time=clock.now(), **attributes)
        return on.read(Received(to, {"content-type": cloudevent.STRUCTURED}, payload))

    def _run(self, *arrivals: Arrival) -> Sequence[bytes | None]:
        with writing(self.store) as connection:
            return Transaction(connection, on, 500).run(arrivals, []).replies

    # ---- out -------------------------------------------------------------------------------------------------------

    def sent(self, subscriber: str) -> list[dict[str, Any]]:
        """The deliveries to one subscriber, as they lie in the outbox, in their order."""
        mine = select(OUTBOX).where(OUTBOX.c.stream == DELIVERIES, OUTBOX.c.aggregate == subscriber)
        with reading(self.store) as connection:
            rows = connection.execute(mine.order_by(OUTBOX.c.position)).all()
        return [json.loads(row.payload) | {"nats_subject": row.subject} for row in rows]

    def told(self, subscriber: str) -> list[str]:
        return [message["data"]["sentence"] for message in self.sent(subscriber)]

    def count(self, table: Any) -> int:
        with reading(self.store) as connection:
            return connection.scalar(select(func.count()).select_from(table)) or 0


@pytest.fixture
def platform(store_of: StoreOf) -> Platform:
    return Platform(store_of("notifications"))


def registered(network: str, name: str, steward: str, region: membership.Region | None = None) -> Event:
    office = None
    if region is not None:
        nation = membership.nation_of(region)
        office = membership.Office(place="Town", region=region, nation=nation, latitude=51.5, longitude=-1)
    return membership.NetworkRegistered(
        network=network,
        name=name,
        reach="national",
        organisation=None,
        parent=None,
        office=office,
        umbrella=None,
        steering_group=None,
        steward=steward,
    )


def appointed(network: str, principal: str, person: str | None = None) -> membership.RepresentativeAppointed:
    return membership.RepresentativeAppointed(
        network=network, person=person or new_id(), principal=principal, office=None
    )


def admitted(network: str, name: str, member: str | None = None) -> membership.MemberNetworkAdmitted:
    return membership.MemberNetworkAdmitted(
        membership=member or new_id(),
        umbrella=UMBRELLA,
        network=network,
        name=name,
        reach="national",
        organisation=None,
        office=None,
    )


def seated(principal: str, person: str) -> membership.SteeringMemberAppointed:
    return membership.SteeringMemberAppointed(
        group=GROUP, network=UMBRELLA, person=person, principal=principal, role="lead", work_stream=None, fte=0.5
    )


def left_seat(principal: str, person: str) -> membership.SteeringMemberStoodDown:
    return membership.SteeringMemberStoodDown(
        group=GROUP,
        network=UMBRELLA,
        person=person,
        principal=principal,
        role="lead",
        work_stream=None,
        because="stood-down",
    )


def opened(*electorate: str, proposal: str = PROPOSAL) -> membership.ProposalOpened:
    return membership.ProposalOpened(
        proposal=proposal,
        umbrella=UMBRELLA,
        title="Counselling for Sam",
        version=1,
        electorate=electorate,
        quorum=1,
        stand_aside_limit="1/3",
        opened_at=clock.now(),
        deadline=datetime.fromisoformat("2026-10-01T17:00:00+01:00"),
    )


def decided(proposal: str = PROPOSAL) -> membership.ProposalDecided:
    return membership.ProposalDecided(
        proposal=proposal,
        umbrella=UMBRELLA,
        title="Counselling for Sam",
        version=1,
        outcome="no-quorum",
        sentence="One of two spoke",
        asked=2,
        spoke=1,
        counts={"consent": 1},
        stances=(),
        closed_at=clock.now(),
    )


@pytest.fixture
def founded(platform: Platform) -> Platform:
    """Two member networks: Treasury with ada and bob, Cardiff with cai; uma is the umbrella's steward."""
    platform.hear(
        registered(UMBRELLA, "Cross-Government Network", "uma"),
        registered(TREASURY, "Treasury Network", "ada", "London"),
        registered(CARDIFF, "Cardiff Network", "cai", "Wales"),
        appointed(TREASURY, "ada"),
        appointed(TREASURY, "bob"),
        appointed(CARDIFF, "cai"),
        admitted(TREASURY, "Treasury Network"),
        admitted(CARDIFF, "Cardiff Network"),
    )
    return platform


# ---- by default ----------------------------------------------------------------------------------------------------


def test_representatives_of_the_networks_asked_hear_that_a_proposal_is_open_and_why_they_are_told(
    founded: Platform,
) -> None:
    founded.hear(opened(TREASURY))
    message = founded.sent("bob")[-1]
    assert message["nats_subject"] == "notifications.v1.delivery.bob.decisions"
    assert message["type"] == "concord.notifications.notice.v1"
    assert message["data"]["sentence"] == (
        "A proposal in Cross-Government Network is open: positions are asked for until 1 October 2026, 16:00 UTC."
    )
    assert message["data"]["why"] == [
        "You represent Treasury Network.",
        "It is one of the networks asked for their position on this proposal.",
        "Representatives are told of decisions unless they unsubscribe from the topic.",
    ]
    assert (message["data"]["about"], message["data"]["network"]) == (PROPOSAL, UMBRELLA)
    assert "decisions" not in {message["data"]["topic"] for message in founded.sent("cai")}


def test_a_decision_reaches_the_author_and_everybody_who_was_asked_also_those_who_left_meanwhile(
    founded: Platform,
) -> None:
    draft = membership.ProposalDrafted(proposal=PROPOSAL, umbrella=UMBRELLA, title="A", text="B", author="dee")
    founded.hear(draft, opened(TREASURY, CARDIFF))
    founded.hear(membership.MemberNetworkWithdrawn(membership=new_id(), umbrella=UMBRELLA, network=CARDIFF))
    founded.hear(decided())
    for principal in ("ada", "cai", "dee"):
        assert founded.told(principal)[-1] == "A proposal in Cross-Government Network is decided: no quorum."
    assert founded.sent("dee")[-1]["data"]["why"][0] == "You wrote this proposal."


def test_nothing_that_is_sent_carries_a_title_a_reason_or_a_figure(founded: Platform) -> None:
    founded.hear(opened(TREASURY, CARDIFF), decided())
    booked = booking()
    cancelled = events.MeetingCancelled(
        meeting=booked.meeting, umbrella=UMBRELLA, reason="Sam is ill", cancelled_at=clock.now()
    )
    founded.hear(booked, cancelled)
    assert founded.told("cai")[-1] == "The meeting of Cross-Government Network in York on 1 October 2026 is cancelled."
    with reading(founded.store) as connection:
        payloads = connection.scalars(select(OUTBOX.c.payload)).all()
    assert not [payload for payload in payloads if b"Sam" in payload or b"One of two" in payload]


def booking() -> events.MeetingBooked:
    return events.MeetingBooked(
        meeting=new_id(),
        umbrella=UMBRELLA,
        plan=new_id(),
        number=1,
        date=date(2026, 10, 1),
        starts_at=clock.now(),
        ends_at=clock.now(),
        venue=new_id(),
        venue_name="Hall",
        place="York",
        region="Yorkshire and The Humber",
        host=new_id(),
        invited=(TREASURY, CARDIFF),
        booked_at=clock.now(),
    )


def test_a_steering_group_hears_of_applications_until_its_members_stand_down(founded: Platform) -> None:
    person, other = new_id(), new_id()
    founded.hear(seated("sue", person), seated("tom", other))
    applied = membership.MembershipAppliedFor(membership=new_id(), umbrella=UMBRELLA, network=new_id())
    founded.hear(applied)
    assert founded.told("sue")[-1] == "A network asks to become a member network of Cross-Government Network."
    founded.hear(left_seat("sue", person))
    assert founded.sent("sue")[-1]["data"]["why"][0] == "This seat was yours."
    before = len(founded.told("sue"))
    founded.hear(membership.MembershipAppliedFor(membership=new_id(), umbrella=UMBRELLA, network=TREASURY))
    assert (len(founded.told("sue")), founded.told("tom")[-1]) == (
        before,
        "Treasury Network asks to become a member network of Cross-Government Network.",
    )


def test_a_work_stream_is_told_to_the_representatives_of_every_member_network(founded: Platform) -> None:
    founded.hear(membership.WorkStreamOpened(group=GROUP, network=UMBRELLA, work_stream=new_id(), name="Sleep"))
    assert founded.sent("cai")[-1]["data"]["why"][0] == (
        "You represent Cardiff Network, a member network of Cross-Government Network."
    )
    assert founded.sent("uma")[-1]["data"]["why"][0] == "You are the steward of Cross-Government Network."


def test_who_no_longer_represents_a_network_hears_no_more_of_it(founded: Platform) -> None:
    person = new_id()
    founded.hear(appointed(TREASURY, "eve", person))
    founded.hear(membership.RepresentativeStoodDown(network=TREASURY, person=person, principal="eve"))
    heard = founded.told("eve")
    assert heard == ["Treasury Network has a new representative.", "Treasury Network has one representative fewer."]
    founded.hear(opened(TREASURY))
    assert founded.told("eve") == heard


def test_a_released_round_is_told_to_data_stewards_and_to_representatives_everywhere(founded: Platform) -> None:
    steward, label = new_id(), {"instrument_name": "people-survey", "label": "2023"}
    named = benchmark.DataStewardNamed(steward=steward, organisation=new_id(), principal="dan")
    founded.hear(named)
    round_ = new_id()
    released = benchmark.RoundReleased(
        round=round_, **label, release=new_id(), respondents=9, shown=5, withheld={}, released_at=clock.now()
    )
    founded.hear(released)
    told = "The round 2023 of people-survey is released: its figures can be asked for."
    assert [founded.told(principal)[-1] for principal in ("dan", "ada", "cai")] == [told] * 3
    removed = benchmark.DataStewardRemoved(steward=steward, organisation=new_id(), principal="dan")
    founded.hear(removed, benchmark.RoundClosed(round=round_, respondents=9, closed_at=clock.now()))
    assert founded.told("dan")[-1] == "An organisation has one data steward fewer."


def test_a_round_that_came_from_a_file_is_told_once_and_never_as_one_to_hand_scores_in(founded: Platform) -> None:
    founded.hear(benchmark.DataStewardNamed(steward=new_id(), organisation=new_id(), principal="dan"))
    before = len(founded.told("dan"))
    measures = (benchmark.Measure(code="B01", wording="I am proud of my work.", unit="%"),)
    rows = tuple(benchmark.SurveyRow(code=f"O{n}", name=f"Office {n}", scores=(50.0 + n,)) for n in range(6))
    survey = people_survey.read(
        benchmark.ImportPeopleSurvey(label="2023", source="Cabinet Office", measures=measures, rows=rows)
    )
    assert not isinstance(survey, Refusal), survey
    imported = people_survey.import_round(survey, None, people_survey.version(survey, new_id()), new_id(), clock.now())
    assert not isinstance(imported, Refusal)
    founded.hear(*imported)
    assert founded.told("dan")[before:] == [
        "The round 2023 of people-survey came from its publisher's file and is closed: nothing to hand in."
    ]


def test_a_round_to_hand_scores_in_is_told_when_it_opens_and_when_it_closes(founded: Platform) -> None:
    founded.hear(benchmark.DataStewardNamed(steward=new_id(), organisation=new_id(), principal="dan"))
    before, round_ = len(founded.told("dan")), new_id()
    instrument = {"instrument": new_id(), "instrument_name": "thriving-at-work"}
    founded.hear(
        benchmark.RoundOpened(round=round_, **instrument, label="2026", opened_at=clock.now()),
        benchmark.RoundClosed(round=round_, respondents=9, closed_at=clock.now()),
    )
    assert founded.told("dan")[before:] == [
        "The round 2026 of thriving-at-work is open: organisations may hand in their scores.",
        "A benchmark round is closed: nothing is handed in any more.",
    ]


# ---- subscriptions -------------------------------------------------------------------------------------------------


def test_somebody_outside_hears_what_they_subscribed_to_and_nothing_else(founded: Platform) -> None:
    reply = founded.send(Subscribe(topic="decisions", network=UMBRELLA), "zoe")
    assert reply["done"]["events"] == ["subscription-made"]
    founded.send(Subscribe(topic="membership", region="Wales"), "zoe")
    founded.hear(opened(TREASURY), booking(), admitted(TREASURY, "Treasury Network"))
    assert [message["data"]["topic"] for message in founded.sent("zoe")] == ["decisions"]
    founded.hear(appointed(CARDIFF, "gwen"))
    assert founded.sent("zoe")[-1]["data"]["why"] == ["You subscribed to membership in the region Wales."]
    leeds = membership.Office(
        place="Leeds", region="Yorkshire and The Humber", nation="England", latitude=53.8, longitude=-1.5
    )
    founded.hear(membership.OfficeMoved(network=CARDIFF, person=None, office=leeds), appointed(CARDIFF, "gareth"))
    assert [message["data"]["topic"] for message in founded.sent("zoe")] == ["decisions", "membership"]
    subscription = reply["done"]["id"]
    assert founded.send(Unsubscribe(subscription=subscription), "zoe")["outcome"] == "done"
    founded.hear(decided())
    assert [message["data"]["topic"] for message in founded.sent("zoe")] == ["decisions", "membership"]


def test_a_subscription_for_a_role_is_met_only_where_the_subscriber_has_it(founded: Platform) -> None:
    for principal in ("cai", "zoe"):
        founded.send(Subscribe(topic="decisions", role="representative"), principal)
    founded.hear(opened(TREASURY))
    assert founded.sent("cai")[-1]["data"]["why"] == ["You subscribed to decisions where you are representative."]
    assert founded.sent("zoe") == []


def test_who_unsubscribes_from_a_topic_is_no_longer_told_by_default(founded: Platform) -> None:
    before = founded.told("bob")
    assert founded.send(Unsubscribe(topic="decisions"), "bob")["done"]["events"] == ["topic-muted"]
    founded.hear(opened(TREASURY))
    assert founded.told("bob") == before
    founded.send(Subscribe(topic="decisions"), "bob")
    founded.hear(decided())
    assert len(founded.told("bob")) == len(before) + 1


def test_subscribing_to_an_unknown_network_is_refused_and_leaves_nothing(founded: Platform) -> None:
    reply = founded.send(Subscribe(topic="decisions", network=new_id()), "zoe")
    assert (reply["outcome"], reply["refusal"]["code"]) == ("refused", "unknown-network")
    assert founded.count(tables.subscribers) == 0


def test_everybody_sees_their_own_subscriptions_defaults_and_mutes(founded: Platform) -> None:
    founded.send(Subscribe(topic="meetings", region="Wales"), "bob")
    founded.send(Unsubscribe(topic="benchmark"), "bob")
    page = founded.ask(ListSubscriptions(), "bob")
    assert [(one.topic, one.region) for one in page.subscriptions] == [("meetings", "Wales")]
    assert page.muted == ("benchmark",)
    [default] = page.by_default
    assert (default.role, default.network, default.network_name) == ("representative", TREASURY, "Treasury Network")
    assert set(default.topics) == {"membership", "steering", "decisions", "meetings"}
    assert founded.ask(ListSubscriptions(), "nobody") == notifications.SubscriptionPage(
        subscriptions=(), by_default=(), muted=()
    )


# ---- sequence and log ----------------------------------------------------------------------------------------------


def test_each_subscriber_has_a_sequence_of_its_own_from_one_without_gaps(founded: Platform) -> None:
    founded.hear(opened(TREASURY), decided())
    founded.hear(booking(), booking())
    for principal in ("ada", "bob", "cai", "uma"):
        messages = founded.sent(principal)
        assert [message["sequence"] for message in messages] == list(range(1, len(messages) + 1))
        assert {message["subject"] for message in messages} == {principal}
        assert len({message["id"] for message in messages}) == len(messages)


def test_an_event_that_comes_again_is_not_told_again(founded: Platform) -> None:
    arrival = founded._event(opened(TREASURY))
    founded._run(arrival)
    before = founded.told("bob")
    founded._run(arrival)
    assert founded.told("bob") == before


def test_the_log_says_who_was_told_what_and_whether_it_is_out_yet(founded: Platform) -> None:
    founded.hear(opened(TREASURY))
    page = founded.ask(ListDeliveries(limit=1), "bob")
    [line] = page.deliveries
    assert (line.subscriber, line.topic, line.state, line.channel) == ("bob", "decisions", "waiting", "nats")
    assert line.sequence == founded.sent("bob")[-1]["sequence"]
    assert line.why[0] == "You represent Treasury Network."
    assert line.event_id == founded.sent("bob")[-1]["causationid"]
    with writing(founded.store) as connection:
        connection.execute(delete(UNSENT))
    assert {line.state for line in founded.ask(ListDeliveries(), "bob").deliveries} == {"published"}


def test_nobody_sees_the_deliveries_of_others_but_an_operator_sees_all_page_by_page(founded: Platform) -> None:
    founded.hear(opened(TREASURY, CARDIFF))
    assert {line.subscriber for line in founded.ask(ListDeliveries(), "bob").deliveries} == {"bob"}
    assert ListAllDeliveries.roles == ("operator",)
    seen: list[tuple[str, int]] = []
    after = None
    for _ in range(founded.count(tables.tellings)):
        page = founded.ask(ListAllDeliveries(limit=2, after=after), "root")
        seen += [(line.subscriber, line.sequence) for line in page.deliveries]
        after = page.next
        if after is None:
            break
    assert len(seen) == len(set(seen)) == founded.count(tables.tellings)
    [of_bob] = founded.ask(ListAllDeliveries(subscriber="bob", topic="decisions"), "root").deliveries
    told_of_it = founded.ask(ListAllDeliveries(event_id=of_bob.event_id), "root").deliveries
    assert {line.subscriber for line in told_of_it} == {"ada", "bob", "cai"}


def test_a_page_that_is_not_of_the_list_is_refused(founded: Platform) -> None:
    answer = founded.ask(ListDeliveries(after="nonsense"), "bob")
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.field) == ("unknown-page", "after")


def test_the_log_forgets_what_is_older_than_is_set_and_nothing_else(founded: Platform) -> None:
    settings = Settings(credentials=Path(__file__), store="sqlite:///its.sqlite", delivery_log_days=100)
    kept = founded.count(tables.announcements)
    with writing(founded.store) as connection:
        oldest = select(tables.announcements.c.id).order_by(tables.announcements.c.id).limit(kept - 1)
        crowd = {"owner": connection.scalar(oldest.limit(1)), "position": 1, "channel": "nats", "why": []}
        many = [{**crowd, "key": f"crowd-{number}"} for number in range(2 * FORGOTTEN_AT_ONCE)]
        connection.execute(tables.tellings.insert(), many)
        lines = connection.scalar(select(func.count()).where(tables.tellings.c.owner.in_(oldest)))
        connection.execute(
            update(tables.announcements)
            .where(tables.announcements.c.id.in_(oldest))
            .values(told_at=clock.now() - timedelta(days=101))
        )
        connection.execute(
            update(tables.announcements)
            .where(tables.announcements.c.id.not_in(oldest))
            .values(told_at=clock.now() - timedelta(days=99))
        )
    with writing(founded.store) as connection:
        forgot = []
        while not forgot or forgot[-1]:
            forgot.append(forget_old_announcements(settings, connection))
    assert sum(forgot) == lines + kept - 1
    assert max(forgot) < FORGOTTEN_AT_ONCE + kept
    assert founded.count(tables.announcements) == 1
    assert founded.count(tables.tellings) == len(founded.ask(ListAllDeliveries(), "root").deliveries) > 0


# ---- fan-out -------------------------------------------------------------------------------------------------------


def test_the_number_of_statements_does_not_grow_with_the_audience(founded: Platform) -> None:
    def crowd(size: int) -> None:
        with writing(founded.store) as connection:
            handles = [f"crowd-{size}-{number}" for number in range(size)]
            connection.execute(tables.subscribers.insert(), [{"id": who, "sequence": 1} for who in handles])
            limits = {"topic": "meetings", "network": None, "region": None, "role": None, "channel": "nats"}
            rows = [{"owner": who, "key": new_id(), "since": clock.now(), **limits} for who in handles]
            connection.execute(tables.subscriptions.insert(), rows)

    def selects_for(said: Event) -> int:
        statements: list[str] = []

        def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
            statements.append(statement)

        event.listen(founded.store, "before_cursor_execute", note)
        founded.hear(said)
        event.remove(founded.store, "before_cursor_execute", note)
        return sum(statement.lstrip().startswith("SELECT") for statement in statements)

    crowd(3)
    few = selects_for(booking())
    crowd(2_000)
    many = selects_for(booking())
    assert many == few <= 20
    assert founded.told("crowd-2000-1999") == ["Cross-Government Network meets in York on 1 October 2026."]
