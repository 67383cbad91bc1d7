"""The outcome of a run: a table, also as a page; JSON for programs; a chart that reads without colour."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

FEWER_DECIMALS_FROM = 100
WIDTH = 80
"""Columns of what is printed where there is no terminal; the table needs no more."""

JSON, CHART, PAGE = "bench.json", "bench.svg", "bench.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
"""The marks between which the page stands wherever it is pasted."""

HEADINGS = ("measure", "unit", "median", "range", "× raw", "× plain", "× peer")
WORDS = 2
"""Columns of words, on the left; the others are figures."""


@dataclass
class Row:
    """One measure: its figure in every round, and its ratios where something comparable was measured."""

    name: str
    unit: str
    rounds: list[float] = field(default_factory=list)
    to_raw: float | None = None
    to_plain: float | None = None
    to_peer: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    def set_ratios(self, raw: "Row | None", plain: "Row | None" = None, peers: Sequence["Row"] = ()) -> None:
        """Sets the ratios of the medians; that to the strongest of the peers."""
        self.to_raw = self.median / raw.median if raw else None
        self.to_plain = self.median / plain.median if plain else None
        self.to_peer = self.median / max(peer.median for peer in peers) if peers else None

    @property
    def cells(self) -> tuple[str, ...]:
        """What stands under the headings."""
        low, high = _figure(min(self.rounds)), _figure(max(self.rounds))
        ratios = (self.to_raw, self.to_plain, self.to_peer)
        return (
            self.name,
            self.unit,
            _figure(self.median),
            f"{low}–{high}" if len(self.rounds) > 1 else "",
            *("" if ratio is None else _ratio(ratio) for ratio in ratios),
        )


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

    @property
    def aim(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {_figure(self.limit)}"

    @property
    def verdict(self) -> str:
        return "reached" if self.reached else "NOT REACHED"


@dataclass
class Outcome:
    """Everything there is to show so far. ``breaks_off`` says where, if it is not all that was wanted."""

    rows: list[Row]
    reaches: list[Reach]
    notes: list[str]
    context: dict[str, Any]
    breaks_off: str | None = None


def say(*sentences: str) -> None:
    """Prints sentences as they are: no colours in their figures, no marks in their brackets."""
    console = Console(width=None if Console().is_terminal else WIDTH, highlight=False, markup=False)
    for sentence in sentences:
        console.print(sentence)


def show(outcome: Outcome) -> None:
    """Prints the table, what is reached, and what the figures mean."""
    print_table("Concord, side by side", HEADINGS, [row.cells for row in outcome.rows], WORDS)
    for reach in outcome.reaches:
        say(f"{reach.verdict:>11}  {reach.what} {reach.aim} (found {_figure(reach.found)})")
    say("", *outcome.notes)
    if outcome.breaks_off:
        say("", f"This is not all: {outcome.breaks_off}.")


def print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> None:
    """Prints a table whose first ``words`` columns are words and the others figures."""
    console = Console(width=None if Console().is_terminal else WIDTH, highlight=False)
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < words else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def save(directory: Path, outcome: Outcome) -> list[Path]:
    """Writes the three files, each as a whole or not at all, and says which."""
    measured = [
        {"name": r.name, "unit": r.unit, "median": r.median, "ratio_to_raw": r.to_raw, "ratio_to_plain": r.to_plain,
         "ratio_to_peer": r.to_peer, "rounds": r.rounds}
        for r in outcome.rows
    ]  # fmt: skip
    reached = [{**asdict(reach), "reached": reach.reached} for reach in outcome.reaches]
    everything = {
        "measures": measured,
        "reaches": reached,
        **outcome.context,
        "notes": outcome.notes,
        "breaks_off": outcome.breaks_off,
    }
    return [
        write(directory / JSON, json.dumps(everything, indent=1, ensure_ascii=False) + "\n"),
        write(directory / CHART, _chart([r for r in outcome.rows if r.unit == "messages/s"])),
        write(directory / PAGE, _page(outcome)),
    ]


def write(path: Path, text: str) -> Path:
    """Writes a file so that whoever ends us meanwhile leaves the one that was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(text)
    return new.replace(path)


def load(directory: Path) -> Outcome:
    """What ``save`` wrote last."""
    saved = json.loads((directory / JSON).read_text())
    rows = [
        Row(m["name"], m["unit"], m["rounds"], m["ratio_to_raw"], m["ratio_to_plain"], m["ratio_to_peer"])
        for m in saved.pop("measures")
    ]
    reaches = [Reach(r["what"], r["found"], r["limit"], r["at_least"]) for r in saved.pop("reaches")]
    return Outcome(rows, reaches, saved.pop("notes"), breaks_off=saved.pop("breaks_off"), context=saved)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= FEWER_DECIMALS_FROM else f"{value:.3g}"


def _ratio(value: float) -> str:
    for least, decimals in ((FEWER_DECIMALS_FROM, 0), (10, 1), (0.1, 2)):
        if value >= least:
            return f"{value:,.{decimals}f}"
    return f"{value:.2g}"


# ---- the page ----------------------------------------------------------------------------------------------------


def _page(outcome: Outcome) -> str:
    """The table, what is reached and what the figures mean, in Markdown."""
    found = [(reach.what, reach.aim, _figure(reach.found), reach.verdict) for reach in outcome.reaches]
    parts = [
        BEGIN,
        _markdown(HEADINGS, [row.cells for row in outcome.rows], WORDS),
        _markdown(("to be reached", "aim", "found", ""), found, 1),
        "\n".join(f"- {note}" for note in outcome.notes),
        f"**This is not all: {outcome.breaks_off}.**" if outcome.breaks_off else "",
        "To repeat it: `make bench` (about ten minutes on two cores); it writes `build/bench.json`, `build/bench.svg` "
        "and this table as `build/bench.md`.",
        END,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> str:
    if not rows:
        return ""
    ruler = [":--" if number < words else "--:" for number in range(len(headings))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (headings, ruler, *rows))


# ---- the chart ---------------------------------------------------------------------------------------------------

BAR, GAP, LABELS, LENGTH, FIGURES = 22, 10, 180, 430, 130
"""Measures of the chart in pixels: a bar's height, the room between two, and the widths of its three columns."""
LINE = 30
"""The height of a line of text between the bars."""
OURS = ("pipeline", "relay")
"""How the names begin whose bars are dark."""
PUBLISHING = ("raw, publishing", "relay")
"""How the names begin that stand in the second group."""


def _chart(rows: Sequence[Row]) -> str:
    """Bars with figures and ratios beside them, and a line from the lowest to the highest round."""
    most = max((max(row.rounds) for row in rows), default=1)
    groups = {
        "from publishing to the last effect": [row for row in rows if not row.name.startswith(PUBLISHING)],
        "publishing alone": [row for row in rows if row.name.startswith(PUBLISHING)],
    }
    drawn, top = [_text(12, 22, "Messages a second", bold=True)], LINE
    for heading, members in groups.items():
        if members:
            drawn.append(_text(LABELS, top + 18, heading))
            top += LINE
        for row in members:
            drawn += _bar(row, top, LENGTH / most)
            top += BAR + GAP
    drawn.append(_text(12, top + 16, "Median of the rounds; the thin line spans them. Concord dark, the others light."))
    width, height = LABELS + LENGTH + FIGURES, top + LINE
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="13" role="img" aria-labelledby="title">',
        '<title id="title">Messages a second, median of the rounds</title>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    return "\n".join([*head, *drawn, "</svg>"]) + "\n"


def _bar(row: Row, top: int, scale: float) -> list[str]:
    """One bar with its name on the left and its figures on the right; ratios for ours only."""
    ours = row.name.startswith(OURS)
    middle = top + BAR // 2
    low, median, high = (LABELS + value * scale for value in (min(row.rounds), row.median, max(row.rounds)))
    span = f'x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"'
    drawn = [
        _text(LABELS - 8, middle + 5, row.name, bold=ours, anchor="end"),
        f'<rect x="{LABELS}" y="{top}" width="{max(1, median - LABELS):.1f}" height="{BAR}" '
        f'fill="{"#555" if ours else "#ddd"}" stroke="black"/>',
    ]
    if len(row.rounds) > 1:
        drawn.append(f'<line {span} stroke="white" stroke-width="5"/><line {span} stroke="black" stroke-width="2"/>')
    ratios = {"raw": row.to_raw, "plain": row.to_plain, "peer": row.to_peer} if ours else {}
    told = ", ".join(f"{_ratio(ratio)} × {what}" for what, ratio in ratios.items() if ratio is not None)
    figure = _figure(row.median)
    return [*drawn, _text(high + 8, middle + 5, f"{figure} ({told})" if told else figure, bold=ours)]


def _text(x: float, y: float, words: str, *, bold: bool = False, anchor: str = "start") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}"{weight}>{escape(words)}</text>'
