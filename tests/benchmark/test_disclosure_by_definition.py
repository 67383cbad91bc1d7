"""The gate counts bits; here its rules are written as they are said, with plain sets, and the two must always agree."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import combinations
from math import ceil
from random import Random
from time import process_time
from typing import get_args

from hypothesis import event, given, settings
from hypothesis import strategies as st

from services.benchmark.domain import disclosure
from services.benchmark.domain.disclosure import Earlier, Figure, Place, Release
from shared.contracts.benchmark import Measure
from shared.contracts.membership import OrganisationType, Region

STRESS = Measure(code="stress", wording="Stress", unit="index", decimals=3)
TYPES = ("executive-agency", "council", "nhs-body", None)
REGIONS = ("London", "Wales", None)

Pairs = frozenset[tuple[str, Decimal]]
Groups = dict[tuple[str, str | None], Pairs]
Values = Mapping[str, Decimal]
Places = Mapping[str, Place]


def groups(values: Values, places: Places) -> Groups:
    found: Groups = {("all", None): frozenset(values.items())}
    for by in ("type", "region"):
        for name in {getattr(place, by) for place in places.values()} - {None}:
            found[by, name] = frozenset((o, s) for o, s in values.items() if getattr(places[o], by) == name)
    return found


def differ_by_few(one: Pairs, other: Pairs) -> bool:
    return 1 <= len({organisation for organisation, _ in one ^ other}) <= 4


def unions(together: Iterable[Pairs]) -> Iterator[Pairs]:
    each = list(together)
    for count in range(1, len(each) + 1):
        for some in combinations(each, count):
            yield frozenset().union(*some)


def may_join(
    key: tuple[str, str | None], group: Pairs, here: Groups, earlier: Sequence[Groups], made: Mapping[str, Figure]
) -> str | None:
    if len(group) < 5:
        return "fewer-than-five-organisations"
    shown = [*earlier, here]
    if any(differ_by_few(group, other) for release in shown for other in release.values()):
        return "too-close-to-another-figure"
    of_groupings = ([g for (by, _), g in release.items() if by == kind] for release in shown for kind in BY)
    with_it = [*(g for (by, _), g in here.items() if by == key[0]), group]
    if any(differ_by_few(group, union) for grouping in of_groupings for union in unions(grouping)) or any(
        differ_by_few(other, union) for release in shown for other in release.values() for union in unions(with_it)
    ):
        return "gives-back-a-withheld-group"
    if key[0] != "all" and ("all", None) in here:
        others = [figure_of(made, other) for other in here if other[0] == key[0]]
        whole = figure_of(made, ("all", None))
        if any(tells_a_side(whole, others, len(group), *reading) for reading in READINGS):
            return "gives-back-a-withheld-group"
    return None


def figure_of(made: Mapping[str, Figure], key: tuple[str, str | None]) -> Figure:
    return made[f"stress/{key[0]}/{key[1] or ''}"]


HALF = Fraction(1, 2000)
"""What a figure may be off by, as it is rounded; nothing for whoever knows that scores are as coarse as that."""
EDGE = Fraction(1, 10**6)
"""Less than any two scores or figures differ by, so that it stands for just below and just above."""


READINGS = ((HALF, False), (Fraction(), False), (Fraction(), True))
"""What a figure may be off by, and whether the reader knows which scores there can be."""


def told(figure: Figure, half: Fraction, levels: bool) -> list[tuple[int, Fraction, Fraction]]:
    """(rank, no lower than, no higher than) for the organisations in the middle, as the median tells of them."""
    size, middle = figure.organisations or 0, Fraction(str(figure.median))
    low, high = middle - half, middle + half
    if size % 2:
        return [(size // 2 + 1, low, high)]
    if levels:  # both have it, or one has less and the other more
        return [(size // 2, middle, middle - EDGE), (size // 2 + 1, middle + EDGE, middle)]
    return [(size // 2, max(Fraction(0), 2 * low - 100), high), (size // 2 + 1, low, min(Fraction(100), 2 * high))]


def tells_a_side(whole: Figure, others: Sequence[Figure], size: int, half: Fraction, levels: bool) -> bool:
    """Whether a median of so many could, whatever it is, leave nearly everybody of a group on one side of a score."""
    groups = [(figure.organisations or 0, told(figure, half, levels)) for figure in others]
    everybody, facts = whole.organisations or 0, told(whole, half, levels)
    rest = everybody - size - sum(of for of, _ in groups)
    edges = {edge for _, low, high in [*facts, *(fact for _, of in groups for fact in of)] for edge in (low, high)}
    for where in {edge + by for edge in edges for by in (-EDGE, EDGE)}:
        if not 0 <= where < 100:
            continue
        for below in (True, False):

            def surely(of: int, facts: list[tuple[int, Fraction, Fraction]], here: bool, at: Fraction) -> int:
                if here:
                    return max((rank for rank, _, high in facts if high <= at), default=0)
                return max((of - rank + 1 for rank, low, _ in facts if low > at), default=0)

            here = surely(everybody, facts, below, where)
            at_most = [of - surely(of, facts, not below, where) for of, facts in groups]
            for there in (size // 2 + 1, ceil(size / 2)):  # so many of those that join lie on the other side
                most = [*at_most, size - there]
                if here - sum(most) > rest:
                    continue  # it cannot be so
                sizes = [*(of for of, _ in groups), size]
                left = [here - sum(most) + mine - rest for mine in most]
                if nearly_all(here - sum(most), rest) or any(map(nearly_all, left, sizes)):
                    return True
                break
    return False


def nearly_all(count: int, size: int) -> bool:
    return count >= max(1, size - 1) if size else False


BY = ("all", "type", "region")


def by_definition(
    values: Values, places: Places, earlier: Sequence[Earlier], made: Mapping[str, Figure]
) -> dict[str, str | None]:
    """What is withheld and why. Of ``made`` only those figures are looked at that were shown by then."""
    before = []
    for one in earlier:
        half = Decimal("0.0005")
        then = {
            o: values[o] if o in values and abs(values[o] - s) <= half else s for o, s in one.values["stress"].items()
        }
        figures = one.release.figures
        shown = groups(then, one.release.places)
        before.append({k: g for k, g in shown.items() if figures[f"stress/{k[0]}/{k[1] or ''}"].withheld is None})
    here: Groups = {}
    decided = {}
    mine = groups(values, places)
    for key in sorted(mine, key=lambda key: (key[0] != "all", -len(mine[key]), key[0], key[1] or "")):
        decided[f"stress/{key[0]}/{key[1] or ''}"] = reason = may_join(key, mine[key], here, before, made)
        if reason is None:
            here[key] = mine[key]
    return decided


place = st.builds(Place, type=st.sampled_from(TYPES), region=st.sampled_from(REGIONS))
moved = st.sampled_from(["0"] * 30 + ["1"])


@st.composite
def organisations(draw: st.DrawFn) -> list[list[tuple[Place, str | None]]]:
    """For each release, each organisation's place and by how much its score moved.

    They come in bands that have their place in common, so that groups are nearly made of one another; a few are odd.
    """
    bands = draw(st.lists(st.integers(2, 9), min_size=1, max_size=8))
    releases = []
    for _ in range(draw(st.integers(1, 3))):
        row = [(of_band, draw(moved)) for size in bands for of_band in [draw(place)] for _ in range(size)]
        for odd in draw(st.sets(st.integers(0, len(row) - 1), max_size=4)):
            row[odd] = (draw(place), draw(st.sampled_from([None, "0.0005", "0.0006", "1"])))
        releases.append(row)
    return releases


@settings(max_examples=200, deadline=None)
@given(organisations())
def test_the_gate_withholds_what_its_rules_say_and_for_the_reason_they_give(
    releases: list[list[tuple[Place, str | None]]],
) -> None:
    earlier: list[Earlier] = []
    for number, organisations in enumerate(releases):
        values = {f"o{i}": i + Decimal(by) for i, (_, by) in enumerate(organisations) if by is not None}
        places = {f"o{i}": place for i, (place, _) in enumerate(organisations)}
        made = disclosure.release([STRESS], {"stress": values}, places, earlier)
        expected = by_definition(values, places, earlier, {figure.key: figure for figure in made})
        assert {figure.key: figure.withheld for figure in made} == expected
        assert [figure.key for figure in made] == list(expected)
        for reason in {*expected.values()}:
            event(f"release {number + 1}: {reason}")
        figures = {figure.key: figure for figure in made}
        earlier.append(Earlier(Release(id=str(number), round="r", places=places, figures=figures), {"stress": values}))


def test_a_thousand_organisations_on_120_measures_are_audited_beside_an_earlier_release_within_five_seconds() -> None:
    random = Random(7)  # noqa: S311  it draws a test
    measures = [STRESS.model_copy(update={"code": f"M{number}"}) for number in range(120)]
    places = {
        f"o{i}": Place(type=random.choice(get_args(OrganisationType)), region=random.choice(get_args(Region)))
        for i in range(1000)
    }

    def drawn(old: Mapping[str, Values] | None = None) -> dict[str, dict[str, Decimal]]:
        kept = {o for o in places if random.random() < 0.5} if old else set()
        return {
            m.code: {
                o: old[m.code][o] if old and o in kept else Decimal(random.randrange(100_000)) / 1000 for o in places
            }
            for m in measures
        }

    first = drawn()
    figures = {figure.key: figure for figure in disclosure.release(measures, first, places)}
    earlier = Earlier(Release(id="1", round="r", places=places, figures=figures), first)
    second = drawn(first)
    began = process_time()
    made = disclosure.release(measures, second, places, [earlier])
    assert process_time() - began < 5
    assert len(made) == 120 * (1 + len(get_args(OrganisationType)) + len(get_args(Region)))
