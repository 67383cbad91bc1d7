"""The page that shows an organisation where it stands: its own scores against the medians and quartiles of a round."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

from deploy.pages.templates import TEMPLATES
from shared.contracts.benchmark import Against, Measure, OwnScore, Position, Standing

WIDTH = 300
"""Width of a strip, in the page's own units."""

STEPS = 10
"""A strip begins and ends at whole tenths of the measure's range."""

STEP_WITHOUT_ENDS = 10.0
"""The same where the range has no end."""

POSITIONS: dict[Position, str] = {
    "below-lower-quartile": "below the lower quartile",
    "between-lower-quartile-and-median": "between the lower quartile and the median",
    "below-median": "below the median",
    "at-median": "at the median",
    "above-median": "above the median",
    "between-median-and-upper-quartile": "between the median and the upper quartile",
    "above-upper-quartile": "above the upper quartile",
}


@dataclass(frozen=True)
class Lane:
    """One group on the strip of a measure: places along the scale, and the same in words."""

    group: str
    words: str
    median: float | None
    quartiles: tuple[float, float] | None
    own: float | None


@dataclass(frozen=True)
class Strip:
    """One measure: the own score in words, and a lane for each group."""

    code: str
    wording: str
    unit: str
    score: str | None
    withheld: str | None
    lowest: str
    highest: str
    lanes: tuple[Lane, ...]


def render(standing: Standing) -> str:
    """The page as HTML that stands alone: no script, no other file, readable without colour and on paper."""
    return TEMPLATES.get_template("standing.html").render(
        standing=standing,
        title=f"{standing.instrument_name.replace('-', ' ').capitalize()} {standing.label}",
        kind=standing.type.replace("-", " ") if standing.type else None,
        released_on=f"{standing.released_at.day} {standing.released_at:%B %Y}",
        summary=_summary(standing.scores),
        strips=[_strip(score, standing) for score in standing.scores],
        width=WIDTH,
    )


def _summary(scores: Sequence[OwnScore]) -> list[tuple[str, int]]:
    counts = Counter(score.everyone.position for score in scores)
    told = [(words, counts[position]) for position, words in POSITIONS.items() if counts[position]]
    hidden = sum(score.value is None for score in scores)
    return [*told, ("withheld, each with its reason below", hidden)] if hidden else told


def _strip(score: OwnScore, standing: Standing) -> Strip:
    low, high = _scale(score)
    groups = [("All", score.everyone)]
    if score.same_type is not None:
        groups.append(("Your type", score.same_type))
    if score.same_region is not None:
        groups.append((standing.region or "Your region", score.same_region))
    return Strip(
        code=score.measure.code,
        wording=score.measure.wording,
        unit=score.measure.unit,
        score=None if score.value is None else _number(score.value, score.measure, _digits(score)),
        withheld=score.withheld.sentence if score.withheld else None,
        lowest=f"{low:g}",
        highest=f"{high:g}",
        lanes=tuple(_lane(name, against, score, (low, high)) for name, against in groups),
    )


def _scale(score: OwnScore) -> tuple[float, float]:
    """The part of the scale that is drawn: around everything shown, in whole steps, within the measure's own range."""
    measure = score.measure
    known = _figures(score) if score.value is None else [score.value, *_figures(score)]
    if not known:
        known = [end for end in (measure.lowest, measure.highest) if end is not None] or [0.0]
    step = STEP_WITHOUT_ENDS
    if measure.lowest is not None and measure.highest is not None:
        step = (measure.highest - measure.lowest) / STEPS
    low, high = (floor(min(known) / step) - 1) * step, (ceil(max(known) / step) + 1) * step
    return (
        low if measure.lowest is None else max(low, measure.lowest),
        high if measure.highest is None else min(high, measure.highest),
    )


def _lane(name: str, against: Against, score: OwnScore, scale: tuple[float, float]) -> Lane:
    figures, measure, digits = against.distribution, score.measure, _digits(score)
    if figures.median is None:
        withheld = figures.withheld.sentence if figures.withheld else "No figure."
        return Lane(name, f"Withheld. {withheld}", None, None, None)
    words = f"Median {_number(figures.median, measure, digits)} of {figures.organisations} organisations"
    quartiles = None
    if figures.lower_quartile is not None and figures.upper_quartile is not None:
        ends = [_number(quartile, measure, digits) for quartile in (figures.lower_quartile, figures.upper_quartile)]
        words += f", quartiles {' and '.join(ends)}"
        quartiles = _along(figures.lower_quartile, scale), _along(figures.upper_quartile, scale)
    words += f"; you are {POSITIONS[against.position]}." if against.position else "."
    if figures.quartiles_withheld is not None:
        words += f" {figures.quartiles_withheld.sentence}"
    own = None if score.value is None else _along(score.value, scale)
    return Lane(name, words, _along(figures.median, scale), quartiles, own)


def _along(value: float, scale: tuple[float, float]) -> float:
    low, high = scale
    return round((value - low) / (high - low) * WIDTH, 1)


def _number(value: float, measure: Measure, digits: int) -> str:
    return f"{value:.{min(measure.decimals, digits)}f}"


def _digits(score: OwnScore) -> int:
    """One decimal, since a person reads no thousandths; all there are where one would make two numbers look alike."""
    own = score.value
    alike = own is not None and any(figure != own and f"{figure:.1f}" == f"{own:.1f}" for figure in _figures(score))
    return score.measure.decimals if alike else 1


def _figures(score: OwnScore) -> list[float]:
    groups = [against.distribution for against in (score.everyone, score.same_type, score.same_region) if against]
    figures = [figure for d in groups for figure in (d.median, d.lower_quartile, d.upper_quartile)]
    return [figure for figure in figures if figure is not None]
