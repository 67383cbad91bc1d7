"""What an organisation may hand in, and which zeros are none."""

import pytest

from services.benchmark.domain.scores import not_asked, score_problems
from shared.contracts.benchmark import Measure

ENGAGEMENT = Measure(code="EES", wording="Engagement", unit="index")
RATE = Measure(code="response_rate", wording="Response rate", unit="%", highest=None)
REPORTED = [
    Measure(code=f"E05_{a}", wording="Did you report it?", unit=f"% {a}", question="E05") for a in ("yes", "no", "pnts")
]
MEASURES = [ENGAGEMENT, RATE, *REPORTED]


def codes(scores: dict[str, float | None]) -> list[tuple[str, str | None]]:
    return [(problem.code, problem.field) for problem in score_problems(MEASURES, scores)]


def test_scores_within_their_range_are_taken() -> None:
    assert codes({"EES": 0.0, "response_rate": 103.398, "E05_yes": 40, "E05_no": 45.5, "E05_pnts": 14.5}) == []


@pytest.mark.parametrize("score", [-0.1, 100.1])
def test_a_score_outside_its_range_is_refused_with_the_range(score: float) -> None:
    [problem] = score_problems(MEASURES, {"EES": score})
    assert problem.code == "score-out-of-range"
    assert "from 0 to 100" in problem.sentence


def test_a_measure_the_instrument_does_not_have_is_refused() -> None:
    assert codes({"B99": 5.0}) == [("unknown-measure", "B99")]


def test_all_problems_are_told_at_once() -> None:
    assert codes({"EES": 101, "response_rate": -1, "B99": 5}) == [
        ("unknown-measure", "B99"),
        ("score-out-of-range", "EES"),
        ("score-out-of-range", "response_rate"),
    ]


@pytest.mark.parametrize(
    "answers",
    [(40, 45, 20), (40, 45, 10), (90, 45, None)],
)
def test_answers_to_one_question_that_cannot_add_up_are_refused(answers: tuple[float | None, ...]) -> None:
    scores = dict(zip(("E05_yes", "E05_no", "E05_pnts"), answers, strict=True))
    assert codes(scores) == [("answers-do-not-add-up", "E05_yes")]


@pytest.mark.parametrize("answers", [(38.461, 46.154, 15.384), (0, 0, 0), (40, None, None), (None, None, None)])
def test_answers_may_be_off_by_rounding_be_put_to_nobody_or_lack_some(answers: tuple[float | None, ...]) -> None:
    assert codes(dict(zip(("E05_yes", "E05_no", "E05_pnts"), answers, strict=True))) == []


def test_answers_that_are_all_zero_were_put_to_nobody() -> None:
    assert not_asked(MEASURES, {"EES": 0, "E05_yes": 0, "E05_no": 0, "E05_pnts": 0}) == {
        "E05_yes",
        "E05_no",
        "E05_pnts",
    }


def test_a_zero_beside_another_answer_is_a_score() -> None:
    assert not_asked(MEASURES, {"E05_yes": 0, "E05_no": 100, "E05_pnts": 0}) == frozenset()


def test_zeros_beside_a_suppressed_answer_are_scores_as_far_as_anyone_can_tell() -> None:
    assert not_asked(MEASURES, {"E05_yes": 0, "E05_no": 0, "E05_pnts": None}) == frozenset()
