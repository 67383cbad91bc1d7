"""Instruments and rounds: loaded, opened, answered, closed, audited, released."""

from datetime import datetime, timedelta

from services.benchmark import store
from services.benchmark.domain import instrument, people_survey, round, stewardship
from services.benchmark.domain.disclosure import Audited, Release
from services.benchmark.handlers import linking
from services.benchmark.handlers.surface import on
from services.benchmark.store import INSTRUMENTS, RELEASES, ROUNDS, SUBMISSIONS
from shared.contracts.benchmark import (
    CloseRound,
    ImportPeopleSurvey,
    LoadInstrument,
    OpenRound,
    ReleaseRound,
    SubmitScores,
)
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.tasks import Retries, TaskOutcome
from shared.unit_of_work import Work

AUDIT = "audit-release"

AUDIT_RETRIES = Retries(longest=timedelta(minutes=1), give_up_after=timedelta(minutes=5))
"""Somebody waits for a release: better told soon that it failed, and asked again."""


@on.command(LoadInstrument)
def load_instrument(command: LoadInstrument, work: Work) -> Done | Refusal:
    """Takes in one version of a questionnaire."""
    existing = store.instrument_called(work, command.name, command.version)
    id_ = existing.id if existing else work.new_id()
    return work.save(INSTRUMENTS, id_, instrument.load(existing, command, id_))


@on.command(OpenRound, loads=lambda command: [(INSTRUMENTS, command.instrument)])
def open_round(command: OpenRound, work: Work) -> Done | Refusal:
    """Opens a round of an instrument."""
    used = work.load(INSTRUMENTS, command.instrument)
    same_label = store.round_called(work, used.name, command.label) if used else None
    id_ = work.new_id()
    return work.save(ROUNDS, id_, round.open_round(used, same_label, command, id_, work.now))


@on.command(SubmitScores, loads=lambda command: [(ROUNDS, command.round)])
def submit_scores(command: SubmitScores, work: Work) -> Done | Refusal:
    """Keeps an organisation's scores; the event says that some organisation handed in, and no more."""
    steward = store.steward_called(work, work.principal)
    if refusal := stewardship.may_speak_for(steward, work.principal, command.organisation):
        return refusal
    existing = store.submission_of(work, command.round, command.organisation)
    of = work.load(ROUNDS, command.round)
    used = work.load(INSTRUMENTS, of.instrument) if of else None
    decision = round.submit(of, used, existing, command)
    if not isinstance(decision, Refusal):
        submission = round.submission(existing, command, work.new_id())
        work.put(SUBMISSIONS, submission.id, submission)
    return work.save(ROUNDS, command.round, decision, in_confidence=True)


@on.command(CloseRound, loads=lambda command: [(ROUNDS, command.round)])
def close_round(command: CloseRound, work: Work) -> Done | Refusal:
    """Closes a round."""
    return work.save(ROUNDS, command.round, round.close(work.load(ROUNDS, command.round), command, work.now))


@on.command(ReleaseRound, loads=lambda command: [(ROUNDS, command.round)])
def release_round(command: ReleaseRound, work: Work) -> Done | Refusal:
    """Has a round audited beside the service; no figure of it can be seen before that is through."""
    in_hand = store.in_hand(work, AUDIT, command.round)
    decision = round.start_release(work.load(ROUNDS, command.round), command, work.now, in_hand=in_hand)
    if decision and not isinstance(decision, Refusal):
        linking.link(work, [command.round])
        work.start_task(AUDIT, command.round, {"round": command.round, "asked_at": work.now.isoformat()})
    return work.save(ROUNDS, command.round, decision)


@on.task(AUDIT, run="services.benchmark.auditing:run", retries=AUDIT_RETRIES)
def release_audited(outcome: TaskOutcome, work: Work) -> None:
    """Releases a round as it was audited, or has it audited anew: a release made meanwhile was not looked at."""
    store.lock_rounds_beside(work, outcome.key)
    state = work.load(ROUNDS, outcome.key)
    if state is None:
        raise LookupError(f"{outcome.task} was done for {outcome.key}, which is no round")
    if not round.awaits(state, datetime.fromisoformat(outcome.args["asked_at"])):
        return
    if outcome.error is not None:
        work.save(ROUNDS, state.id, round.fail_release(state, work.now))
        return
    audited = Audited.model_validate(outcome.result)
    if audited.after != store.releases(work, state.instrument_name):
        work.start_task(AUDIT, state.id, outcome.args)
        return
    figures = {figure.key: figure for figure in audited.figures}
    made = Release(id=work.new_id(), round=state.id, places=audited.places, figures=figures)
    work.put(RELEASES, made.id, made)
    work.save(ROUNDS, state.id, round.release(state, made.id, audited.figures, work.now))


@on.command(ImportPeopleSurvey)
def import_people_survey(command: ImportPeopleSurvey, work: Work) -> Done | Refusal:
    """Takes in a whole round from a file, or nothing of it."""
    survey = people_survey.read(command)
    if isinstance(survey, Refusal):
        return survey
    existing = store.round_called(work, instrument.PEOPLE_SURVEY, survey.label)
    used = people_survey.version(survey, work.new_id())
    round_id = existing.id if existing else work.new_id()
    decision = people_survey.import_round(survey, existing, used, round_id, work.now)
    if isinstance(decision, Refusal) or not decision:
        return work.save(ROUNDS, round_id, decision)
    loaded = work.save(INSTRUMENTS, used.id, instrument.load_version(None, used))
    linking.put_all(
        work, [people_survey.submission(survey, row, round_id, work.new_id()) for row in survey.respondents]
    )
    work.set_timer(linking.LINK, "all", due=work.now)
    imported = work.save(ROUNDS, round_id, decision)
    counts = {"organisations": len(survey.respondents), "measures": len(survey.measures)}
    return Done(id=round_id, events=_events(loaded) + _events(imported), counts=counts)


def _events(done: Done | Refusal) -> tuple[str, ...]:
    return done.events if isinstance(done, Done) else ()
