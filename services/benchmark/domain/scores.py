"""An organisation's scores in one round: what may be handed in, and which of them mean nothing.

A score that is not known is missing, never zero. That includes a zero that was never measured: where the answers to a
question add up to nothing, nobody was asked it, since the answers of even one person add up to 100.
"""

from collections.abc import Iterator, Mapping, Sequence

from pydantic import BaseModel

from services.benchmark.domain.instrument import answers_by_question
from shared.contracts.benchmark import Measure
from shared.refusal import Refusal

WHOLE = 100.0
"""What the answers to one question add up to, in per cent."""

ROUNDING = 0.1
"""How far rounding may take that sum from the whole."""


LARGEST = 1e9
"""How far from zero a score may lie where its measure sets no bound. Figures of far larger ones cannot be computed
exactly, and a single organisation would keep the whole round from being released."""


class Submission(BaseModel, frozen=True):
    """What one organisation handed in, or what a survey file says of it.

    ``respondent`` is what it is called within the instrument, the same in every round: its code in the survey file, or
    its organisation id. ``scores`` and ``answers`` go by measure code; ``answers`` says how many people a score comes
    from, where that is known.
    """

    id: str
    round: str
    respondent: str
    name: str | None = None
    organisation: str | None
    scores: dict[str, float | None]
    answers: dict[str, int] = {}


def score_problems(measures: Sequence[Measure], scores: Mapping[str, float | None]) -> Iterator[Refusal]:
    """Everything wrong with one organisation's scores; ``field`` is the code of the measure."""
    known = {measure.code for measure in measures}
    for code in scores:
        if code not in known:
            yield Refusal(
                code="unknown-measure",
                sentence=f"{code} is no measure of this instrument; show-instrument lists them.",
                field=code,
            )
    for measure in measures:
        score = scores.get(measure.code)
        if score is not None and not _within(measure, score):
            yield Refusal(
                code="score-out-of-range",
                sentence=f"{measure.code} is {score:g}; {_range(measure)}.",
                field=measure.code,
            )
    for question, answers in answers_by_question(measures).items():
        yield from _sum_problems(question, answers, scores)


def not_asked(measures: Sequence[Measure], scores: Mapping[str, float | None]) -> frozenset[str]:
    """The measures whose zeros mean that nobody was asked: all answers to the question are known, and all are zero."""
    return frozenset(
        answer.code
        for answers in answers_by_question(measures).values()
        if all(scores.get(answer.code) == 0 for answer in answers)
        for answer in answers
    )


def _within(measure: Measure, score: float) -> bool:
    lowest, highest = bounds(measure)
    return lowest <= score <= highest


def _range(measure: Measure) -> str:
    lowest, highest = bounds(measure)
    return f"it goes from {lowest:,.12g} to {highest:,.12g}"


def bounds(measure: Measure) -> tuple[float, float]:
    """The lowest and the highest score that is taken; none beyond ``LARGEST``, whatever the measure says."""
    lowest = -LARGEST if measure.lowest is None else measure.lowest
    highest = LARGEST if measure.highest is None else measure.highest
    return max(-LARGEST, min(LARGEST, lowest)), max(-LARGEST, min(LARGEST, highest))


def _sum_problems(question: str, answers: Sequence[Measure], scores: Mapping[str, float | None]) -> Iterator[Refusal]:
    given = [scores.get(answer.code) for answer in answers]
    total = sum(score for score in given if score is not None)
    complete = None not in given
    if total > WHOLE + ROUNDING or (complete and 0 < total < WHOLE - ROUNDING):
        yield Refusal(
            code="answers-do-not-add-up",
            sentence=f"The answers to {question} ({', '.join(answer.code for answer in answers)}) add up to "
            f"{total:g}; they add up to {WHOLE:g}, or to 0 where nobody was asked, "
            "and to less only where one of them is not known.",
            field=answers[0].code,
        )
