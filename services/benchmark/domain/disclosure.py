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

There is no smallest, largest or mean: the extremes are single organisations' scores, and a mean gives back a score to
whoever knows the others. The audit against all earlier releases by exact bounds belongs into ``_may_join``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from statistics import median, quantiles

from pydantic import BaseModel

from services.benchmark.domain.instrument import answers_by_question
from services.benchmark.domain.scores import Submission, not_asked
from shared.contracts.benchmark import Grouping, Measure, WithheldCode
from shared.contracts.membership import OrganisationType, Region

MIN_ORGANISATIONS = 5
"""Organisations behind a figure of a group, and by which two figures of one measure differ if they differ."""

MIN_ANSWERS = 10
"""People behind a score, where their number is known."""

QUARTERS = 4
MIN_FOR_QUARTILES = QUARTERS * MIN_ORGANISATIONS

REASONS: dict[WithheldCode, str] = {
    "fewer-than-five-organisations": f"Fewer than {MIN_ORGANISATIONS} organisations of this group have a score.",
    "fewer-than-twenty-organisations": f"Quartiles are shown from {MIN_FOR_QUARTILES} organisations on, so that each "
    f"quarter holds at least {MIN_ORGANISATIONS}.",
    "gives-back-a-withheld-group": "With the other figures it would tell about fewer than "
    f"{MIN_ORGANISATIONS} organisations whose own figure is withheld.",
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
        return f"{self.measure}/{self.by}/{self.group or ''}"


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
    figures = []
    for measure in measures:
        of_measure = values[measure.code]
        shown = [Shown.of_release(e, measure, of_measure) for e in earlier]
        here = Shown()
        for group in _groups(places, of_measure):
            reason = _reason_to_withhold(group, here, [*shown, here])
            if reason is None:
                here.add(group)
            figures.append(_figure(measure, group, reason))
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


Scores = frozenset[tuple[str, Decimal]]
"""What a figure rests on: respondents with their scores."""


@dataclass(frozen=True)
class _Group:
    by: Grouping
    name: str | None
    scores: Scores


@dataclass
class Shown:
    """What one release shows of one measure, by grouping; the groups of one grouping have no organisation in common."""

    groupings: dict[Grouping, list[Scores]] = field(default_factory=dict)

    def add(self, group: _Group) -> None:
        """Takes a group in as shown."""
        self.groupings.setdefault(group.by, []).append(group.scores)

    @property
    def all(self) -> Iterable[Scores]:
        """Every group shown, whatever its grouping."""
        return (scores for groups in self.groupings.values() for scores in groups)

    @classmethod
    def of_release(cls, earlier: Earlier, measure: Measure, now: Values) -> "Shown":
        """What an earlier release shows of a measure. A score that is as it was then counts as the one of ``now``."""
        shown = cls()
        before = earlier.values.get(measure.code, {})
        same = {r: now[r] if r in now and _as_it_was(measure, now[r], score) else score for r, score in before.items()}
        for group in _groups(earlier.release.places, same):
            figure = earlier.release.figures.get(Figure(measure=measure.code, by=group.by, group=group.name).key)
            if figure is not None and figure.withheld is None:
                shown.add(group)
        return shown


def _as_it_was(measure: Measure, now: Decimal, before: Decimal) -> bool:
    """Whether two scores are one, rounded differently: half of the last place that leaves, or less, lies between.

    Otherwise a file taken in a second time with finer scores and one row fewer would seem to differ in all of them.
    """
    return abs(now - before) <= Decimal("0.5").scaleb(-measure.decimals)


def _groups(places: Mapping[str, Place], values: Values) -> list[_Group]:
    """All organisations, then the groups by type and by region, the larger before the smaller."""
    members: dict[tuple[Grouping, str], set[tuple[str, Decimal]]] = {}
    for respondent, place in places.items():
        score = values.get(respondent)
        for by, name in (("type", place.type), ("region", place.region)):
            if name is not None:
                of_group = members.setdefault((by, name), set())  # type: ignore[arg-type]  # a literal of Grouping
                if score is not None:
                    of_group.add((respondent, score))
    groups = [_Group(by, name, frozenset(scores)) for (by, name), scores in members.items()]
    groups.sort(key=lambda group: (-len(group.scores), group.by, group.name or ""))
    return [_Group("all", None, frozenset(values.items())), *groups]


def _reason_to_withhold(group: _Group, here: Shown, shown: Sequence[Shown]) -> WithheldCode | None:
    if len(group.scores) < MIN_ORGANISATIONS:
        return "fewer-than-five-organisations"
    return _may_join(group, here, shown)


def _may_join(group: _Group, here: Shown, shown: Sequence[Shown]) -> WithheldCode | None:
    """Whether a group may be shown beside all that is shown already, of this release (``here``) and of earlier ones."""
    others = [scores for one in shown for scores in one.all]
    if any(_few(_organisations(group.scores ^ other)) for other in others if _comparable(group.scores, other)):
        return "too-close-to-another-figure"
    for one in shown:
        for groups in one.groupings.values():
            if _leaves_few(group.scores, groups):
                return "gives-back-a-withheld-group"
    grouping = [*here.groupings.get(group.by, ()), group.scores]
    if any(_leaves_few(other, grouping) for other in others):
        return "gives-back-a-withheld-group"
    return None


def _comparable(one: Scores, other: Scores) -> bool:
    """Whether they can differ by few at all: a quick look before the slow one."""
    return abs(len(one) - len(other)) < MIN_ORGANISATIONS


def _leaves_few(whole: Scores, groups: Sequence[Scores]) -> bool:
    """Whether some of the groups together, which have no organisation in common, differ from ``whole`` by few.

    Those that come nearest to it are the ones that bring more of its scores than organisations it does not have.
    """
    inside: set[str] | None = None
    nearest = []
    for group in groups:
        if group.isdisjoint(whole):
            continue
        beyond = group - whole
        if beyond:
            inside = inside or {respondent for respondent, _ in whole}
            if len(group) - len(beyond) <= sum(respondent not in inside for respondent, _ in beyond):
                continue
        nearest.append(group)
    together: Scores = frozenset().union(*nearest)
    return bool(nearest) and _few(_organisations(whole ^ together))


def _organisations(scores: Scores) -> int:
    return len({respondent for respondent, _ in scores})


def _few(organisations: int) -> bool:
    return 0 < organisations < MIN_ORGANISATIONS


def _figure(measure: Measure, group: _Group, withheld: WithheldCode | None) -> Figure:
    if withheld is not None:
        return Figure(
            measure=measure.code, by=group.by, group=group.name, withheld=withheld, quartiles_withheld=withheld
        )
    scores = [score for _, score in group.scores]
    figure = Figure(
        measure=measure.code,
        by=group.by,
        group=group.name,
        organisations=len(scores),
        median=_outgoing(median(scores), measure),
        quartiles_withheld="fewer-than-twenty-organisations",
    )
    if len(scores) < MIN_FOR_QUARTILES:
        return figure
    # The quartiles of R's and numpy's default (type 7): interpolated between the two nearest scores.
    lower, _, upper = quantiles(scores, n=QUARTERS, method="inclusive")
    return figure.model_copy(
        update={
            "lower_quartile": _outgoing(lower, measure),
            "upper_quartile": _outgoing(upper, measure),
            "quartiles_withheld": None,
        }
    )


def _outgoing(value: Decimal, measure: Measure) -> float:
    """Rounded as the measure says: a finer figure may show of how many people a single score was made."""
    return float(value.quantize(Decimal(1).scaleb(-measure.decimals), ROUND_HALF_EVEN))
