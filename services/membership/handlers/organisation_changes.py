"""Machinery of government: organisations renamed, closed, merged and split, and what can be asked of it."""

from collections.abc import Iterable

from services.membership import store
from services.membership.domain import organisation, organisation_change
from services.membership.domain.organisation_change import Succession
from services.membership.handlers.surface import on
from services.membership.store import NETWORKS, ORGANISATIONS
from shared.contracts.membership import (
    CloseOrganisation,
    MergeOrganisations,
    NetworkCarriedOver,
    OrganisationStory,
    RenameOrganisation,
    ShowOrganisation,
    SplitOrganisation,
)
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.unit_of_work import Place, Reader, Work

Change = CloseOrganisation | MergeOrganisations | SplitOrganisation


@on.command(RenameOrganisation, loads=lambda command: [(ORGANISATIONS, command.organisation)])
def rename_organisation(command: RenameOrganisation, work: Work) -> Done | Refusal:
    state = work.load(ORGANISATIONS, command.organisation)
    return work.save(ORGANISATIONS, command.organisation, organisation_change.rename(state, command))


def _named(command: Change) -> Iterable[Place]:
    asked = _asked(command)
    return [(ORGANISATIONS, id_) for id_ in (*asked.leaving, *asked.successors)]


@on.command(CloseOrganisation, loads=_named)
def close_organisation(command: CloseOrganisation, work: Work) -> Done | Refusal:
    return _carry_over(command, work)


@on.command(MergeOrganisations, loads=_named)
def merge_organisations(command: MergeOrganisations, work: Work) -> Done | Refusal:
    return _carry_over(command, work)


@on.command(SplitOrganisation, loads=_named)
def split_organisation(command: SplitOrganisation, work: Work) -> Done | Refusal:
    return _carry_over(command, work)


def _asked(command: Change) -> Succession:
    match command:
        case CloseOrganisation():
            after = tuple(dict.fromkeys(command.successors))
            return Succession((command.organisation,), after, command.networks, "organisation", "successors")
        case MergeOrganisations():
            leaving = tuple(dict.fromkeys(command.organisations))
            return Succession(leaving, (command.into,), {}, "organisations", "into")
        case SplitOrganisation():
            leaving, after = (command.organisation,), tuple(dict.fromkeys(command.into))
            return Succession(leaving, after, command.networks, "organisation", "into", goes_on=command.goes_on)


def _carry_over(command: Change, work: Work) -> Done | Refusal:
    asked = _asked(command)
    known = work.load_all(ORGANISATIONS, sorted({*asked.leaving, *asked.successors}))
    networks = store.at_home_in(work, asked.leaving)
    decision = organisation_change.succeed(asked, known, networks, work.now)
    if isinstance(decision, Refusal):
        return decision
    for event in decision:
        if isinstance(event, NetworkCarriedOver):
            work.save(NETWORKS, event.network, [event])
        else:
            work.save(ORGANISATIONS, event.aggregate, [event])
    names = tuple(dict.fromkeys(event.wire.name for event in decision))
    carried = sum(isinstance(event, NetworkCarriedOver) for event in decision)
    counts = {"networks_carried_over": carried, "networks_left_where_they_are": len(networks) - carried}
    about = asked.successors[0] if isinstance(command, MergeOrganisations) else asked.leaving[0]
    return Done(id=about, events=names, counts=counts)


@on.query(ShowOrganisation)
def show_organisation(query: ShowOrganisation, reader: Reader) -> OrganisationStory | Refusal:
    return store.organisation_story(reader, query.organisation) or organisation.unknown(
        query.organisation, "organisation"
    )
