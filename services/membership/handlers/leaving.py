"""What follows when nobody speaks for a network any more, or somebody is gone: memberships lapse and seats end."""

from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from typing import Any

from services.membership import store
from services.membership.domain import membership, network, steering_group
from services.membership.domain.membership import Membership
from services.membership.domain.steering_group import SteeringGroup
from services.membership.store import MEMBERSHIPS, NETWORKS, STEERING_GROUPS
from shared.contracts.message import Event
from shared.refusal import Refusal
from shared.unit_of_work import Aggregate, Work

Decided = list[tuple[Aggregate[Any], str, Sequence[Event]]]


def with_what_follows(
    work: Work, decisions: Mapping[str, Sequence[Event]], *, person: str | None = None, homes: Collection[str] = ()
) -> Decided:
    """What networks decided, by their ids, and all that ends with it: to be saved in this order.

    With ``person`` also the seats of somebody who left the employer that the networks ``homes`` are at home in.
    """
    lapsed: dict[str, list[Membership]] = {}
    ended: Decided = []
    for id_, events in decisions.items():
        after = reduce(network.evolve, events, work.load(NETWORKS, id_))
        if after is None or after.representatives:
            continue
        for each in store.memberships_of(work, id_):
            if lapsing := membership.lapse(each, after):
                lapsed.setdefault(each.umbrella, []).append(each)
                ended.append((MEMBERSHIPS, each.id, lapsing))
    seating = store.umbrellas_seating(work, person) if person else []
    for umbrella in sorted({*lapsed, *seating}):
        found = store.load_umbrella(work, umbrella)
        if isinstance(found, Refusal):
            continue
        _, group = found
        members = store.electorate(work, umbrella)
        vacated = steering_group.end_with_networks(group, [each.network for each in lapsed.get(umbrella, ())], members)
        if person:
            rest: SteeringGroup = reduce(steering_group.evolve, vacated, group)
            vacated += steering_group.end_with_person(rest, person, homes, members)
        ended.append((STEERING_GROUPS, group.id, vacated))
    return [*((NETWORKS, id_, events) for id_, events in decisions.items()), *ended]


def save(work: Work, decided: Decided) -> tuple[str, ...]:
    """Saves what was decided; the names of the events, in order."""
    for aggregate, id_, events in decided:
        work.save(aggregate, id_, events)
    return tuple(event.wire.name for _, _, events in decided for event in events)


def save_without_cause(work: Work, decided: Decided) -> None:
    """Saves what was decided so that nobody reads out of it what it came from, nor that it came of one and the same.

    Each event names a cause, so each thing gets one that nobody ever sent, as for a sealed command.
    """
    for aggregate, id_, events in decided:
        work.envelope = work.envelope._replace(id=work.new_id(), correlationid=None, traceparent=None)
        work.save(aggregate, id_, events, in_confidence=True)
