"""Standing: where an organisation's score lies in a distribution, and how our medians compare with published ones."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from statistics import median

from services.benchmark.domain.disclosure import REASONS, Figure, Values, counted, overall_median
from services.benchmark.domain.scores import Submission, not_asked
from shared.contracts.benchmark import (
    Against,
    Distribution,
    Grouping,
    Measure,
    MeasureComparison,
    OwnScore,
    Position,
    Withheld,
    WithheldCode,
)

AGREEMENT = Decimal("0.0005")
"""Two medians agree to three decimals: the published one is ours, rounded up or down."""


def distribution(figure: Figure) -> Distribution:
    """A figure that went through the gate, with its reasons in words."""
    return Distribution(
        by=figure.by,
        group=figure.group,
        organisations=figure.organisations,
        median=figure.median,
        lower_quartile=figure.lower_quartile,
        upper_quartile=figure.upper_quartile,
        withheld=withheld(figure.withheld) if figure.withheld else None,
        quartiles_withheld=withheld(figure.quartiles_withheld) if figure.quartiles_withheld else None,
    )


def withheld(code: WithheldCode) -> Withheld:
    """A reason in words."""
    return Withheld(code=code, sentence=REASONS[code])


def position(score: float | None, figure: Distribution) -> Position | None:
    """Where a score lies among the figures shown. It is read off them alone, so it tells nothing they do not."""
    if score is None or figure.median is None:
        return None
    if score == figure.median:
        return "at-median"
    if figure.lower_quartile is None or figure.upper_quartile is None:
        return "below-median" if score < figure.median else "above-median"
    if score < figure.median:
        return "below-lower-quartile" if score < figure.lower_quartile else "between-lower-quartile-and-median"
    return "above-upper-quartile" if score > figure.upper_quartile else "between-median-and-upper-quartile"


def own(measure: Measure, shown: float | WithheldCode, figures: Mapping[tuple[str, Grouping], Figure]) -> OwnScore:
    """An organisation's score on one measure as the gate shows it, against the figures around it."""
    value = shown if isinstance(shown, float) else None

    def against(by: Grouping) -> Against | None:
        figure = figures.get((measure.code, by))
        if figure is None:
            return None
        of_group = distribution(figure)
        return Against(distribution=of_group, position=position(value, of_group))

    return OwnScore(
        measure=measure,
        value=value,
        withheld=None if isinstance(shown, float) else withheld(shown),
        everyone=against("all"),
        same_type=against("type"),
        same_region=against("region"),
    )


def compare(
    measures: Sequence[Measure], submissions: Sequence[Submission], published: Mapping[str, float]
) -> list[MeasureComparison]:
    """Our median of each measure beside the published one, and what the file shows about those that differ."""
    scores = {submission.respondent: counted(measures, submission) for submission in submissions}
    unasked = {submission.respondent: not_asked(measures, submission.scores) for submission in submissions}
    comparisons = []
    for measure in measures:
        code = measure.code
        known = {respondent: mine[code] for respondent, mine in scores.items() if code in mine}
        without = tuple(sorted(respondent for respondent in scores if code in unasked[respondent]))
        suppressed = tuple(sorted(scores.keys() - known.keys() - set(without)))
        theirs = Decimal(repr(published[code])) if code in published else None
        ours = None if theirs is None else overall_median(known)
        agrees = ours is not None and theirs is not None and abs(ours - theirs) <= AGREEMENT
        comparisons.append(
            MeasureComparison(
                code=code,
                wording=measure.wording,
                unit=measure.unit,
                organisations=len(known),
                median=None if ours is None else float(round(ours, 4)),
                published=None if theirs is None else float(theirs),
                agrees=agrees,
                suppressed=suppressed,
                not_asked=without,
                reason=None if agrees else _reason(measure, known, suppressed, without, theirs),
            )
        )
    return comparisons


def _reason(
    measure: Measure,
    known: Values,
    suppressed: Sequence[str],
    unasked: Sequence[str],
    theirs: Decimal | None,
) -> str:
    """What can be shown from the file alone about a median that was not reproduced.

    How far suppressed scores could move the median is not said in figures: those are other organisations' scores, and
    with many suppressed the lowest and the highest of all.
    """
    if theirs is None:
        return "The file publishes no median for it."
    if overall_median(known) is None:
        return f"{len(known)} organisations have a score in this file, too few for a median."
    if not suppressed:
        return "No organisation's score is suppressed in this file; the file does not show why the medians differ."
    total = len(known) + len(suppressed)
    who = f"{len(suppressed)} of {total} organisations' scores are suppressed in this file"
    if unasked:
        who += f", and nobody was asked in {len(unasked)} more"
    if measure.lowest is None or measure.highest is None:
        return f"{who}."
    lowest, highest = (
        median([*known.values(), *[Decimal(repr(bound))] * len(suppressed)])
        for bound in (measure.lowest, measure.highest)
    )
    if lowest - AGREEMENT <= theirs <= highest + AGREEMENT:
        return f"{who}; with them the median can be the published one."
    return f"{who}; whatever they are, the median cannot be the published one, so they do not explain it."
