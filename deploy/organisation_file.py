"""Reads a register of organisations (CSV) into the command that imports it: bytes in, command or refusal out.

The headings are those of the GOV.UK register, or the plain words of ours; their order is free. A list in a cell is
separated by semicolons. What a row may say is for the service to rule on; only what is no row at all is refused here.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from shared.contracts.cloudevent import invalid_fields
from shared.contracts.membership import ImportOrganisations, OrganisationRow
from shared.refusal import Refusal

REGISTER = "GOV.UK"
"""The register a file is of, if nobody says otherwise."""

FIELD_OF_HEADING: Final[Mapping[str, str]] = {
    "slug": "key",
    "key": "key",
    "title": "name",
    "name": "name",
    "format": "format",
    "type": "format",
    "abbreviation": "abbreviation",
    "parent_slugs": "parents",
    "parents": "parents",
    "superseded_slugs": "supersedes",
    "supersedes": "supersedes",
    "nation": "nation",
    "region": "region",
    "place": "place",
    "latitude": "latitude",
    "lat": "latitude",
    "longitude": "longitude",
    "long": "longitude",
}
PASSED_OVER = frozenset({"child_slugs", "web_url"})
"""Columns of the GOV.UK register that say nothing new: children follow from the parents of others."""
NEEDED = ("key", "name", "format")
LISTS = ("parents", "supersedes")
NUMBERS = ("latitude", "longitude")

MAX_CELL = 1_000
"""Characters of a cell that are passed on; the service takes far fewer and says so."""
MAX_PROBLEMS = 200
MAX_ECHO = 40


def read(content: bytes, register: str = REGISTER) -> ImportOrganisations | Refusal:
    """The command that imports the file as ``register``, or everything that is wrong, by line and column."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return _refused([_problem("not-utf-8", line, None, "this is not UTF-8 text; save the file as CSV in UTF-8.")])
    lines, problem = _lines(text)
    if problem:
        return _refused([problem])
    if not lines:
        return _refused([_problem("empty-file", 1, None, f"the file is empty; {_EXPECTED}.")])
    (first, headings), *body = lines
    fields, problems = _fields(first, headings)
    if not body:
        problems.append(_problem("no-rows", first, None, "no row follows the headings."))
    rows = []
    for line, cells in body:
        row, wrong = _row(line, cells, fields)
        problems += wrong
        rows.append(row)
    if problems:
        return _refused(problems)
    try:
        return ImportOrganisations(register_name=register, rows=tuple(OrganisationRow(**row) for row in rows))
    except ValidationError as error:
        return invalid_fields(error, ImportOrganisations)


def _lines(text: str) -> tuple[list[tuple[int, list[str]]], Refusal | None]:
    """Every row that is not blank, with the line it begins on."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines = []
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                lines.append((line, [cell.strip() for cell in cells]))
            line = reader.line_num + 1
    except csv.Error as error:
        return [], _problem(
            "not-csv", line, None, f"this is no CSV ({error}); a quoted field may lack its closing quote."
        )
    return lines, None


def _fields(line: int, headings: Sequence[str]) -> tuple[list[str | None], list[Refusal]]:
    """The field of each column, ``None`` for those passed over."""
    problems = []
    fields: list[str | None] = []
    for column, heading in enumerate(headings):
        field = FIELD_OF_HEADING.get(heading.casefold())
        if field is None and heading.casefold() not in PASSED_OVER:
            said = f"the heading {_cut(heading)} is not known; {_EXPECTED}."
            problems.append(_problem("unknown-heading", line, column, said))
        elif field in fields and field is not None:
            said = f"the heading {_cut(heading)} says what column {fields.index(field) + 1} says; leave one out."
            problems.append(_problem("heading-twice", line, column, said))
        fields.append(field)
    for needed in NEEDED:
        if needed not in fields:
            names = " or ".join(heading for heading, field in FIELD_OF_HEADING.items() if field == needed)
            problems.append(_problem("heading-missing", line, None, f"no column is headed {names}; {_EXPECTED}."))
    return fields, problems


def _row(line: int, cells: Sequence[str], fields: Sequence[str | None]) -> tuple[dict[str, Any], list[Refusal]]:
    row: dict[str, Any] = {"line": line}
    if len(cells) != len(fields):
        said = f"the row has {len(cells)} fields and the headings {len(fields)}; one for each is right."
        return row, [_problem("row-length", line, None, said)]
    problems = []
    for column, (cell, field) in enumerate(zip(cells, fields, strict=True)):
        if field in LISTS:
            row[field] = tuple(part.strip()[:MAX_CELL] for part in cell.split(";") if part.strip())
        elif field in NUMBERS and cell:
            row[field] = _number(cell)
            if row[field] is None:
                said = f"the {field} is {_cut(cell)}; degrees with a decimal point are right, such as 51.507."
                problems.append(_problem("not-a-number", line, column, said))
        elif field not in NUMBERS and field is not None:
            row[field] = cell[:MAX_CELL]
    return row, problems


def _number(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


_EXPECTED = "headings are slug, title and format, and as wanted " + ", ".join(
    ("abbreviation", "parent_slugs", "superseded_slugs", "nation", "region", "place", "latitude", "longitude")
)


def _cut(text: str) -> str:
    if not text:
        return "empty"
    return f"“{text}”" if len(text) <= MAX_ECHO else f"“{text[: MAX_ECHO - 1]}…”"


def _problem(code: str, line: int, column: int | None, said: str) -> Refusal:
    where = f"Line {line}" if column is None else f"Line {line}, column {column + 1}"
    data = {"line": line} if column is None else {"line": line, "column": column + 1}
    return Refusal(code=code, sentence=f"{where}: {said}", data=data)


def _refused(problems: Sequence[Refusal]) -> Refusal:
    more = f" And {len(problems) - 1} more." if len(problems) > 1 else ""
    return Refusal(
        code="organisation-file-malformed",
        sentence=f"The file was not read. {problems[0].sentence}{more}",
        data={
            "problems": [problem.model_dump(mode="json") for problem in problems[:MAX_PROBLEMS]],
            "count": len(problems),
        },
    )
