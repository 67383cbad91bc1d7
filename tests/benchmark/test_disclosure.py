"""What leaves the service, and what does not."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import chain, combinations
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.benchmark.domain import disclosure
from services.benchmark.domain.disclosure import Earlier, Figure, Place, Release
from services.benchmark.domain.scores import Submission
from shared.contracts.benchmark import Measure

STRESS = Measure(code="stress", wording="Stress", unit="index", decimals=3)
TYPES = ("executive-agency", "council", "nhs-body", "charity")
REGIONS = ("London", "Wales", "Scotland")


def values(count: int, start: int = 0) -> dict[str, Decimal]:
    return {f"o{i}": Decimal(10 + i) for i in range(start, start + count)}


def released(
    scores: Mapping[str, Decimal], places: Mapping[str, Place] | None = None, earlier: Sequence[Earlier] = ()
) -> dict[str, Figure]:
    places = places or dict.fromkeys(scores, Place())
    return {f.key: f for f in disclosure.release([STRESS], {"stress": scores}, places, earlier)}


def as_earlier(scores: Mapping[str, Decimal], places: Mapping[str, Place] | None = None) -> Earlier:
    places = places or dict.fromkeys(scores, Place())
    release = Release(id="r", round="r", places=dict(places), figures=released(scores, places))
    return Earlier(release, {"stress": scores})


def typed(**sizes: int) -> tuple[dict[str, Decimal], dict[str, Place]]:
    """Organisations of types: ``council=6`` makes six of them."""
    kinds = [name.replace("_", "-") for name, size in sizes.items() for _ in range(size)]
    scores = values(len(kinds))
    return scores, {o: Place(type=kind) for o, kind in zip(scores, kinds, strict=True)}  # type: ignore[arg-type]


def submission(scores: Mapping[str, float | None], answers: Mapping[str, int] | None = None) -> Submission:
    return Submission(
        id="s", round="r", respondent="A", organisation=None, scores=dict(scores), answers=dict(answers or {})
    )


# Groups -------------------------------------------------------------------------------------------------------------


def test_the_figure_of_five_organisations_is_shown_and_of_four_is_withheld_with_the_reason_and_not_as_zero() -> None:
    assert released(values(5))["stress/all/"].median == 12
    four = released(values(4))["stress/all/"]
    assert four.withheld == "fewer-than-five-organisations"
    assert (four.median, four.lower_quartile, four.upper_quartile, four.organisations) == (None,) * 4


def test_every_organisation_counts_once_and_the_median_of_an_even_number_lies_between_the_middle_two() -> None:
    scores = dict(zip("abcdef", map(Decimal, (1, 1, 1, 2, 90, 95)), strict=True))
    assert released(scores)["stress/all/"].median == 1.5


def test_quartiles_are_shown_once_each_quarter_holds_five_organisations() -> None:
    nineteen, twenty = released(values(19))["stress/all/"], released(values(20))["stress/all/"]
    assert nineteen.quartiles_withheld == "fewer-than-twenty-organisations"
    assert nineteen.median == 19
    assert (twenty.lower_quartile, twenty.median, twenty.upper_quartile) == (14.75, 19.5, 24.25)
    assert twenty.quartiles_withheld is None


def test_a_figure_leaves_no_finer_than_its_measure_allows() -> None:
    coarse = STRESS.model_copy(update={"decimals": 1})
    scores = {**values(4), "small": Decimal("11.628")}  # 5 of 43 people: three decimals would tell how many they are
    [figure, *_] = disclosure.release([coarse], {"stress": scores}, dict.fromkeys(scores, Place()))
    assert figure.median == 11.6


def test_an_organisation_without_a_score_counts_for_nothing() -> None:
    submissions = [
        submission({"stress": score}).model_copy(update={"respondent": f"o{i}"})
        for i, score in enumerate([10.0, 20.0, 30.0, None, None])
    ]
    counted = disclosure.values_by_measure([STRESS], submissions)
    assert sorted(counted["stress"]) == ["o0", "o1", "o2"]


# Giving back what is withheld ---------------------------------------------------------------------------------------


def test_a_second_group_is_withheld_where_all_others_together_would_give_a_withheld_one_back() -> None:
    scores, places = typed(council=20, nhs_body=6, charity=3)
    figures = released(scores, places)
    assert figures["stress/type/charity"].withheld == "fewer-than-five-organisations"
    assert figures["stress/type/nhs-body"].withheld == "gives-back-a-withheld-group"
    assert figures["stress/type/council"].withheld is None


def test_organisations_whose_type_is_not_known_are_protected_as_a_withheld_group_is() -> None:
    scores, places = typed(council=20, nhs_body=6)
    scores |= values(2, start=26)
    places |= {"o26": Place(), "o27": Place()}
    assert released(scores, places)["stress/type/nhs-body"].withheld == "gives-back-a-withheld-group"


def test_a_region_and_a_type_that_hold_almost_the_same_organisations_are_not_both_shown() -> None:
    scores = values(40)
    places = {
        o: Place(
            type="devolved-government" if i < 17 else "council",
            region="Scotland" if i < 19 else "London",
        )
        for i, o in enumerate(scores)
    }
    figures = released(scores, places)
    scotland, devolved = figures["stress/region/Scotland"], figures["stress/type/devolved-government"]
    assert scotland.withheld is None
    assert devolved.withheld == "too-close-to-another-figure"


def test_two_types_that_fill_a_region_but_for_one_organisation_are_not_all_shown() -> None:
    scores = values(60)
    places = {
        o: Place(
            type="council" if i < 10 else "charity" if i < 20 else "nhs-body" if i < 31 else "executive-agency",
            region="Wales" if i < 21 else "London",
        )
        for i, o in enumerate(scores)
    }
    figures = released(scores, places)
    reasons = {figures[f"stress/{key}"].withheld for key in ("region/Wales", "type/council", "type/charity")}
    assert "gives-back-a-withheld-group" in reasons


# Against earlier releases -------------------------------------------------------------------------------------------


def test_a_round_with_one_organisation_more_is_withheld_since_the_two_medians_would_tell_its_side() -> None:
    first, second = values(10), values(11)
    assert released(second, earlier=[as_earlier(first)])["stress/all/"].withheld == "too-close-to-another-figure"


def test_a_round_in_which_one_score_was_corrected_is_withheld() -> None:
    first = values(10)
    corrected = {**first, "o3": Decimal(99)}
    assert released(corrected, earlier=[as_earlier(first)])["stress/all/"].withheld == "too-close-to-another-figure"


def test_the_same_scores_again_give_the_same_figures_since_they_tell_nothing_new() -> None:
    first = values(30)
    assert released(first, earlier=[as_earlier(first)]) == released(first)


def test_a_round_with_five_organisations_more_is_shown() -> None:
    assert released(values(15), earlier=[as_earlier(values(10))])["stress/all/"].withheld is None


def test_a_new_round_of_the_same_organisations_with_new_scores_is_shown() -> None:
    second = {o: score + 1 for o, score in values(10).items()}
    assert released(second, earlier=[as_earlier(values(10))])["stress/all/"].withheld is None


@pytest.mark.parametrize("in_wales", [15, 13])
def test_a_region_that_earlier_types_fill_or_cover_but_for_one_organisation_is_withheld(in_wales: int) -> None:
    scores, before = typed(council=7, charity=7, executive_agency=9, nhs_body=9, employer=9)
    scores = {o: Decimal(10 + 7 * i % 41) for i, o in enumerate(scores)}  # types that are alike
    after = {o: Place(region="Wales" if i < in_wales else "London") for i, o in enumerate(scores)}
    figures = released(scores, after, [as_earlier(scores, before)])
    assert figures["stress/region/Wales"].withheld == "gives-back-a-withheld-group"


def test_what_an_earlier_release_withheld_holds_nothing_back() -> None:
    assert released(values(5), earlier=[as_earlier(values(4))])["stress/all/"].withheld is None


# The rules as a whole -----------------------------------------------------------------------------------------------

place = st.builds(Place, type=st.sampled_from([*TYPES, None]), region=st.sampled_from([*REGIONS, None]))


Groups = dict[str, list[frozenset[str]]]


def unions(groups: Sequence[frozenset[str]]) -> list[frozenset[str]]:
    picked = chain.from_iterable(combinations(groups, n) for n in range(1, len(groups) + 1))
    return [frozenset().union(*some) for some in picked]


def shown_groups(figures: Mapping[str, Figure], scores: Mapping[str, Decimal], places: Mapping[str, Place]) -> Groups:
    shown: Groups = {"all": [], "type": [], "region": []}
    for figure in figures.values():
        if figure.withheld is None:
            members = frozenset(
                o for o in scores if figure.by == "all" or getattr(places[o], figure.by) == figure.group
            )
            assert figure.organisations == len(members) >= 5
            shown[figure.by].append(members)
    return shown


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(place, place, st.booleans()), min_size=1, max_size=45))
def test_no_group_less_the_groups_within_it_is_fewer_than_five_not_even_with_the_groups_of_two_releases(
    organisations: list[tuple[Place, Place, bool]],
) -> None:
    scores = {f"o{i}": Decimal(i) for i, (_, _, has_score) in enumerate(organisations) if has_score}
    before = {f"o{i}": place for i, (place, _, _) in enumerate(organisations)}
    after = {f"o{i}": place for i, (_, place, _) in enumerate(organisations)}
    first = shown_groups(released(scores, before), scores, before)
    second = shown_groups(released(scores, after, [as_earlier(scores, before)]), scores, after)
    partitions = [*first.values(), *second.values()]
    for whole in chain.from_iterable(partitions):
        for groups in partitions:
            for union in unions(groups):
                if union <= whole or whole <= union:
                    assert len(union ^ whole) not in range(1, 5)


@settings(max_examples=50, deadline=None)
@given(st.lists(place, min_size=5, max_size=40), st.randoms())
def test_the_same_input_gives_the_same_figures_in_whatever_order_it_comes(organisations: list, random: object) -> None:
    scores = {f"o{i}": Decimal(i) for i in range(len(organisations))}
    places = dict(zip(scores, organisations, strict=True))
    keys = list(scores)
    random.shuffle(keys)  # type: ignore[attr-defined]
    assert released({o: scores[o] for o in keys}, {o: places[o] for o in keys}) == released(scores, places)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=5, max_size=60))
def test_the_median_shown_is_the_median_of_the_organisations(numbers: list[int]) -> None:
    scores = {f"o{i}": Decimal(n) / 100 for i, n in enumerate(numbers)}
    assert released(scores)["stress/all/"].median == pytest.approx(float(median(scores.values())))


# An organisation's own scores ---------------------------------------------------------------------------------------


def answers(question: str, *codes: str) -> list[Measure]:
    return [Measure(code=f"{question}_{c}", wording="Were you?", unit="%", question=question) for c in codes]


BULLIED = answers("E03", "yes", "no", "pnts")


def test_an_organisation_sees_its_scores() -> None:
    assert disclosure.own_scores([STRESS], submission({"stress": 26.6})) == {"stress": 26.6}


def test_a_missing_score_is_withheld_and_not_zero() -> None:
    assert disclosure.own_scores([STRESS], submission({"stress": None})) == {"stress": "no-score"}
    assert disclosure.own_scores([STRESS], submission({})) == {"stress": "no-score"}


def test_a_score_of_nine_people_is_withheld_and_of_ten_is_shown() -> None:
    own = disclosure.own_scores([STRESS], submission({"stress": 50.0}, {"stress": 9}))
    assert own == {"stress": "fewer-than-ten-answers"}
    assert disclosure.own_scores([STRESS], submission({"stress": 50.0}, {"stress": 10})) == {"stress": 50.0}


def test_a_score_of_nine_people_counts_in_no_median() -> None:
    assert disclosure.counted([STRESS], submission({"stress": 50.0}, {"stress": 9})) == {}


def test_the_other_answers_go_with_a_missing_one_since_together_they_are_a_hundred() -> None:
    own = disclosure.own_scores(BULLIED, submission({"E03_yes": None, "E03_no": 90.217, "E03_pnts": 5.978}))
    assert own == {
        "E03_yes": "no-score",
        "E03_no": "gives-back-a-withheld-answer",
        "E03_pnts": "gives-back-a-withheld-answer",
    }


def test_a_follow_up_question_put_to_nobody_looks_like_a_suppressed_one_since_it_tells_the_answer_before_it() -> None:
    own = disclosure.own_scores(BULLIED, submission({"E03_yes": 0.0, "E03_no": 0.0, "E03_pnts": 0.0}))
    assert set(own.values()) == {"no-score"}


def test_every_reason_is_said_in_words() -> None:
    assert all(sentence.endswith(".") for sentence in disclosure.REASONS.values())
