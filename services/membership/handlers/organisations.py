"""Organisations: registered by hand or from a register, listed and found."""

from collections.abc import Mapping

from services.membership import store
from services.membership.domain import organisation, organisation_name, organisation_register
from services.membership.domain.organisation import Organisation
from services.membership.domain.organisation_name import Candidate
from services.membership.handlers.surface import on
from services.membership.store import ORGANISATIONS, PAST
from shared.contracts.membership import (
    FindOrganisation,
    ImportOrganisations,
    ListOrganisations,
    MatchOrganisation,
    OrganisationCandidate,
    OrganisationCandidates,
    OrganisationListed,
    OrganisationMatches,
    OrganisationPage,
    RegisterOrganisation,
)
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.unit_of_work import Reader, Work


@on.command(RegisterOrganisation)
def register_organisation(command: RegisterOrganisation, work: Work) -> Done | Refusal:
    taken = store.with_key(work, command.key)
    known = work.load_all(ORGANISATIONS, [*command.parents, *([taken] if taken else [])])
    id_ = work.new_id()
    return work.save(ORGANISATIONS, id_, organisation.register(command, id_, known))


@on.command(ImportOrganisations)
def import_organisations(command: ImportOrganisations, work: Work) -> Done | Refusal:
    return _take_in(command, work)


@on.inbound(OrganisationListed)
def organisation_listed(message: OrganisationListed, work: Work) -> Refusal | None:
    """A register that publishes is asked to keep the rules of a file, for a file of one row."""
    taken = _take_in(ImportOrganisations(register_name=work.principal, rows=(message.organisation,)), work)
    return taken if isinstance(taken, Refusal) else None


def _take_in(command: ImportOrganisations, work: Work) -> Done | Refusal:
    known = store.concerned_by(work, command.rows)
    intake = organisation_register.take_in(command, known, [work.new_id() for _ in command.rows])
    if isinstance(intake, Refusal):
        return intake
    work.load_all(ORGANISATIONS, [event.organisation for event in intake.events])
    for event in intake.events:
        work.save(ORGANISATIONS, event.organisation, [event])
    return Done(events=tuple(sorted({event.wire.name for event in intake.events})), counts=intake.counts)


@on.query(ListOrganisations, as_of_from=PAST)
def list_organisations(query: ListOrganisations, reader: Reader) -> OrganisationPage:
    return store.organisation_page(reader, query)


@on.query(FindOrganisation)
def find_organisation(query: FindOrganisation, reader: Reader) -> OrganisationMatches:
    return store.organisations_called(reader, query)


@on.query(MatchOrganisation)
def match_organisation(query: MatchOrganisation, reader: Reader) -> OrganisationCandidates:
    _, known, names = store.register(reader)
    candidates = names.candidates(query.text)
    certain = organisation_name.certain(candidates, known)
    return OrganisationCandidates(
        answer=organisation_name.in_words(candidates, known),
        certain=certain.organisation if certain else None,
        candidates=tuple(_candidate(each, known) for each in candidates[: organisation_name.MAX_CANDIDATES]),
    )


def _candidate(candidate: Candidate, known: Mapping[str, Organisation]) -> OrganisationCandidate:
    found = known[candidate.organisation]
    said = found.model_dump(include={"name", "key", "closed_at", "id"})
    return OrganisationCandidate(score=candidate.score, by=candidate.by, matched=candidate.text, **said)
