"""What benchmark hears and does: load, decide, save. What a figure may show is decided in ``domain/disclosure.py``."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from services.benchmark import store
from services.benchmark.domain import disclosure, instrument, organisation, people_survey, round, standing, stewardship
from services.benchmark.domain.disclosure import Audited, Release
from services.benchmark.domain.round import Round
from services.benchmark.domain.scores import Submission
from services.benchmark.store import INSTRUMENTS, ORGANISATIONS, RELEASES, ROUNDS, STEWARDS, SUBMISSIONS
from shared.contracts.benchmark import (
    CloseRound,
    CompareWithPublished,
    DistributionPage,
    ImportPeopleSurvey,
    InstrumentView,
    LinkRespondent,
    ListRespondents,
    ListRounds,
    LoadInstrument,
    Measure,
    NameDataSteward,
    OpenRound,
    PublishedComparison,
    ReleaseRound,
    RemoveDataSteward,
    Respondent,
    RespondentPage,
    RoundPage,
    RoundSummary,
    ShowDistribution,
    ShowInstrument,
    ShowStanding,
    Standing,
    SubmitScores,
)
from shared.contracts.membership import OrganisationChanged, OrganisationRegistered
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.surface import Surface
from shared.tasks import Retries, TaskOutcome
from shared.timers import Timer
from shared.unit_of_work import Reader, Work

on = Surface("benchmark")

LINK = "link-respondents"
AUDIT = "audit-release"

AUDIT_RETRIES = Retries(longest=timedelta(minutes=1), give_up_after=timedelta(minutes=5))
"""Somebody waits for a release: better told soon that it failed, and asked again."""

# Instruments and rounds ---------------------------------------------------------------------------------------------


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
    return work.save(ROUNDS, command.round, decision)


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
        _link(work, [command.round])
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
    _put_all(work, [people_survey.submission(survey, row, round_id, work.new_id()) for row in survey.respondents])
    work.set_timer(LINK, "all", due=work.now)
    imported = work.save(ROUNDS, round_id, decision)
    counts = {"organisations": len(survey.respondents), "measures": len(survey.measures)}
    return Done(id=round_id, events=_events(loaded) + _events(imported), counts=counts)


# Which organisation a row of a file is ------------------------------------------------------------------------------


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
    _link(work, store.rounds_with_unlinked_rows(work))


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


# Data stewards ------------------------------------------------------------------------------------------------------


@on.command(NameDataSteward)
def name_data_steward(command: NameDataSteward, work: Work) -> Done | Refusal:
    """Binds a principal to an organisation."""
    bound = store.steward_called(work, command.principal)
    id_ = bound.id if bound else work.new_id()
    known = work.load(ORGANISATIONS, command.organisation) is not None
    return work.save(STEWARDS, id_, stewardship.name(bound, command, organisation_known=known, new_id=id_))


@on.command(RemoveDataSteward)
def remove_data_steward(command: RemoveDataSteward, work: Work) -> Done | Refusal:
    """Takes the binding back; nothing of it stays but its events."""
    bound = store.steward_called(work, command.principal)
    id_ = bound.id if bound else ""
    done = work.save(STEWARDS, id_, stewardship.remove(bound, command))
    if isinstance(done, Done):
        work.put(STEWARDS, id_, None)
    return done


# Questions ----------------------------------------------------------------------------------------------------------


@on.query(ListRounds)
def list_rounds(query: ListRounds, reader: Reader) -> RoundPage:
    """Rounds, the latest first."""
    found, total = store.page_of_rounds(reader, query)
    page = found[: query.limit]
    return RoundPage(
        rounds=tuple(RoundSummary.model_validate(of.model_dump()) for of in page),
        total=total,
        next=page[-1].id if len(found) > len(page) else None,
    )


@on.query(ShowInstrument)
def show_instrument(query: ShowInstrument, reader: Reader) -> InstrumentView | Refusal:
    """What an instrument measures."""
    found = reader.load(INSTRUMENTS, query.instrument)
    return InstrumentView.model_validate(found.model_dump()) if found else instrument.unknown(query.instrument)


@on.query(ListRespondents)
def list_respondents(query: ListRespondents, reader: Reader) -> RespondentPage | Refusal:
    """The rows of an imported round, without scores."""
    of = reader.load(ROUNDS, query.round)
    if of is None:
        return round.unknown(query.round)
    if of.source is None:
        return round.not_imported(of)
    rows = store.rows(reader, of.id)
    unlinked = [row for row in rows if row.organisation is None]
    return RespondentPage(
        respondents=tuple(
            Respondent(code=row.respondent, name=row.name or "", organisation=row.organisation)
            for row in (unlinked if query.unlinked_only else rows)
        ),
        total=len(rows),
        unlinked=len(unlinked),
    )


@on.query(ShowDistribution)
def show_distribution(query: ShowDistribution, reader: Reader) -> DistributionPage | Refusal:
    """The released figures of one measure."""
    of = _released(reader, query.round)
    if isinstance(of, Refusal):
        return of
    measure = next((m for m in _measures(reader, of) if m.code == query.measure), None)
    if measure is None:
        return instrument.unknown_measure(query.measure, of.instrument)
    figures = store.figures_of_measure(reader, of.release, query.measure, query.by)
    return DistributionPage(
        round=of.id,
        label=of.label,
        measure=measure,
        distributions=tuple(standing.distribution(figure) for figure in figures),
    )


@on.query(ShowStanding)
def show_standing(query: ShowStanding, reader: Reader) -> Standing | Refusal:
    """An organisation's own scores against the released figures, for its data stewards alone."""
    steward = store.steward_called(reader, reader.principal)
    if refusal := stewardship.may_speak_for(steward, reader.principal, query.organisation):
        return refusal
    of = _released(reader, query.round)
    if isinstance(of, Refusal):
        return of
    mine = store.submission_of(reader, of.id, query.organisation)
    me = reader.load(ORGANISATIONS, query.organisation)
    if mine is None or me is None:
        return round.no_scores(of)
    measures = _measures(reader, of)
    place = store.place_at_release(reader, of.release, mine.respondent)
    around = store.figures_around(reader, of.release, place)
    shown = disclosure.own_scores(measures, mine)
    return Standing(
        round=of.id,
        instrument_name=of.instrument_name,
        label=of.label,
        source=of.source,
        released_at=of.released_at,
        organisation=me.id,
        name=me.name,
        type=place.type,
        region=place.region,
        scores=tuple(standing.own(measure, shown[measure.code], around) for measure in measures),
    )


@on.query(CompareWithPublished)
def compare_with_published(query: CompareWithPublished, reader: Reader) -> PublishedComparison | Refusal:
    """Our medians beside the published ones."""
    of = reader.load(ROUNDS, query.round)
    if of is None:
        return round.unknown(query.round)
    if of.source is None:
        return round.not_imported(of)
    compared = standing.compare(_measures(reader, of), store.submissions(reader, of.id), of.published)
    return PublishedComparison(
        round=of.id,
        label=of.label,
        source=of.source,
        respondents=of.respondents,
        reproduced=sum(measure.agrees for measure in compared),
        compared=sum(measure.published is not None for measure in compared),
        measures=tuple(compared),
    )


def _link(work: Work, rounds: Sequence[str]) -> None:
    waiting = {id_: store.rows(work, id_) for id_ in rounds}
    if not waiting:
        return
    known = store.organisations(work)
    found = {row: to for rows in waiting.values() for row, to in organisation.links(rows, known).items()}
    _put_all(work, organisation.linked(work.load_all(SUBMISSIONS, found.keys()).values(), found))


def _measures(work: Work | Reader, of: Round) -> tuple[Measure, ...]:
    used = work.load(INSTRUMENTS, of.instrument)
    if used is None:
        raise LookupError(f"the round {of.id} is of the instrument {of.instrument}, which is not in the store")
    return used.measures


def _released(reader: Reader, id_: str) -> Round | Refusal:
    of = reader.load(ROUNDS, id_)
    if of is None:
        return round.unknown(id_)
    return of if of.state == "released" else round.not_released(of)


def _events(done: Done | Refusal) -> tuple[str, ...]:
    return done.events if isinstance(done, Done) else ()


def _put_all(work: Work, submissions: Iterable[Submission]) -> None:
    for submission in submissions:
        work.put(SUBMISSIONS, submission.id, submission)
