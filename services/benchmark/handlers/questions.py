"""What is asked of benchmark, and what may be shown."""

from services.benchmark import store
from services.benchmark.domain import disclosure, instrument, round, standing, stewardship
from services.benchmark.domain.round import Round
from services.benchmark.handlers.surface import on
from services.benchmark.store import INSTRUMENTS, ORGANISATIONS, ROUNDS
from shared.contracts.benchmark import (
    CompareWithPublished,
    DistributionPage,
    InstrumentView,
    ListRespondents,
    ListRounds,
    Measure,
    PublishedComparison,
    Respondent,
    RespondentPage,
    RoundPage,
    RoundSummary,
    ShowDistribution,
    ShowInstrument,
    ShowStanding,
    Standing,
)
from shared.refusal import Refusal
from shared.unit_of_work import Reader, Work


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
