"""Reads a register of organisations (CSV) into the command that imports it: bytes in, command or refusal out.

The headings are those of the GOV.UK register, or the plain words of ours; their order is free. A list in a cell is
separated by semicolons. What a row may say is for the service to rule on; only what is no row at all is refused here.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from deploy import csv_file
from deploy.csv_file import of_wrong_length, problem, quoted
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

MALFORMED = "organisation-file-malformed"
MAX_CELL = 1_000
"""Characters of a cell that are passed on; the service takes far fewer and says so."""


def read(content: bytes, register: str = REGISTER) -> ImportOrganisations | Refusal:
    """The command that imports the file as ``register``, or everything that is wrong, by line and column."""
    lines = csv_file.rows(content, _EXPECTED)
    if isinstance(lines, Refusal):
        return csv_file.refused(MALFORMED, [lines])
    (first, headings), *body = lines
    fields, problems = _fields(first, headings)
    if not body:
        problems.append(csv_file.without_rows(first))
    rows = []
    for line, cells in body:
        row, wrong = _row(line, cells, fields)
        problems += wrong
        rows.append(row)
    if problems:
        return csv_file.refused(MALFORMED, problems)
    try:
        return ImportOrganisations(register_name=register, rows=tuple(OrganisationRow(**row) for row in rows))
    except ValidationError as error:
        return invalid_fields(error, ImportOrganisations)


def _fields(line: int, headings: Sequence[str]) -> tuple[list[str | None], list[Refusal]]:
    """The field of each column, ``None`` for those passed over."""
    problems = []
    fields: list[str | None] = []
    for column, heading in enumerate(headings):
        field = FIELD_OF_HEADING.get(heading.casefold())
        if field is None and heading.casefold() not in PASSED_OVER:
            said = f"the heading {quoted(heading)} is not known; {_EXPECTED}."
            problems.append(problem("unknown-heading", line, column, said))
        elif field in fields and field is not None:
            said = f"the heading {quoted(heading)} says what column {fields.index(field) + 1} says; leave one out."
            problems.append(problem("heading-twice", line, column, said))
        fields.append(field)
    for needed in NEEDED:
        if needed not in fields:
            names = " or ".join(heading for heading, field in FIELD_OF_HEADING.items() if field == needed)
            problems.append(problem("heading-missing", line, None, f"no column is headed {names}; {_EXPECTED}."))
    return fields, problems


def _row(line: int, cells: Sequence[str], fields: Sequence[str | None]) -> tuple[dict[str, Any], list[Refusal]]:
    row: dict[str, Any] = {"line": line}
    if wrong := of_wrong_length(line, cells, len(fields)):
        return row, [wrong]
    problems = []
    for column, (cell, field) in enumerate(zip(cells, fields, strict=True)):
        if field in LISTS:
            row[field] = tuple(part.strip()[:MAX_CELL] for part in cell.split(";") if part.strip())
        elif field in NUMBERS and cell:
            row[field] = _number(cell)
            if row[field] is None:
                said = f"the {field} is {quoted(cell)}; degrees with a decimal point are right, such as 51.507."
                problems.append(problem("not-a-number", line, column, said))
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
