"""Instruments: versioned questionnaires, loaded as data. What one measures must make sense before a score is taken."""

from collections import Counter
from collections.abc import Mapping, Sequence

from pydantic import BaseModel

from services.benchmark.domain.problems import together
from shared.contracts.benchmark import InstrumentLoaded, LoadInstrument, Measure
from shared.contracts.message import Event
from shared.refusal import Refusal

PEOPLE_SURVEY = "people-survey"
"""The name under which People Survey files are kept; each year is a version of its own."""

FEWEST_ANSWERS_TO_A_QUESTION = 2


class Instrument(BaseModel, frozen=True):
    """One version of a questionnaire."""

    id: str
    name: str
    version: str
    title: str
    measures: tuple[Measure, ...]


def load(existing: Instrument | None, command: LoadInstrument, new_id: str) -> list[Event] | Refusal:
    """Takes in a version; ``existing`` is the one already loaded under that name and version."""
    if command.name == PEOPLE_SURVEY:
        return Refusal(
            code="people-survey-comes-from-its-file",
            sentence="The People Survey is taken in from its organisation file with import-people-survey; "
            "load another questionnaire under another name.",
            field="name",
        )
    if problems := measure_problems(command.measures):
        return together("instrument-malformed", f"{command.name} {command.version} was not loaded", problems)
    return load_version(existing, Instrument(id=new_id, **command.model_dump()))


def load_version(existing: Instrument | None, wanted: Instrument) -> list[Event] | Refusal:
    """The same version again changes nothing; another content under the same version is refused."""
    if existing is None:
        return [
            InstrumentLoaded(
                instrument=wanted.id,
                name=wanted.name,
                version=wanted.version,
                title=wanted.title,
                measures=wanted.measures,
            )
        ]
    if existing != wanted.model_copy(update={"id": existing.id}):
        return Refusal(
            code="instrument-version-taken",
            sentence=f"{wanted.name} {wanted.version} is loaded already and says something else; "
            "rounds rest on it, so a changed questionnaire needs a new version.",
            field="version",
            data={"instrument": existing.id},
        )
    return []


def unknown(id_: str) -> Refusal:
    """There is no such instrument."""
    return Refusal(
        code="unknown-instrument",
        sentence=f"No instrument has the id {id_}; load-instrument takes one in, list-rounds names those in use.",
        field="instrument",
    )


def unknown_measure(code: str, id_: str) -> Refusal:
    """The instrument has no such measure."""
    return Refusal(
        code="unknown-measure",
        sentence=f"{code} is no measure of this round's instrument; show-instrument {id_} lists them.",
        field="measure",
        data={"instrument": id_},
    )


def evolve(instrument: Instrument | None, event: Event) -> Instrument:
    """Applies one event."""
    match event:
        case InstrumentLoaded():
            return Instrument(
                id=event.instrument,
                name=event.name,
                version=event.version,
                title=event.title,
                measures=event.measures,
            )
    raise TypeError(f"{type(event).__name__} does not happen to an instrument: {instrument}")


def answers_by_question(measures: Sequence[Measure]) -> Mapping[str, tuple[Measure, ...]]:
    """The questions of an instrument that have several answers, each with the measures that are its answers."""
    questions: dict[str, list[Measure]] = {}
    for measure in measures:
        if measure.question is not None:
            questions.setdefault(measure.question, []).append(measure)
    return {question: tuple(answers) for question, answers in questions.items()}


def measure_problems(measures: Sequence[Measure]) -> list[Refusal]:
    """Everything that is wrong with a list of measures, by field."""
    seen: dict[str, int] = {}
    problems = []
    for index, measure in enumerate(measures):
        first = seen.setdefault(measure.code, index)
        if first != index:
            problems.append(
                Refusal(
                    code="measure-code-twice",
                    sentence=f"Measures {first + 1} and {index + 1} both have the code {measure.code}; "
                    "each needs its own.",
                    field=f"measures.{index}.code",
                )
            )
        if measure.lowest is not None and measure.highest is not None and measure.lowest >= measure.highest:
            problems.append(
                Refusal(
                    code="measure-without-range",
                    sentence=f"{measure.code} goes from {measure.lowest:g} to {measure.highest:g}; "
                    "the lowest score must be below the highest.",
                    field=f"measures.{index}.highest",
                )
            )
    counts = Counter(measure.question for measure in measures)
    for index, measure in enumerate(measures):
        if measure.question is None:
            continue
        if counts[measure.question] < FEWEST_ANSWERS_TO_A_QUESTION:
            problems.append(
                Refusal(
                    code="question-with-one-answer",
                    sentence=f"{measure.code} is the only answer to {measure.question}; "
                    "name the others too, or leave the question out.",
                    field=f"measures.{index}.question",
                )
            )
        if (measure.lowest, measure.highest) != (0, 100):
            problems.append(
                Refusal(
                    code="answer-not-a-percentage",
                    sentence=f"{measure.code} is an answer to {measure.question} and so a percentage: from 0 to 100.",
                    field=f"measures.{index}.highest",
                )
            )
    return problems
