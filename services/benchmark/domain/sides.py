"""On which side of a score the organisations of a group lie, as far as the figures shown tell together.

A median says of a group that half of it lies on one side of a score. The counts of disjoint groups add up to that of
all. So the median of all, with those of some groups, may leave no room for the rest: if most of all have no plan, and
most of seven councils and of seven hospitals have one, then none of the ten others has. No figure of theirs need be
shown for that.

The rule: of no group of a grouping, shown or not, nor of all whose figure is not shown taken together, may the figures
tell that everybody but at most one lies on one side of a score. Who were the one would know of all the others.

Whether a median may be shown is decided before it is looked at: it is held back if it could say such a thing, whatever
it turns out to be, beside those that are shown already. Otherwise that it is withheld would say what it is. Quartiles,
which need twenty organisations, are held back where they do say it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate
from math import ceil, floor

from shared.contracts.benchmark import Grouping

FINE = 10**6
"""Scores are counted in millionths: what is known of one is rounded outwards to that."""

Figures = Sequence[tuple[Fraction, Decimal]]
"""Which quantile (1/2 for the median; type 7), and what is shown of it."""

Turn = int
"""Where those below are told from those above: ``2 x`` parts who is below x from who is not, ``2 x + 1`` who is at x or
below from who is above."""


class Known:
    """What the figures of a group tell of its organisations in their order: the one of this rank lies between these."""

    def __init__(self, size: int, ranks: Sequence[tuple[int, int, int]]) -> None:
        self.size = size
        self._ranks = [rank for rank, _, _ in ranks]
        # Who comes later is no lower, and who comes earlier no higher.
        self._lows = list(accumulate((2 * low for _, low, _ in ranks), max))
        self._highs = list(accumulate((2 * high + 1 for _, _, high in reversed(ranks)), min))[::-1]

    @property
    def turns(self) -> set[Turn]:
        """Where more, or less, is known of it."""
        return {*self._lows, *self._highs}

    def most_below(self, turn: Turn) -> int:
        """How many can lie below."""
        first_above = bisect_left(self._lows, turn)
        return self._ranks[first_above] - 1 if first_above < len(self._ranks) else self.size

    def most_above(self, turn: Turn) -> int:
        """How many can lie above."""
        return self.size - self.least_below(turn)

    def least_below(self, turn: Turn) -> int:
        """How many lie below for certain."""
        beyond_last = bisect_right(self._highs, turn)
        return self._ranks[beyond_last - 1] if beyond_last else 0

    def least_above(self, turn: Turn) -> int:
        """How many lie above for certain."""
        return self.size - self.most_below(turn)


@dataclass(frozen=True)
class Scale:
    """The lowest and the highest score there can be, and how far a figure may be from what it was rounded from.

    Whoever reads it may know that all scores are at one of the two ends (``only_ends``), or which scores are possible
    at all (``levels``): of a figure that lies between two organisations they know then whether both have it, or one has
    less and the other more.
    """

    lowest: Fraction
    highest: Fraction
    rounding: Fraction
    only_ends: bool = False
    levels: bool = False

    def known(self, size: int, figures: Figures) -> Known:
        """What figures tell of a group. ``ValueError`` if they cannot be, as scores are taken here."""
        ranks: list[tuple[int, int, int]] = []
        for share, value in figures:
            low, high = Fraction(value) - self.rounding, Fraction(value) + self.rounding
            before, beyond = divmod((size - 1) * share, 1)
            rank = int(before) + 1
            if not beyond:
                ranks.append(self._between(rank, low, high))
                continue
            if self.levels:  # which of the two it is, nobody here knows: so it is taken for both
                at = floor(low * FINE)
                ranks += [(rank, at, at - 1), (rank + 1, at + 1, at)]
                continue
            # It lies between two organisations: neither can be so far off that the other would be beyond the scale.
            least = max(self.lowest, (low - beyond * self.highest) / (1 - beyond))
            most = min(self.highest, (high - (1 - beyond) * self.lowest) / beyond)
            ranks += [self._between(rank, least, high), self._between(rank + 1, low, most)]
        return Known(size, ranks)

    def _between(self, rank: int, low: Fraction, high: Fraction) -> tuple[int, int, int]:
        if self.only_ends:
            low = self.highest if low > self.lowest else self.lowest
            high = self.lowest if high < self.highest else self.highest
            if low > high:
                raise ValueError("there are scores between the ends")
        return rank, floor(low * FINE), ceil(high * FINE)


@dataclass
class _Side:
    """Those on one side of a turn: how many of all are there for certain, and of the groups shown at most."""

    surely: int
    can_be: int = 0
    fullest: int = -FINE
    """By how many the group that can be there most nearly whole falls short of it, less than nothing."""

    def add(self, size: int, can_be: int) -> None:
        self.can_be += can_be
        self.fullest = max(self.fullest, can_be - size)


@dataclass
class _Shown:
    """The groups of one grouping whose figures are shown, and both sides of every turn of what is known of them."""

    groups: list[Known] = field(default_factory=list)
    rest: int = 0
    """How many of all are in none of them."""
    turns: dict[Turn, tuple[_Side, _Side]] = field(default_factory=dict)


class Sides:
    """The figures shown of one measure in one release: of all, and of the groups of each grouping."""

    def __init__(self, lowest: float, highest: float, rounding: Decimal) -> None:
        ends = Fraction(lowest), Fraction(highest)
        # Who knows that scores are whole, or which there can be at all, reads more out of a figure than who does not.
        scales = (
            Scale(*ends, Fraction(rounding)),
            Scale(*ends, Fraction()),
            Scale(*ends, Fraction(), only_ends=True),
            Scale(*ends, Fraction(), levels=True),
        )
        self._readings = [_Reading(scale) for scale in scales]

    def may_join(self, by: Grouping, size: int) -> bool:
        """Whether the median of a group of this size may be shown, whatever it is."""
        return all(reading.may_join(by, size) for reading in self._readings)

    def show(self, by: Grouping, size: int, figures: Figures) -> None:
        """Notes that figures are shown; those of all come first."""
        self._readings = [reading for reading in self._readings if reading.show(by, size, figures)]

    def tell(self) -> bool:
        """Whether what is shown leaves nearly nobody of a group for the other side of a score."""
        return any(reading.tells() for reading in self._readings)


@dataclass
class _Reading:
    """The figures shown, as they are read by somebody who takes scores to be on this scale."""

    scale: Scale
    whole: Known | None = None
    shown: dict[Grouping, _Shown] = field(default_factory=dict)

    def may_join(self, by: Grouping, size: int) -> bool:
        # So many can be on one side: of an even number both of the middle may lie on the other, or one of them.
        fewest = ((size - 1) // 2, size // 2)
        shown = self._of(by)
        return not any(_could_tell(side, shown.rest, size, fewest) for sides in shown.turns.values() for side in sides)

    def show(self, by: Grouping, size: int, figures: Figures) -> bool:
        """Whether the figures can be, so taken."""
        try:
            group = self.scale.known(size, figures)
        except ValueError:
            return False
        if by == "all":
            self.whole = group
            return True
        shown = self._of(by)
        for turn, (below, above) in shown.turns.items():
            below.add(size, group.most_below(turn))
            above.add(size, group.most_above(turn))
        shown.groups.append(group)
        shown.rest -= size
        self._turn(shown, group.turns)
        return True

    def tells(self) -> bool:
        return any(
            _tells(side, shown.rest)
            for shown in self.shown.values()
            for sides in shown.turns.values()
            for side in sides
        )

    def _of(self, by: Grouping) -> _Shown:
        if by not in self.shown:
            self.shown[by] = shown = _Shown()
            if self.whole is not None and by != "all":
                shown.rest = self.whole.size
                self._turn(shown, self.whole.turns)
        return self.shown[by]

    def _turn(self, shown: _Shown, turns: Iterable[Turn]) -> None:
        if self.whole is None:
            return
        for turn in turns:
            # Beyond the ends of the scale everybody is on one side, which says nothing.
            if turn in shown.turns or not 2 * self.scale.lowest * FINE < turn <= 2 * self.scale.highest * FINE:
                continue
            below, above = _Side(self.whole.least_below(turn)), _Side(self.whole.least_above(turn))
            for group in shown.groups:
                below.add(group.size, group.most_below(turn))
                above.add(group.size, group.most_above(turn))
            shown.turns[turn] = below, above


def _could_tell(side: _Side, rest: int, size: int, joining: Sequence[int]) -> bool:
    """Whether it could if a group of this size joined, of which so many can be on that side: the fewest first.

    How many, is as its median might be. It cannot be what would ask more of the rest than there are.
    """
    for can_be in joining:
        joined = _Side(side.surely, side.can_be, side.fullest)
        joined.add(size, can_be)
        if joined.surely - joined.can_be <= rest - size:
            return _tells(joined, rest - size)
    return False


def _tells(side: _Side, rest: int) -> bool:
    """Whether so many of all on one side leave nearly nobody of a group, or of the rest, for the other."""
    missing = side.surely - side.can_be  # so many of those in no group that is shown must be on that side
    return missing - rest + side.fullest >= -1 or (rest > 0 and missing >= max(1, rest - 1))
