"""No round of figures leaves on which side of a score nearly everybody of a group lies, tried out on whole rounds."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import combinations_with_replacement, product
from statistics import median, quantiles

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from services.benchmark.domain import disclosure
from services.benchmark.domain.disclosure import Figure, Place
from shared.contracts.benchmark import Measure

TYPES = ("council", "nhs-body", "charity", "employer")
PLAN = Measure(code="plan", wording="Has a plan", unit="100 for yes, 0 for no")
STAGE = Measure(code="stage", wording="How far it is", unit="stage", highest=3, decimals=0)

Round = Mapping[str | None, tuple[int, ...]]
"""Type, or none where it is not known → the scores of its organisations."""


def figures(round_: Round, measure: Measure = PLAN) -> dict[str | None, Figure]:
    scores = {f"{kind}{i}": Decimal(score) for kind, of in round_.items() for i, score in enumerate(of)}
    places = {f"{kind}{i}": Place(type=kind) for kind, of in round_.items() for i in range(len(of))}  # type: ignore[arg-type]
    made = disclosure.release([measure], {measure.code: scores}, places)
    return {figure.group if figure.by == "type" else "all": figure for figure in made}


def could_be(figure: Figure | None, scores: tuple[int, ...]) -> bool:
    if figure is None or figure.median is None:
        return True
    if round(float(median(scores)), 0 if figure.measure == "stage" else 1) != figure.median:
        return False
    if figure.lower_quartile is None:
        return True
    lower, _, upper = quantiles(scores, n=4, method="inclusive")
    return (lower, upper) == (figure.lower_quartile, figure.upper_quartile)


def all_that_fits(round_: Round, shown: Mapping[str | None, Figure], levels: tuple[int, ...]) -> Iterator[Round]:
    """Every round of these sizes that would have given the same figures."""
    of_each = [
        [of for of in combinations_with_replacement(levels, len(scores)) if could_be(shown.get(kind), of)]
        for kind, scores in round_.items()
    ]
    for each in product(*of_each):
        if could_be(shown["all"], tuple(score for of in each for score in of)):
            yield dict(zip(round_, each, strict=True))


def nearly_known(round_: Round, levels: tuple[int, ...], measure: Measure = PLAN) -> list[str]:
    """Groups of which all but at most one are known to lie on one side, as whoever reads the figures can work out."""
    shown = figures(round_, measure)
    fits = list(all_that_fits(round_, shown, levels))
    assert round_ in [{kind: tuple(sorted(of)) for kind, of in fit.items()} for fit in fits]
    found = []
    for kind, scores in round_.items():
        for level in levels[:-1]:
            counts = {sum(score <= level for score in fit[kind]) for fit in fits}
            nearly = max(1, len(scores) - 1)
            if min(counts) >= nearly or len(scores) - max(counts) >= nearly:
                found.append(f"{len(scores)} of {kind} at {level}: {sorted(counts)}")
    return found


@st.composite
def rounds(draw: st.DrawFn, levels: tuple[int, ...], most_types: int, largest: int) -> Round:
    kinds: tuple[str | None, ...] = TYPES[: draw(st.integers(1, most_types))]
    sizes = {kind: draw(st.integers(3, largest)) for kind in kinds} | {None: draw(st.integers(0, 6))}
    # A group leans to one side, or every median would lie in the middle and tell little.
    return {
        kind: tuple(sorted(draw(st.sampled_from(levels + (lean,) * 3)) for _ in range(size)))
        for kind, size in sizes.items()
        if size
        for lean in [draw(st.sampled_from(levels))]
    }


@settings(max_examples=400, deadline=None)
@given(rounds(levels=(0, 100), most_types=4, largest=8))
def test_of_yes_and_no_nobody_can_work_out_nearly_a_whole_group(round_: Round) -> None:
    event(f"{sum(f.median is not None for f in figures(round_).values())} figures shown")
    assert nearly_known(round_, (0, 100)) == []


@pytest.mark.parametrize("levels", [(0, 40, 100), (0, 50, 100), (0, 1, 2)])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_of_three_answers_nobody_can_work_out_nearly_a_whole_group(
    levels: tuple[int, ...], data: st.DataObject
) -> None:
    round_ = data.draw(rounds(levels=levels, most_types=2, largest=7))
    assert nearly_known(round_, levels) == []


def test_a_figure_between_two_organisations_does_not_tell_by_what_stands_between_them() -> None:
    """Of all, the middle two add up to 100; where a council has 50, both have."""
    assert nearly_known({"council": (50,) * 5, "nhs-body": (50, 100, 100, 100, 100)}, (0, 50, 100)) == []
    between: Round = {
        "council": (0, 0, 0, 40, 40, 40), "nhs-body": (0, 0, 40, 40, 40, 40), "charity": (0, 0, 40, 40, 40, 40),
        None: (0, 0, 0, 0, 0, 40),
    }  # fmt: skip
    assert nearly_known(between, (0, 40)) == []


@settings(max_examples=60, deadline=None)
@given(rounds(levels=(0, 100), most_types=2, largest=30))
def test_nor_with_quartiles(round_: Round) -> None:
    event(f"{sum(f.lower_quartile is not None for f in figures(round_).values())} with quartiles")
    assert nearly_known(round_, (0, 100)) == []


def yes(count: int, of: int) -> tuple[int, ...]:
    return (0,) * (of - count) + (100,) * count


@pytest.mark.parametrize(
    "round_",
    [
        {"council": yes(4, of=7), "nhs-body": yes(4, of=7), "charity": yes(3, of=5), "employer": yes(0, of=5)},
        {"council": yes(4, of=6), "nhs-body": yes(4, of=6), "charity": yes(4, of=6), "employer": yes(0, of=6)},
        {"council": yes(3, of=5), "nhs-body": yes(1, of=5)},
        {"council": yes(3, of=6), "nhs-body": yes(4, of=6), "charity": yes(4, of=6), "employer": yes(1, of=6)},
        {"council": yes(3, of=6), "nhs-body": yes(4, of=6), "charity": yes(4, of=6), None: yes(1, of=6)},
        {"council": yes(23, of=32), "nhs-body": yes(8, of=8)},  # the quartiles of all say that nine have none
        {"council": yes(23, of=32), None: yes(8, of=8)},
        {"council": yes(9, of=32), "nhs-body": yes(0, of=8)},
    ],
)
def test_what_most_of_all_and_most_of_the_others_say_does_not_leave_nobody_for_the_rest(round_: Round) -> None:
    assert nearly_known(round_, (0, 100)) == []


def test_nor_where_whoever_reads_a_rounded_figure_knows_that_scores_are_whole() -> None:
    stages = {"council": 4, "nhs-body": 4, "charity": 3, "employer": 0}
    sizes = {"council": 7, "nhs-body": 7, "charity": 5, "employer": 5}
    round_: Round = {kind: (1,) * (sizes[kind] - count) + (2,) * count for kind, count in stages.items()}
    assert nearly_known(round_, (0, 1, 2, 3), STAGE) == []


def test_groups_that_are_alike_are_shown_side_by_side() -> None:
    alike = {kind: tuple(range(20, 80, 6)) for kind in TYPES}
    assert [figure.withheld for figure in figures(alike).values()] == [None] * 5


def test_that_a_group_is_withheld_does_not_depend_on_its_own_scores() -> None:
    others: Round = {"council": yes(5, of=8), "nhs-body": yes(5, of=8)}
    for count in range(6):
        shown = figures({**others, "charity": yes(count, of=5)})
        if shown["all"].median == figures({**others, "charity": yes(0, of=5)})["all"].median:
            assert shown["charity"].withheld == figures({**others, "charity": yes(0, of=5)})["charity"].withheld
