"""Ways that were tried to learn one organisation's score, or a withheld figure, from what leaves the service."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import chain, combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy import people_survey_file
from services.benchmark.domain import disclosure, people_survey, standing
from services.benchmark.domain.disclosure import Earlier, Figure, Place, Release
from services.benchmark.domain.scores import Submission, score_problems
from shared.contracts.benchmark import ImportPeopleSurvey, Measure

DATA = Path(__file__).parents[3] / "shared" / "data"
STRESS = Measure(code="stress", wording="Stress", unit="index", decimals=3)
RATE = Measure(code="rate", wording="Response rate", unit="%", highest=None)
TYPES = ("executive-agency", "council", "nhs-body", "charity", None)
REGIONS = ("London", "Wales", "Scotland", None)

Scores = Mapping[str, Decimal]
Places = Mapping[str, Place]


def values(count: int) -> dict[str, Decimal]:
    return {f"o{i}": Decimal(10 + i) for i in range(count)}


def figures(scores: Scores, places: Places | None = None, earlier: Sequence[Earlier] = ()) -> dict[str, Figure]:
    made = disclosure.release([STRESS], {"stress": scores}, places or dict.fromkeys(scores, Place()), earlier)
    return {figure.key: figure for figure in made}


def released(scores: Scores, places: Places | None = None) -> Earlier:
    where = dict(places or dict.fromkeys(scores, Place()))
    return Earlier(Release(id="r", round="r", places=where, figures=figures(scores, where)), {"stress": scores})


# The same scores, written otherwise ---------------------------------------------------------------------------------


@pytest.mark.parametrize("finer", ["0.0001", "-0.0005"])
def test_scores_taken_in_again_more_finely_with_one_more_do_not_tell_the_side_of_that_one(finer: str) -> None:
    again = {o: score + Decimal(finer) for o, score in values(12).items()}
    assert figures(again, earlier=[released(values(11))])["stress/all/"].withheld == "too-close-to-another-figure"


def test_scores_that_moved_by_more_than_rounding_are_scores_of_their_own() -> None:
    moved = {o: score + Decimal("0.001") for o, score in values(12).items()}
    assert figures(moved, earlier=[released(values(11))])["stress/all/"].withheld is None


def survey(year: str) -> ImportPeopleSurvey:
    file = DATA / f"people_survey_{year}_organisations.csv"
    if not file.exists():
        pytest.skip(f"the real survey of {year} is not in shared/data beside the checkout")
    command = people_survey_file.read(file.read_bytes(), year)
    assert isinstance(command, ImportPeopleSurvey)
    return command


def submissions(command: ImportPeopleSurvey) -> list[Submission]:
    read = people_survey.read(command)
    assert isinstance(read, people_survey.Survey)
    return [people_survey.submission(read, row, "r", row.code) for row in read.respondents]


def test_a_real_survey_taken_in_again_more_finely_without_one_row_shows_no_median_of_one_organisation_fewer() -> None:
    command = survey("2023")
    handed_in = submissions(command)
    places = {one.respondent: Place() for one in handed_in}
    first = disclosure.values_by_measure(command.measures, handed_in)
    made = disclosure.release(command.measures, first, places)
    before = Earlier(Release(id="r", round="r", places=places, figures={f.key: f for f in made}), first)
    for left_out in ("ACAS", "AGO"):
        again = {
            code: {r: score + Decimal("0.0001") for r, score in scores.items() if r != left_out}
            for code, scores in first.items()
        }
        fewer = disclosure.release(command.measures, again, places, [before])
        sizes = {f.measure: f.organisations for f in made}
        assert [f.measure for f in fewer if f.median is not None and f.organisations != sizes[f.measure]] == []


# Groups together ----------------------------------------------------------------------------------------------------


def test_two_types_that_are_a_region_but_for_one_exchanged_organisation_are_not_shown_beside_it() -> None:
    scores = values(40)
    places = {
        o: Place(
            region="Wales" if i < 20 else "London",
            type="council" if i < 10 else "charity" if i < 19 or i == 20 else "nhs-body",
        )
        for i, o in enumerate(scores)
    }
    shown = figures(scores, places)
    reasons = [shown[f"stress/{key}"].withheld for key in ("region/Wales", "type/council", "type/charity")]
    assert "gives-back-a-withheld-group" in reasons


place = st.builds(Place, type=st.sampled_from(TYPES), region=st.sampled_from(REGIONS))
Pairs = frozenset[tuple[str, Decimal]]


def shown_groups(made: Mapping[str, Figure], scores: Scores, places: Places) -> dict[str, list[Pairs]]:
    groups: dict[str, list[Pairs]] = {"all": [], "type": [], "region": []}
    for figure in made.values():
        if figure.withheld is None:
            in_it = (o for o in scores if figure.by == "all" or getattr(places[o], figure.by) == figure.group)
            groups[figure.by].append(frozenset((o, scores[o]) for o in in_it))
    return groups


def unions(groups: Sequence[Pairs]) -> list[Pairs]:
    picked = chain.from_iterable(combinations(groups, n) for n in range(1, len(groups) + 1))
    return [frozenset().union(*some) for some in picked]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(place, place, st.sampled_from([0, 0, 0, 1])), min_size=5, max_size=45))
def test_no_group_is_nearly_what_groups_of_one_grouping_are_together_whoever_changed_type_or_score(
    organisations: list[tuple[Place, Place, int]],
) -> None:
    scores = {f"o{i}": Decimal(i) for i in range(len(organisations))}
    changed = {f"o{i}": Decimal(i + by) for i, (_, _, by) in enumerate(organisations)}
    before = {f"o{i}": place for i, (place, _, _) in enumerate(organisations)}
    after = {f"o{i}": place for i, (_, place, _) in enumerate(organisations)}
    first = shown_groups(figures(scores, before), scores, before)
    second = shown_groups(figures(changed, after, [released(scores, before)]), changed, after)
    groupings = [*first.values(), *second.values()]
    for whole in chain.from_iterable(groupings):
        for groups in groupings:
            for union in unions(groups):
                assert len({o for o, _ in union ^ whole}) not in range(1, 5)


# Comparing with what is published -----------------------------------------------------------------------------------


def compared(scores: Sequence[float | None], published: Mapping[str, float]) -> str:
    handed_in = [
        Submission(id=str(i), round="r", respondent=f"r{i}", organisation=None, scores={"stress": score})
        for i, score in enumerate(scores)
    ]
    return standing.compare([STRESS], handed_in, published)[0].model_dump_json()


@pytest.mark.parametrize("published", [12.5, 99.0])
def test_a_comparison_tells_neither_the_lowest_nor_the_highest_score_where_many_are_suppressed(
    published: float,
) -> None:
    said = compared([11.25, 17.5, 24.5, 33.5, 41.75, None, None, None, None], {"stress": published})
    assert "24.5" in said  # the median
    assert not any(score in said for score in ("11.25", "17.5", "33.5", "41.75"))


def test_a_comparison_with_nothing_tells_no_median() -> None:
    assert "24.5" not in compared([11.25, 17.5, 24.5, 33.5, 41.75], {})


# Keeping others' figures from leaving -------------------------------------------------------------------------------


@pytest.mark.parametrize("score", [1e300, -1e300])
def test_a_score_beyond_all_measure_is_refused_since_it_would_stop_the_release_of_the_whole_round(score: float) -> None:
    for ends in ({"lowest": None}, {"lowest": -1e300, "highest": 1e300}):
        measure = RATE.model_copy(update=ends)
        assert [problem.code for problem in score_problems([measure], {"rate": score})] == ["score-out-of-range"]


def test_the_largest_score_there_may_be_is_released() -> None:
    finest = RATE.model_copy(update={"decimals": 3})
    scores = {f"o{i}": Decimal("1e9") - i for i in range(20)}
    assert list(score_problems([finest], {"rate": 1e9})) == []
    [figure] = disclosure.release([finest], {"rate": scores}, dict.fromkeys(scores, Place()))
    assert (figure.median, figure.lower_quartile) == (1e9 - 9.5, 1e9 - 14.25)
