"""Where a score lies in a distribution, and how our medians compare with published ones."""

import pytest

from services.benchmark.domain import standing
from services.benchmark.domain.disclosure import Figure
from services.benchmark.domain.scores import Submission
from shared.contracts.benchmark import Distribution, Measure, MeasureComparison

WORK = Measure(code="B01", wording="Interested", unit="%", decimals=3)
REPORTED = tuple(
    Measure(code=f"E05_{a}", wording="Reported it?", unit=f"% {a}", question="E05", decimals=3) for a in ("yes", "no")
)
QUARTILES = Figure(
    measure="B01", by="all", group=None, organisations=40, median=80, lower_quartile=70, upper_quartile=90
)
MEDIAN_ALONE = Figure(
    measure="B01",
    by="all",
    group=None,
    organisations=9,
    median=80,
    quartiles_withheld="fewer-than-twenty-organisations",
)


@pytest.mark.parametrize(
    ("score", "position"),
    [
        (69.9, "below-lower-quartile"),
        (70, "between-lower-quartile-and-median"),
        (79.9, "between-lower-quartile-and-median"),
        (80, "at-median"),
        (80.1, "between-median-and-upper-quartile"),
        (90, "between-median-and-upper-quartile"),
        (90.1, "above-upper-quartile"),
    ],
)
def test_a_score_has_a_position_among_the_figures_shown(score: float, position: str) -> None:
    assert standing.position(score, standing.distribution(QUARTILES)) == position


@pytest.mark.parametrize(("score", "position"), [(79, "below-median"), (80, "at-median"), (81, "above-median")])
def test_without_quartiles_it_lies_on_a_side_of_the_median(score: float, position: str) -> None:
    assert standing.position(score, standing.distribution(MEDIAN_ALONE)) == position


def test_a_withheld_score_or_figure_gives_no_position() -> None:
    withheld = Figure(measure="B01", by="all", group=None, withheld="fewer-than-five-organisations")
    assert standing.position(80, standing.distribution(withheld)) is None
    assert standing.position(None, standing.distribution(QUARTILES)) is None


def test_a_withheld_figure_says_why_in_words_and_is_never_zero() -> None:
    withheld = Figure(measure="B01", by="all", group=None, withheld="fewer-than-five-organisations")
    said = standing.distribution(withheld)
    assert isinstance(said, Distribution)
    assert said.withheld is not None
    assert "Fewer than 5 organisations" in said.withheld.sentence
    assert (said.median, said.organisations) == (None, None)


def test_an_own_score_lies_against_all_and_against_its_peers_where_they_are_known() -> None:
    peers = MEDIAN_ALONE.model_copy(update={"by": "type", "group": "council", "median": 95})
    own = standing.own(WORK, 85.0, {("B01", "all"): QUARTILES, ("B01", "type"): peers})
    assert own.everyone.position == "between-median-and-upper-quartile"
    assert own.same_type is not None
    assert own.same_type.position == "below-median"
    assert own.same_region is None


def test_an_own_score_that_is_withheld_says_why() -> None:
    own = standing.own(WORK, "fewer-than-ten-answers", {("B01", "all"): QUARTILES})
    assert own.value is None
    assert own.withheld is not None
    assert own.withheld.code == "fewer-than-ten-answers"
    assert own.everyone.position is None


# With the published medians -----------------------------------------------------------------------------------------


def compare(published: float | None, *scores: float | None, measure: Measure = WORK) -> MeasureComparison:
    submissions = [
        Submission(id=str(i), round="r", respondent=f"O{i}", organisation=None, scores={measure.code: score})
        for i, score in enumerate(scores)
    ]
    [comparison] = standing.compare([measure], submissions, {} if published is None else {measure.code: published})
    return comparison


@pytest.mark.parametrize("published", [80.001, 80.002])
def test_medians_agree_to_three_decimals_whichever_way_the_publisher_rounded(published: float) -> None:
    assert compare(published, 10, 20, 80.001, 80.002, 90, 95).agrees


@pytest.mark.parametrize("published", [80.0, 80.003])
def test_medians_that_differ_in_the_third_decimal_do_not_agree(published: float) -> None:
    assert not compare(published, 10, 20, 80.001, 80.002, 90, 95).agrees


def test_suppressed_scores_that_can_account_for_a_difference_are_named() -> None:
    comparison = compare(30, 10, 20, 40, 50, 60, None, None)
    assert comparison.suppressed == ("O5", "O6")
    assert comparison.reason == (
        "2 of 7 organisations' scores are suppressed in this file; with them the median can be the published one."
    )


def test_suppressed_scores_that_cannot_account_for_it_are_said_not_to() -> None:
    reason = compare(77, 10, 20, 40, 50, 60, None).reason
    assert reason is not None
    assert "do not explain it" in reason


def test_a_difference_without_a_suppressed_score_is_said_to_be_unexplained() -> None:
    reason = compare(77, 10, 20, 40, 50, 60).reason
    assert reason is not None
    assert "does not show why" in reason


def test_no_published_median_and_too_few_organisations_are_reasons_too() -> None:
    assert compare(None, 10, 20, 40, 50, 60).reason == "The file publishes no median for it."
    assert compare(30, 10, 20, 40, 50).median is None


def test_zeros_of_a_question_nobody_was_asked_count_in_no_median() -> None:
    submissions = [
        Submission(id=code, round="r", respondent=code, organisation=None, scores={"E05_yes": yes, "E05_no": no})
        for code, yes, no in [("A", 30, 70), ("B", 35, 65), ("C", 40, 60), ("D", 45, 55), ("E", 50, 50), ("NIC", 0, 0)]
    ]
    yes, no = standing.compare(REPORTED, submissions, {"E05_yes": 40, "E05_no": 60})
    assert (yes.agrees, no.agrees, yes.organisations) == (True, True, 5)
    assert yes.not_asked == ("NIC",)
    assert yes.suppressed == ()
