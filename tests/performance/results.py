"""The outcome of a run: a table for the terminal, JSON for programs, and a chart that reads without colour."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path

from rich.console import Console
from rich.table import Table

FEWER_DECIMALS_FROM = 100


@dataclass
class Row:
    """One measure: its figure in every round, and its ratios where something comparable was measured."""

    name: str
    unit: str
    rounds: list[float] = field(default_factory=list)
    to_raw: float | None = None
    to_plain: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)


def compare(row: Row, *, raw: Row | None, plain: Row | None) -> None:
    """Sets the ratios of the medians."""
    row.to_raw = row.median / raw.median if raw else None
    row.to_plain = row.median / plain.median if plain else None


@dataclass(frozen=True)
class Reach:
    """What is to be reached, and whether it is."""

    what: str
    found: float
    limit: float
    at_least: bool = True

    @property
    def reached(self) -> bool:
        return self.found >= self.limit if self.at_least else self.found <= self.limit


def show(title: str, rows: Sequence[Row], reaches: Sequence[Reach], notes: Sequence[str]) -> None:
    """Prints the table, what is reached, and what the figures mean."""
    console = Console(width=None if Console().is_terminal else 110)
    table = Table(title=title, title_justify="left")
    for heading in ("measure", "unit"):
        table.add_column(heading)
    for heading in ("median", "lowest", "highest", "× raw", "× plain"):
        table.add_column(heading, justify="right")
    for row in rows:
        figures = (row.median, min(row.rounds), max(row.rounds))
        table.add_row(row.name, row.unit, *map(_figure, figures), _ratio(row.to_raw), _ratio(row.to_plain))
    console.print(table)
    for reach in reaches:
        sign = "≥" if reach.at_least else "≤"
        verdict = "reached" if reach.reached else "NOT REACHED"
        console.print(f"{verdict:>11}: {reach.what} {sign} {reach.limit:g} (found {_figure(reach.found)})")
    for note in notes:
        console.print(note, style="dim", soft_wrap=False)


def save(directory: Path, rows: Sequence[Row], reaches: Sequence[Reach], context: dict[str, object]) -> None:
    """Writes ``bench.json`` and ``bench.svg``."""
    directory.mkdir(parents=True, exist_ok=True)
    measured = [
        {"name": r.name, "unit": r.unit, "median": r.median, "ratio_to_raw": r.to_raw, "ratio_to_plain": r.to_plain,
         "rounds": r.rounds}
        for r in rows
    ]  # fmt: skip
    reached = [{**asdict(reach), "reached": reach.reached} for reach in reaches]
    everything = {"measures": measured, "reaches": reached, **context}
    (directory / "bench.json").write_text(json.dumps(everything, indent=1, ensure_ascii=False) + "\n")
    (directory / "bench.svg").write_text(_chart([r for r in rows if r.unit == "messages/s"]))


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= FEWER_DECIMALS_FROM else f"{value:.3g}"


def _ratio(value: float | None) -> str:
    return "" if value is None else _figure(value)


BAR, GAP, LABELS, LENGTH, FIGURES = 22, 12, 330, 420, 110
"""Measures of the chart in pixels: a bar's height, the room between two, and the widths of its three columns."""


def _chart(rows: Sequence[Row]) -> str:
    """Bars with their figures beside them, and a line from the lowest to the highest round."""
    height = len(rows) * (BAR + GAP) + GAP + 24
    width = LABELS + LENGTH + FIGURES
    most = max((max(row.rounds) for row in rows), default=1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="13" role="img" aria-labelledby="title">',
        '<title id="title">Messages a second, median of the rounds</title>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        '<text x="8" y="18" font-weight="bold">Messages a second; the thin line spans the rounds</text>',
    ]
    for number, row in enumerate(rows):
        top = 24 + GAP + number * (BAR + GAP)
        middle = top + BAR / 2
        low, high = (LABELS + value / most * LENGTH for value in (min(row.rounds), max(row.rounds)))
        parts += [
            f'<text x="{LABELS - 8}" y="{middle + 5}" text-anchor="end">{escape(row.name)}</text>',
            f'<rect x="{LABELS}" y="{top}" width="{max(1, row.median / most * LENGTH):.1f}" height="{BAR}" '
            'fill="#bbb" stroke="black"/>',
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="black" stroke-width="2"/>',
            f'<text x="{LABELS + LENGTH + 8}" y="{middle + 5}">{_figure(row.median)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
