"""Rounds: one running of an instrument. Open, then closed, then released; there is no way back."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel

from services.benchmark.domain import organisation
from services.benchmark.domain.disclosure import MIN_ORGANISATIONS, Figure
from services.benchmark.domain.instrument import PEOPLE_SURVEY, Instrument
from services.benchmark.domain.instrument import unknown as instrument_unknown
from services.benchmark.domain.organisation import Row
from services.benchmark.domain.problems import together
from services.benchmark.domain.scores import Submission, score_problems
from shared.contracts.benchmark import (
    CloseRound,
    LinkRespondent,
    OpenRound,
    ReleaseRound,
    RespondentLinked,
    RoundClosed,
    RoundOpened,
    RoundReleased,
    RoundReleaseFailed,
    RoundReleaseStarted,
    RoundState,
    ScoresImported,
    ScoresSubmitted,
    SubmitScores,
)
from shared.contracts.message import Event
from shared.refusal import Refusal


class Round(BaseModel, frozen=True):
    """One running of an instrument. ``published`` are its publisher's medians, kept for comparison only."""

    id: str
    instrument: str
    instrument_name: str
    label: str
    state: RoundState
    respondents: int = 0
    source: str | None = None
    content: str | None = None
    published: dict[str, float] = {}
    opened_at: datetime
    closed_at: datetime | None = None
    release_asked_at: datetime | None = None
    release_failed_at: datetime | None = None
    released_at: datetime | None = None
    release: str | None = None


def open_round(
    instrument: Instrument | None, same_label: Round | None, command: OpenRound, new_id: str, at: datetime
) -> list[Event] | Refusal:
    """Opens a round; ``same_label`` is a round of the instrument, in any version, that has the label already."""
    if instrument is None:
        return instrument_unknown(command.instrument)
    if instrument.name == PEOPLE_SURVEY:
        return Refusal(
            code="people-survey-comes-from-its-file",
            sentence="A People Survey round is opened and filled by import-people-survey, from its organisation file.",
            field="instrument",
        )
    if same_label is not None:
        return _label_taken(same_label)
    return [
        RoundOpened(
            round=new_id,
            instrument=instrument.id,
            instrument_name=instrument.name,
            label=command.label,
            opened_at=at,
        )
    ]


def submit(
    round_: Round | None, instrument: Instrument | None, existing: Submission | None, command: SubmitScores
) -> list[Event] | Refusal:
    """Takes an organisation's scores in; ``existing`` is what it handed in before, which they replace."""
    if round_ is None or instrument is None:
        return unknown(command.round)
    if round_.state != "open":
        return Refusal(
            code="round-not-open",
            sentence=f"The round {round_.label} is {round_.state}; scores are handed in and changed while it is open.",
            field="round",
        )
    values = {code: score.value for code, score in command.scores.items()}
    problems = [
        problem.model_copy(update={"field": f"scores.{problem.field}"})
        for problem in score_problems(instrument.measures, values)
    ]
    if problems:
        return together("scores-malformed", "The scores were not taken in", problems)
    amended = existing is not None
    return [ScoresSubmitted(round=round_.id, respondents=round_.respondents + (not amended), amended=amended)]


def submission(existing: Submission | None, command: SubmitScores, new_id: str) -> Submission:
    """What is kept of the scores an organisation handed in."""
    return Submission(
        id=existing.id if existing else new_id,
        round=command.round,
        respondent=command.organisation,
        organisation=command.organisation,
        scores={code: score.value for code, score in command.scores.items()},
        answers={code: score.answers for code, score in command.scores.items() if score.answers is not None},
    )


def close(round_: Round | None, command: CloseRound, at: datetime) -> list[Event] | Refusal:
    """Closes a round; closing a closed one changes nothing."""
    if round_ is None:
        return unknown(command.round)
    if round_.state != "open":
        return []
    return [RoundClosed(round=round_.id, respondents=round_.respondents, closed_at=at)]


def start_release(round_: Round | None, command: ReleaseRound, at: datetime, *, in_hand: bool) -> list[Event] | Refusal:
    """Has a round put through the gate: once, when it is closed and has organisations enough to show anything.

    ``in_hand`` says that its audit is on its way; one that was asked for and is no longer on its way is begun anew.
    """
    if round_ is None:
        return unknown(command.round)
    if round_.state == "released" or in_hand:
        return []
    if round_.state == "open":
        return Refusal(
            code="round-still-open",
            sentence=f"The round {round_.label} is open, and a figure that leaves may not change; close it first.",
            field="round",
        )
    if round_.respondents < MIN_ORGANISATIONS:
        return Refusal(
            code="too-few-organisations",
            sentence=f"The round {round_.label} holds the scores of {round_.respondents} organisations; "
            f"figures leave from {MIN_ORGANISATIONS} on, so there is nothing to release.",
            field="round",
            data={"respondents": round_.respondents, "at_least": MIN_ORGANISATIONS},
        )
    return [RoundReleaseStarted(round=round_.id, asked_at=at)]


def awaits(round_: Round, asked_at: datetime) -> bool:
    """Whether a round waits for the audit that was asked for then, and for no other."""
    return round_.state == "closed" and round_.release_asked_at == asked_at


def fail_release(round_: Round, at: datetime) -> list[Event]:
    """Gives up a release that cannot be finished; why is no matter of the event, since an error may quote a score."""
    return [RoundReleaseFailed(round=round_.id, failed_at=at)]


def release(round_: Round, release_id: str, figures: Sequence[Figure], at: datetime) -> list[Event]:
    """Says what left: how many figures, and how many were withheld for which reason."""
    withheld = Counter(figure.withheld for figure in figures if figure.withheld is not None)
    return [
        RoundReleased(
            round=round_.id,
            instrument_name=round_.instrument_name,
            label=round_.label,
            release=release_id,
            respondents=round_.respondents,
            shown=len(figures) - withheld.total(),
            withheld=dict(sorted(withheld.items())),
            released_at=at,
        )
    ]


def link(
    round_: Round | None,
    rows: Sequence[Row],
    command: LinkRespondent,
    *,
    organisation_known: bool,
) -> list[Event] | Refusal:
    """Says which organisation a row of the file is; ``rows`` are those with that code or that organisation already."""
    if round_ is None:
        return unknown(command.round)
    row = next((row for row in rows if row.respondent == command.respondent), None)
    if row is None:
        return Refusal(
            code="unknown-respondent",
            sentence=f"The round {round_.label} has no row {command.respondent}; list-respondents shows those it has.",
            field="respondent",
        )
    if not organisation_known:
        return organisation.unknown(command.organisation)
    if row.organisation == command.organisation:
        return []
    return _taken(row, rows, command) or [RespondentLinked(round=round_.id)]


def _taken(row: Row, rows: Sequence[Row], command: LinkRespondent) -> Refusal | None:
    if row.organisation is not None:
        return Refusal(
            code="respondent-linked-already",
            sentence=f"{command.respondent} is known to be another organisation, whose stewards may have seen the "
            "scores; a link is not moved.",
            field="respondent",
            data={"organisation": row.organisation},
        )
    if other := next((other for other in rows if other.organisation == command.organisation), None):
        return Refusal(
            code="one-row-an-organisation",
            sentence=f"The row {other.respondent} is that organisation already, and each has one row.",
            field="organisation",
            data={"respondent": other.respondent},
        )
    return None


def unknown(id_: str) -> Refusal:
    """There is no such round."""
    return Refusal(code="unknown-round", sentence=f"No round has the id {id_}; list-rounds shows them.", field="round")


def not_released(round_: Round) -> Refusal:
    """Its figures have not left yet."""
    state = "being released" if round_.release_asked_at else round_.state
    return Refusal(
        code="round-not-released",
        sentence=f"The round {round_.label} is {state}; its figures can be asked for once it is released.",
        field="round",
    )


def not_imported(round_: Round) -> Refusal:
    """It did not come from a file."""
    return Refusal(
        code="round-not-imported",
        sentence=f"The round {round_.label} was handed in by its organisations; this can be asked of a round that "
        "import-people-survey took in.",
        field="round",
    )


def no_scores(round_: Round) -> Refusal:
    """The organisation that asks has no scores in it."""
    return Refusal(
        code="no-scores",
        sentence=f"The round {round_.label} holds no scores known to be this organisation's. If it took part under "
        "another name, an operator can say so with link-respondent.",
        field="organisation",
    )


def _label_taken(same: Round) -> Refusal:
    return Refusal(
        code="round-label-taken",
        sentence=f"There is a round {same.label} of {same.instrument_name} already; give the new one another label.",
        field="label",
        data={"round": same.id},
    )


def evolve(round_: Round | None, event: Event) -> Round:
    """Applies one event."""
    match event, round_:
        case RoundOpened(), None:
            return Round(
                id=event.round,
                instrument=event.instrument,
                instrument_name=event.instrument_name,
                label=event.label,
                state="open",
                opened_at=event.opened_at,
            )
        case _, Round():
            return round_.model_copy(update=_changes(event))
    raise TypeError(f"{type(event).__name__} does not happen to {round_}")


def _changes(event: Event) -> dict[str, object]:
    changes: dict[str, object] = {}
    match event:
        case ScoresSubmitted():
            changes = {"respondents": event.respondents}
        case ScoresImported():
            changes = event.model_dump(include={"respondents", "source", "content", "published"})
        case RoundClosed():
            changes = {"state": "closed", "closed_at": event.closed_at}
        case RoundReleaseStarted():
            changes = {"release_asked_at": event.asked_at, "release_failed_at": None}
        case RoundReleaseFailed():
            changes = {"release_asked_at": None, "release_failed_at": event.failed_at}
        case RoundReleased():
            changes = {"state": "released", "released_at": event.released_at, "release": event.release}
        case RespondentLinked():
            pass
        case _:
            raise TypeError(f"{type(event).__name__} does not happen to a round")
    return changes
