"""The disclosure gate: every figure that leaves the service is made here, or it is withheld here with the reason.

Three ways lead out. ``release`` makes the figures of groups, once for each round. ``own_scores`` is what an
organisation's own steward sees of its scores. ``overall_median`` is for the comparison with a published median.

What the gate holds back in ``release``, and why:

1. A group of fewer than five organisations. (The threshold of the design.)
2. Quartiles of fewer than twenty: the statement "a quarter lies below this" is then about fewer than five.
3. A figure whose organisations are nearly those of another one shown: with the figures of a group and of the same
   group plus one, anyone learns on which side of the median that one lies, and often its score. Two figures of a
   measure rest on the same scores or differ by those of at least five organisations, whether they are of one release
   or of several. A score that was changed in between counts as a difference; one that was only written more or less
   finely does not.
4. A figure that gives back a withheld group: a group and the shown groups of one grouping taken together, however many,
   are the same or differ by at least five organisations. So neither what they leave of it tells about few, nor what
   they have beyond it, nor both at once.
5. A figure that could tell, with those of all and of the other groups of its grouping, on which side of a score nearly
   everybody of a group lies (``sides``).

There is no smallest, largest or mean: the extremes are single organisations' scores, and a mean gives back a score to
whoever knows the others. The audit against all earlier releases by exact bounds belongs into ``_Shown.admit``.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from operator import itemgetter
from statistics import median, quantiles

from pydantic import BaseModel

from services.benchmark.domain.instrument import answers_by_question
from services.benchmark.domain.scores import Submission, bounds, not_asked
from services.benchmark.domain.sides import Sides
from shared.contracts.benchmark import Grouping, Measure, WithheldCode
from shared.contracts.membership import OrganisationType, Region

MIN_ORGANISATIONS = 5
"""Organisations behind a figure of a group, and by which two figures of one measure differ if they differ."""

MIN_ANSWERS = 10
"""People behind a score, where their number is known."""

QUARTERS = 4
MIN_FOR_QUARTILES = QUARTERS * MIN_ORGANISATIONS
LOWER, MIDDLE, UPPER = (Fraction(quarter, QUARTERS) for quarter in range(1, QUARTERS))

REASONS: dict[WithheldCode, str] = {
    "fewer-than-five-organisations": f"Fewer than {MIN_ORGANISATIONS} organisations of this group have a score.",
    "fewer-than-twenty-organisations": f"Quartiles are shown from {MIN_FOR_QUARTILES} organisations on, so that each "
    f"quarter holds at least {MIN_ORGANISATIONS}.",
    "gives-back-a-withheld-group": "With the other figures it could tell more than any figure may: about fewer than "
    f"{MIN_ORGANISATIONS} organisations, or on which side of a score nearly all of a group lie.",
    "too-close-to-another-figure": f"It rests on almost the same scores as another figure: fewer than "
    f"{MIN_ORGANISATIONS} organisations make the difference, and the two figures together would tell about them.",
    "fewer-than-ten-answers": f"Fewer than {MIN_ANSWERS} people answered.",
    "no-score": "There is no score: it was suppressed because few people answered, nobody was asked, or it was not "
    "handed in.",
    "gives-back-a-withheld-answer": "Another answer to the same question is withheld, and this one would give it back.",
}

Values = Mapping[str, Decimal]
"""The scores on one measure that count: respondent → score."""


class Place(BaseModel, frozen=True):
    """The peer groups of a respondent, as they were known at the release."""

    type: OrganisationType | None = None
    region: Region | None = None


class Figure(BaseModel, frozen=True):
    """One group on one measure after the gate: figures, or why there are none. A withheld figure is none, never 0."""

    measure: str
    by: Grouping
    group: str | None
    organisations: int | None = None
    median: float | None = None
    lower_quartile: float | None = None
    upper_quartile: float | None = None
    withheld: WithheldCode | None = None
    quartiles_withheld: WithheldCode | None = None

    @property
    def key(self) -> str:
        """What tells it apart from the other figures of a release."""
        return _key(self.measure, self.by, self.group)


def _key(measure: str, by: Grouping, group: str | None) -> str:
    return f"{measure}/{by}/{group or ''}"


class Release(BaseModel, frozen=True):
    """What left of one round, for good: the figures, and in which group each respondent stood when they were made."""

    id: str
    round: str
    places: dict[str, Place]
    figures: dict[str, Figure]


class Audited(BaseModel, frozen=True):
    """What the gate made of a round: it may leave beside the releases ``after``, and is unseen beside any other."""

    after: tuple[str, ...]
    places: dict[str, Place]
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Earlier:
    """A release made before, with the scores it was made from: measure code → respondent → score."""

    release: Release
    values: Mapping[str, Values]


def counted(measures: Sequence[Measure], submission: Submission) -> dict[str, Decimal]:
    """The scores of a submission that count, by measure code: known, asked for, and from enough people."""
    why_not = _uncounted(measures, submission)
    return {
        measure.code: _exact(score)
        for measure in measures
        if measure.code not in why_not and (score := submission.scores[measure.code]) is not None
    }


def values_by_measure(measures: Sequence[Measure], submissions: Iterable[Submission]) -> dict[str, dict[str, Decimal]]:
    """The scores that count, turned round: measure code → respondent → score."""
    values: dict[str, dict[str, Decimal]] = {measure.code: {} for measure in measures}
    for submission in submissions:
        for code, score in counted(measures, submission).items():
            values[code][submission.respondent] = score
    return values


def own_scores(measures: Sequence[Measure], submission: Submission) -> dict[str, float | WithheldCode]:
    """What an organisation's own steward sees: each score, or why it is withheld.

    Staff are protected from their employer too. Where one answer to a question is missing, the others go with it: as
    they add up to 100 they would give it back, or leave so little room that it is as good as known. It is not said
    whether nobody was asked: a follow-up question that was put to nobody tells the answers to the one before it.
    """
    shown: dict[str, float | WithheldCode] = dict(_uncounted(measures, submission))
    for answers in answers_by_question(measures).values():
        if any(answer.code in shown for answer in answers):
            for answer in answers:
                shown.setdefault(answer.code, "gives-back-a-withheld-answer")
    for code, score in submission.scores.items():
        if score is not None:
            shown.setdefault(code, score)
    return shown


def overall_median(values: Values) -> Decimal | None:
    """The exact median of all organisations, or none of fewer than five."""
    return median(values.values()) if len(values) >= MIN_ORGANISATIONS else None


def release(
    measures: Sequence[Measure],
    values: Mapping[str, Values],
    places: Mapping[str, Place],
    earlier: Sequence[Earlier] = (),
) -> list[Figure]:
    """The figures of one round: every measure, for all organisations, by type and by region.

    ``earlier`` are the releases of the same instrument. The same input gives the same figures: the group of all comes
    first, then the larger groups before the smaller, and each is shown if it may join those shown already.
    """
    bits = _Bits()
    before = [_Before(one, _groupings(one.release.places, bits)) for one in earlier]
    groups = {name: members for named in _groupings(places, bits).values() for name, members in named.items()}
    names = {respondent: (ALL, *_names(place)) for respondent, place in places.items()}
    figures: list[Figure] = []
    for measure in measures:
        of_measure = values[measure.code]
        scored = bits.of(of_measure)
        sides = _sides(measure)
        shown = _Shown(sides, [of_grouping for one in before for of_grouping in one.shown(measure, of_measure, bits)])
        ranked = _ranked(of_measure, names)
        sizes = {name: (members & scored).bit_count() for name, members in groups.items()}
        withheld: dict[Name, WithheldCode | None] = {}
        medians: dict[Name, Decimal] = {}
        for name in (ALL, *sorted(groups, key=lambda name: (-sizes[name], name[0], name[1] or ""))):
            members = scored & groups[name] if name in groups else scored
            withheld[name] = shown.admit(name[0], members)
            if withheld[name] is None:
                medians[name] = _outgoing(median(ranked[name]), measure)
                sides.show(name[0], len(ranked[name]), [(MIDDLE, medians[name])])
        figures += _figures(measure, ranked, withheld, medians)
    return figures


def _uncounted(measures: Sequence[Measure], submission: Submission) -> dict[str, WithheldCode]:
    unasked = not_asked(measures, submission.scores)
    why: dict[str, WithheldCode] = {}
    for measure in measures:
        code = measure.code
        if submission.scores.get(code) is None or code in unasked:
            why[code] = "no-score"
        elif submission.answers.get(code, MIN_ANSWERS) < MIN_ANSWERS:
            why[code] = "fewer-than-ten-answers"
    return why


def _exact(score: float) -> Decimal:
    return Decimal(repr(score))


Organisations = int
"""A set of organisations: one bit for each, so that two of a thousand are compared in a moment."""

Name = tuple[Grouping, str | None]
"""Which group of a release: ``("all", None)``, ``("type", "council")``, ``("region", "Wales")``."""

ALL: Name = ("all", None)


class _Bits(dict[str, int]):
    """Respondent → its bit, given when it is first met."""

    def __missing__(self, respondent: str) -> int:
        bit = self[respondent] = 1 << len(self)
        return bit

    def of(self, respondents: Iterable[str]) -> Organisations:
        """The respondents, each named once, as a set."""
        return sum(map(self.__getitem__, respondents))


@dataclass
class _ShownGroup:
    """A group that is shown; ``changed`` are those whose score counts otherwise now than it did in its release.

    ``left`` is what it differs by from the groups of one grouping of this release, put together as they come nearest.
    """

    members: Organisations
    changed: Organisations
    size: int
    left: dict[Grouping, int] = field(default_factory=dict)


@dataclass
class _Shown:
    """What is shown of one measure already: the groups of each grouping of each release.

    Two groups agree on an organisation that is in both with the same score, and differ by every other of either. Groups
    of one grouping of a release have no organisation in common. So each of them, put to the others, brings them nearer
    to some whole by those it agrees on with it, less those it has beyond it, whatever the others are; and those that
    come nearest are all that bring any nearer.
    """

    sides: Sides
    earlier: list[list[_ShownGroup]] = field(default_factory=list)
    here: dict[Grouping, list[_ShownGroup]] = field(default_factory=dict)

    def admit(self, by: Grouping, members: Organisations) -> WithheldCode | None:
        """Shows a group of this release, or says why it may not be shown beside all that is shown already."""
        size = members.bit_count()
        if size < MIN_ORGANISATIONS:
            return "fewer-than-five-organisations"
        gives_back = False
        joining = _ShownGroup(members, 0, size)
        nearest: list[tuple[_ShownGroup, int]] = []
        for grouping, groups in [*((None, groups) for groups in self.earlier), *self.here.items()]:
            left = size
            for one in groups:
                in_both = members & one.members
                both, agreed = in_both.bit_count(), (in_both & ~one.changed).bit_count()
                if _few(size + one.size - both - agreed):
                    return "too-close-to-another-figure"
                left -= max(0, agreed - (one.size - both))
                if (brought := agreed - (size - both)) > 0:
                    nearest.append((one, one.left.get(by, one.size) - brought))
            gives_back = gives_back or _few(left)
            if grouping is not None:
                joining.left[grouping] = left
        if gives_back or any(_few(left) for _, left in nearest) or not self.sides.may_join(by, size):
            return "gives-back-a-withheld-group"
        for one, left in nearest:
            one.left[by] = left
        self.here.setdefault(by, []).append(joining)
        return None


@dataclass(frozen=True)
class _Before:
    """An earlier release, its groups by grouping as sets; they still lack the measure."""

    made: Earlier
    groupings: Mapping[Grouping, Mapping[Name, Organisations]]

    def shown(self, measure: Measure, now: Values, bits: _Bits) -> Iterable[list[_ShownGroup]]:
        """What it shows of a measure, grouping by grouping."""
        before = self.made.values.get(measure.code, {})
        scored = bits.of(before)
        rounding = _rounding(measure)
        changed = bits.of(
            respondent
            for respondent, score in before.items()
            if respondent in now and now[respondent] != score and abs(now[respondent] - score) > rounding
        )
        for groups in ({ALL: scored}, *self.groupings.values()):
            yield [
                _ShownGroup(members & scored, changed, (members & scored).bit_count())
                for name, members in groups.items()
                if (figure := self.made.release.figures.get(_key(measure.code, *name))) and figure.withheld is None
            ]


def _rounding(measure: Measure) -> Decimal:
    """How far two scores may lie apart that are one, rounded differently: half of the last place that leaves.

    Otherwise a file taken in a second time with finer scores and one row fewer would seem to differ in all of them.
    """
    return Decimal("0.5").scaleb(-measure.decimals)


def _names(place: Place) -> list[Name]:
    named: list[Name] = [("type", place.type), ("region", place.region)]
    return [name for name in named if name[1] is not None]


def _groupings(places: Mapping[str, Place], bits: _Bits) -> dict[Grouping, dict[Name, Organisations]]:
    """Everybody's type and region as sets, whoever has a score."""
    groupings: dict[Grouping, dict[Name, Organisations]] = {"type": {}, "region": {}}
    for respondent, place in places.items():
        for name in _names(place):
            groups = groupings[name[0]]
            groups[name] = groups.get(name, 0) | bits[respondent]
    return groupings


def _few(organisations: int) -> bool:
    return 0 < organisations < MIN_ORGANISATIONS


def _ranked(values: Values, names: Mapping[str, Sequence[Name]]) -> Mapping[Name, list[Decimal]]:
    """The scores of every group, the lowest first; ``names`` are the groups of each respondent."""
    ranked: dict[Name, list[Decimal]] = defaultdict(list)
    for respondent, score in sorted(values.items(), key=itemgetter(1)):
        for name in names.get(respondent, (ALL,)):
            ranked[name].append(score)
    return ranked


def _sides(measure: Measure) -> Sides:
    return Sides(*bounds(measure), _rounding(measure))


def _figures(
    measure: Measure,
    ranked: Mapping[Name, Sequence[Decimal]],
    withheld: Mapping[Name, WithheldCode | None],
    medians: Mapping[Name, Decimal],
) -> Iterable[Figure]:
    """The figures of a measure, once it is settled whose medians may leave."""
    quartiles = {name: _quartiles(ranked[name], measure) for name in medians if len(ranked[name]) >= MIN_FOR_QUARTILES}

    def tell(with_quartiles: Collection[Name]) -> bool:
        sides = _sides(measure)
        for name, middle in medians.items():
            said = [(MIDDLE, middle)]
            if name in with_quartiles:
                said = [(LOWER, quartiles[name][0]), *said, (UPPER, quartiles[name][1])]
            sides.show(name[0], len(ranked[name]), said)
        return sides.tell()

    leaving = list(quartiles)
    if tell(leaving):
        leaving = []
        for name in quartiles:
            leaving += [] if tell([*leaving, name]) else [name]
    for name, reason in withheld.items():
        figure = Figure(measure=measure.code, by=name[0], group=name[1], withheld=reason, quartiles_withheld=reason)
        if reason is None:
            why = "gives-back-a-withheld-group" if name in quartiles else "fewer-than-twenty-organisations"
            lower, upper = map(float, quartiles[name]) if name in leaving else (None, None)
            figure = figure.model_copy(
                update={
                    "organisations": len(ranked[name]),
                    "median": float(medians[name]),
                    "lower_quartile": lower,
                    "upper_quartile": upper,
                    "quartiles_withheld": None if name in leaving else why,
                }
            )
        yield figure


def _quartiles(scores: Sequence[Decimal], measure: Measure) -> tuple[Decimal, Decimal]:
    """The quartiles of R's and numpy's default (type 7): interpolated between the two nearest scores."""
    lower, _, upper = quantiles(scores, n=QUARTERS, method="inclusive")
    return _outgoing(lower, measure), _outgoing(upper, measure)


def _outgoing(value: Decimal, measure: Measure) -> Decimal:
    """Rounded as the measure says: a finer figure may show of how many people a single score was made."""
    return value.quantize(Decimal(1).scaleb(-measure.decimals), ROUND_HALF_EVEN)
