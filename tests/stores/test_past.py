"""How things stood: what is asked as of a moment is answered as it was right then, on SQLite and PostgreSQL alike."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from services.membership import tables
from services.membership.handlers import on
from services.membership.store import NETWORKS, PAST
from shared import clock
from shared.contracts.membership import (
    AppointRepresentative,
    AppointSteeringMember,
    ListConcerns,
    ListNetworks,
    ListOrganisations,
    ListPartners,
    ListProposals,
    ListRecommendations,
    ListSignatures,
    ListStatements,
    ListSteeringGroups,
    RegisterNetwork,
    ShowProposal,
    StandDownSteeringMember,
    SteeringGroupPage,
)
from shared.contracts.message import Query, contracts
from shared.database import reading, writing
from shared.history import HISTORY, prune_outbox
from shared.outbox import OUTBOX, UNSENT
from shared.past import Past
from shared.refusal import Refusal
from shared.streams import event_stream
from shared.unit_of_work import Aggregate, Reader
from tests.stores.random_story import RandomStory
from tests.stores.test_membership import Service, new_id, service

__all__ = ["service"]  # a fixture

STORIES = range(2)
CHAPTERS = 40


def ask(service: Service, query: Query[Any], now: datetime) -> Any:
    """What a query is answered at a moment: the answer, or the code of a refusal."""
    with reading(service.engine) as connection:
        answer = on.queries[query.wire.name].run(query, Reader(connection, now, "sam"))
    return answer.code if isinstance(answer, Refusal) else answer


def questions(story: RandomStory) -> Iterator[Query[Any]]:
    """Everything that can be asked of the past, in many ways."""
    umbrella = story.one("umbrella")
    yield ListOrganisations()
    yield ListOrganisations(without_network=True, type="executive-agency")
    yield ListOrganisations(parent=story.one("organisation"), limit=2)
    yield ListNetworks(limit=3, after=story.one("network"))
    yield ListNetworks(member_of=umbrella, organisation_type="ministerial-department")
    yield ListNetworks(region="London")
    yield ListSteeringGroups()
    yield ListSteeringGroups(ends_by=clock.now() + timedelta(days=1))
    yield ListProposals(umbrella=umbrella)
    yield ListProposals(awaits=story.one("network"))
    yield ShowProposal(proposal=story.one("proposal"))
    yield ListConcerns(umbrella=umbrella)
    yield ListConcerns(overdue=True)
    yield ListStatements(signed_by=story.one("organisation"))
    yield ListSignatures(statement=story.one("statement"), with_withdrawn=True)
    yield ListRecommendations()
    yield ListRecommendations(late=True)
    yield ListPartners(work_stream=story.one("work-stream"), with_ended=True)


def without_those_who_left(then: SteeringGroupPage, now: SteeringGroupPage) -> SteeringGroupPage:
    """An answer of the past as it may be given in the present."""
    here = {(group.network, seat.role, seat.work_stream, seat.person) for group in now.steering_groups
            for seat in group.steering_group.seats}  # fmt: skip
    lines = []
    for line in then.steering_groups:
        seats = tuple(
            seat
            if (line.network, seat.role, seat.work_stream, seat.person) in here
            else seat.model_copy(update={"person": None, "principal": None, "networks": ()})
            for seat in line.steering_group.seats
        )
        group = line.steering_group.model_copy(update={"seats": seats})
        lines.append(line.model_copy(update={"steering_group": group}))
    return then.model_copy(update={"steering_groups": tuple(lines)})


def prune(service: Service, before: datetime) -> None:
    """As if everything had been sent, and what is older had been pruned."""
    with writing(service.engine) as connection:
        connection.execute(delete(UNSENT))
        prune_outbox(connection, before, 10_000, event_stream("membership"))


def test_every_query_that_takes_a_moment_is_asked_in_these_stories(service: Service) -> None:
    asked = {type(query) for query in questions(RandomStory(service, 0))}
    assert asked == {each for each in contracts("query", "membership") if "as_of" in each.model_fields}


@pytest.mark.parametrize("seed", STORIES)
def test_the_past_is_answered_as_it_was_answered_then(service: Service, seed: int) -> None:
    story, draw = RandomStory(service, seed), Random(seed)  # noqa: S311  a story to repeat
    said: list[tuple[Query[Any], datetime, Any]] = []
    for _ in range(CHAPTERS):
        story.go_on()
        now = clock.now()
        said += [(query, now, ask(service, query, now)) for query in draw.sample(list(questions(story)), 3)]
    prune(service, before=said[len(said) // 2][1])
    assert min(service.count(HISTORY), service.count(OUTBOX)) > 5
    now = clock.now()
    for query, moment, answer in said:
        then = ask(service, query.model_copy(update={"as_of": moment}), now)
        if isinstance(query, ListSteeringGroups):
            present = ask(service, ListSteeringGroups(limit=100), now)
            answer = without_those_who_left(answer, present)  # noqa: PLW2901
        assert then == answer, (query, moment)


def test_a_story_put_together_is_the_state_that_is_kept(service: Service) -> None:
    RandomStory(service, 7).tell(8)
    with reading(service.engine) as connection:
        reader = Reader(connection, clock.now(), "sam")
        past = Past(reader, clock.now(), "membership", PAST)
        every: tuple[Aggregate[Any], ...] = PAST
        for aggregate in every:
            ids = [row.id for row in reader.select(select(aggregate.table.c.id))]
            assert ids
            assert past.load_all(aggregate, ids) == reader.load_all(aggregate, ids)


def test_before_anything_happened_there_was_nothing_and_what_lies_ahead_is_refused(service: Service) -> None:
    before = clock.now()
    umbrella = service.umbrella()
    service.members(umbrella, "leeds")
    proposal = service.proposal(umbrella)
    assert service.ask(ListNetworks(as_of=before)).total == 0
    refused = service.ask(ShowProposal(proposal=proposal, as_of=before))
    assert (refused.code, refused.sentence[:6]) == ("proposal-unknown", "As of ")
    ahead = service.ask(ListNetworks(as_of=clock.now() + timedelta(hours=1)))
    assert (ahead.code, ahead.field) == ("as-of-ahead", "as_of")


def test_who_held_a_seat_and_left_it_is_told_to_nobody_who_asks_of_the_past(service: Service) -> None:
    umbrella = service.umbrella()
    gone, stays = new_id(), new_id()
    for person, principal in ((gone, "gwen"), (stays, "stan")):
        seat = {"network": umbrella, "person": person, "role": "lead"}
        service.do(AppointSteeringMember(**seat, principal=principal, fte=0.4))
    moment = clock.now()
    service.do(StandDownSteeringMember(network=umbrella, person=gone, role="lead"))
    then = service.ask(ListSteeringGroups(as_of=moment)).steering_groups[0].steering_group
    assert (then.total_fte, [seat.fte for seat in then.seats]) == (0.8, [0.4, 0.4])
    assert sorted((seat.person, seat.principal) for seat in then.seats if seat.person) == [(stays, "stan")]
    assert gone not in then.model_dump_json()
    assert "gwen" not in then.model_dump_json()


def test_nothing_of_peer_support_can_be_asked_of_the_past(service: Service) -> None:
    with reading(service.engine) as connection:
        past = Past(Reader(connection, clock.now(), "sam"), clock.now(), "membership", PAST)
        for table in (tables.peer_offers, tables.help_requests, tables.withdrawal_keys):
            with pytest.raises(LookupError):
                past.select(select(table))


def test_an_event_of_before_a_field_existed_is_read_with_what_the_field_says_when_nothing_is_said(
    service: Service,
) -> None:
    umbrella = service.umbrella()
    service.do(AppointSteeringMember(network=umbrella, person=new_id(), principal="lena", role="lead", fte=0.5))
    with writing(service.engine) as connection:
        for row in connection.execute(select(OUTBOX)).all():
            message = json.loads(row.payload)
            for added_later in (
                *("until", "other_names", "former_names", "predecessors"),
                *("networks", "left_with", "forming", "steward_person"),
            ):
                message["data"].pop(added_later, None)
            older = update(OUTBOX).where(OUTBOX.c.position == row.position)
            connection.execute(older.values(payload=json.dumps(message).encode()))
    now = clock.now()
    for query in (ListOrganisations(), ListSteeringGroups()):
        assert ask(service, query.model_copy(update={"as_of": now}), now) == ask(service, query, now)


def test_where_the_clock_was_set_back_a_story_ends_before_the_first_event_that_had_not_happened(
    service: Service,
) -> None:
    network = service.do(RegisterNetwork(name="A", reach="local", organisation=service.organisation()))
    for principal in ("ann", "ben"):
        service.do(AppointRepresentative(network=network, person=new_id(), principal=principal))
    moment = clock.now()
    with writing(service.engine) as connection:
        second = (OUTBOX.c.aggregate == network) & (OUTBOX.c.sequence == 2)
        connection.execute(update(OUTBOX).where(second).values(recorded_at=moment + timedelta(minutes=1)))
    with reading(service.engine) as connection:
        past = Past(Reader(connection, moment, "sam"), moment, "membership", PAST)
        then = past.load(NETWORKS, network)
    assert then is not None
    assert then.representatives == {}
