"""Which organisation a row of a file is: by a certain name, or by an operator's word."""

from collections.abc import Iterable, Sequence

from services.benchmark import store
from services.benchmark.domain import organisation, round
from services.benchmark.domain.scores import Submission
from services.benchmark.handlers.surface import on
from services.benchmark.store import ORGANISATIONS, ROUNDS, SUBMISSIONS
from shared.contracts.benchmark import LinkRespondent
from shared.contracts.membership import OrganisationChanged, OrganisationRegistered
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.timers import Timer
from shared.unit_of_work import Work

LINK = "link-respondents"


@on.event(OrganisationRegistered, loads=lambda event: [(ORGANISATIONS, event.organisation)])
@on.event(OrganisationChanged, loads=lambda event: [(ORGANISATIONS, event.organisation)])
def organisation_told(event: OrganisationRegistered, work: Work) -> None:
    """Keeps our copy; rows that were waiting for such a name are looked at once the batch is through."""
    before = work.load(ORGANISATIONS, event.organisation)
    work.put(ORGANISATIONS, event.organisation, organisation.as_told(event, before))
    work.set_timer(LINK, "all", due=work.now)


@on.timer(LINK)
def link_respondents(timer: Timer, work: Work) -> None:  # noqa: ARG001  there is one such timer
    """Links every row whose name is certain, in every round."""
    link(work, store.rounds_with_unlinked_rows(work))


@on.command(LinkRespondent, loads=lambda command: [(ROUNDS, command.round)])
def link_respondent(command: LinkRespondent, work: Work) -> Done | Refusal:
    """Links a row by an operator's word."""
    rows = store.rows(work, command.round)
    known = work.load(ORGANISATIONS, command.organisation) is not None
    decision = round.link(work.load(ROUNDS, command.round), rows, command, organisation_known=known)
    if isinstance(decision, list) and decision:
        row = next(row for row in rows if row.respondent == command.respondent)
        submission = work.load_all(SUBMISSIONS, [row.id])[row.id]
        work.put(SUBMISSIONS, row.id, submission.model_copy(update={"organisation": command.organisation}))
    return work.save(ROUNDS, command.round, decision)


def link(work: Work, rounds: Sequence[str]) -> None:
    waiting = {id_: store.rows(work, id_) for id_ in rounds}
    if not waiting:
        return
    # A register holds tens of thousands, of which these rows name a few.
    names = {organisation.plain_name(row.name) for rows in waiting.values() for row in rows if row.name}
    known = store.organisations_called(work, names)
    found = {row: to for rows in waiting.values() for row, to in organisation.links(rows, known).items()}
    put_all(work, organisation.linked(work.load_all(SUBMISSIONS, found.keys()).values(), found))


def put_all(work: Work, submissions: Iterable[Submission]) -> None:
    for submission in submissions:
        work.put(SUBMISSIONS, submission.id, submission)
