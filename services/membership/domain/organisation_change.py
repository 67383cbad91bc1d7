"""Machinery of government: organisations are renamed, closed, merged and split, and their networks carried over once.

What was signed, decided or recorded before stays as it was said then: it names the organisation of that day, and from
that one the way leads on to its successors. Networks keep their ids, their members, their voices and their memberships.
Who looks after the scores of an organisation is not carried over: the scores of a successor are not theirs to see.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.membership.domain.network import Network
from services.membership.domain.organisation import Organisation, changed, renamed, unknown
from shared.contracts.membership import NetworkCarriedOver, OrganisationClosed, RenameOrganisation
from shared.contracts.message import Event
from shared.refusal import Refusal


@dataclass(frozen=True)
class Succession:
    """Which organisations give work to which, by id. ``homes``: the new home of each network that has a choice."""

    leaving: Sequence[str]
    successors: Sequence[str]
    homes: Mapping[str, str]
    leaving_field: str
    successors_field: str
    goes_on: bool = False


def rename(organisation: Organisation | None, command: RenameOrganisation) -> list[Event] | Refusal:
    """Renames an organisation. Its register, if it has one, may lag behind for as long as it likes."""
    if organisation is None:
        return unknown(command.organisation, "organisation")
    if organisation.closed_at is not None:
        return Refusal(
            code="organisation-closed",
            sentence=f"{organisation.name} is closed and keeps its last name; an open organisation is renamed.",
            field="organisation",
        )
    now = renamed(organisation, command.name)
    if organisation.register_name is not None and command.name != organisation.name:
        listed = organisation.listed_name or organisation.name
        now = now.model_copy(update={"listed_name": None if listed == command.name else listed})
    events = changed(organisation, now.model_copy(update={"abbreviation": command.abbreviation or now.abbreviation}))
    if not events:
        return Refusal(
            code="called-so-already",
            sentence=f"{organisation.name} is called so already; give a name or an abbreviation that is new.",
            field="name",
        )
    return list(events)


def succeed(
    asked: Succession, known: Mapping[str, Organisation], networks: Mapping[str, Network], at: datetime
) -> list[Event] | Refusal:
    """Hands an organisation's networks and its place in history to its successors, and closes it unless it goes on.

    ``known`` holds the organisations named, by id, and ``networks`` those at home in one that is leaving. The events
    are those of the organisations first, and then one for each network carried over.
    """
    for problem in _problems(asked, known, networks):
        return problem
    events: list[Event] = []
    for id_ in asked.leaving:
        before = known[id_]
        successors = tuple(dict.fromkeys((*before.successors, *asked.successors)))
        if asked.goes_on:
            events += changed(before, before.model_copy(update={"successors": successors}))
        else:
            closed_at = before.closed_at or at
            events.append(OrganisationClosed(organisation=id_, successors=successors, closed_at=closed_at))
    for id_ in asked.successors:
        predecessors = tuple(dict.fromkeys((*known[id_].predecessors, *asked.leaving)))
        events += changed(known[id_], known[id_].model_copy(update={"predecessors": predecessors}))
    for network in networks.values():
        home = _new_home(asked, network.id)
        if home is not None and network.organisation is not None:
            carried = NetworkCarriedOver(network=network.id, organisation=home, predecessor=network.organisation)
            events.append(carried)
    return events


def _new_home(asked: Succession, network: str) -> str | None:
    only = asked.successors[0] if len(asked.successors) == 1 and not asked.goes_on else None
    return asked.homes.get(network, only)


def _problems(
    asked: Succession, known: Mapping[str, Organisation], networks: Mapping[str, Network]
) -> Iterator[Refusal]:
    named = [(asked.leaving_field, asked.leaving), (asked.successors_field, asked.successors)]
    for field, ids in named:
        for id_ in ids:
            if id_ not in known:
                yield unknown(id_, field)
                return
    for id_ in asked.leaving:
        yield from _cannot_leave(known[id_], asked)
    for id_ in asked.successors:
        if id_ in asked.leaving:
            yield Refusal(
                code="own-successor",
                sentence=f"{known[id_].name} cannot come after itself; name the organisation that takes over.",
                field=asked.successors_field,
            )
        if known[id_].closed_at is not None:
            yield Refusal(
                code="successor-closed",
                sentence=f"{known[id_].name} is closed and can take over nothing; name an organisation that goes on.",
                field=asked.successors_field,
                data={"successors": list(known[id_].successors)},
            )
    for network, home in asked.homes.items():
        if network not in networks:
            yield Refusal(
                code="not-its-network",
                sentence=f"The network {network} is not at home there; list-networks by organisation shows which are.",
                field=f"networks.{network}",
            )
        elif home not in asked.successors:
            yield Refusal(
                code="not-a-successor",
                sentence=f"{networks[network].name} cannot go to {home}: "
                f"only to one of the successors named, {', '.join(asked.successors) or 'and none is'}.",
                field=f"networks.{network}",
            )
    homeless = [network for network in networks.values() if _new_home(asked, network.id) is None]
    if homeless and asked.successors and not asked.goes_on:
        names = ", ".join(network.name for network in homeless)
        yield Refusal(
            code="network-without-successor",
            sentence=f"Of {len(asked.successors)} successors nothing says which one becomes the home of "
            f"{names}; say so for each in networks.",
            field="networks",
            data={"networks": [network.id for network in homeless]},
        )


def _cannot_leave(organisation: Organisation, asked: Succession) -> Iterator[Refusal]:
    if organisation.closed_at is None:
        return
    if organisation.successors:
        said = "was carried over to its successors already; that happens once"
    elif not asked.successors:
        said = "is closed already; what can still be said is who came after it"
    elif asked.goes_on:
        said = "is closed and does not go on"
    else:
        return
    yield Refusal(
        code="closed-already",
        sentence=f"{organisation.name} {said}.",
        field=asked.leaving_field,
        data={"successors": list(organisation.successors)},
    )
