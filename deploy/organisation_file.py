"""Reads a register of organisations (CSV) into the command that imports it: bytes in, command or refusal out.

Four kinds of file are told apart by their headings: the GOV.UK register or plain words of ours, mySociety's list of
local authorities, and the lists of NHS trusts and of integrated care boards. Columns come in any order; a list in a
cell is separated by semicolons. What a row may say is for the service to rule on; only what is no row at all is refused
here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from deploy import csv_file
from deploy.csv_file import of_wrong_length, problem, quoted
from shared.contracts.cloudevent import invalid_fields
from shared.contracts.membership import ImportOrganisations, OrganisationRow
from shared.refusal import Refusal


@dataclass(frozen=True)
class Form:
    """One kind of file. ``recognised`` are the headings that tell it; ``register`` what it is of, unless told.

    ``field_of`` says what a column becomes; two may become ``other_names``. A key is ``prefix`` and a code of the
    register, since codes outlive names. ``format`` is what every row is, where no column says it.
    """

    register: str
    recognised: frozenset[str]
    field_of: Mapping[str, str]
    passed_over: frozenset[str]
    needed: tuple[str, ...]
    prefix: str = ""
    format: str | None = None


GOV_UK: Final = {
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
    "other_names": "other_names",
}
FORMS: Final = (
    # Children follow from the parents of others.
    Form("GOV.UK", frozenset({"slug"}), GOV_UK, frozenset({"child_slugs", "web_url"}), ("key", "name", "format")),
    Form(
        "local authorities",
        frozenset({"local_authority_code"}),
        {
            "local_authority_code": "key",
            "official_name": "name",
            "nice_name": "other_names",
            "local_authority_type_name": "format",
            "nation": "nation",
            "region": "region",
            "lat": "latitude",
            "long": "longitude",
        },
        # The code of the Office for National Statistics changes with a boundary, and size must not matter.
        frozenset({"gss_code", "pop_2020"}),
        ("key", "name", "format"),
        prefix="local-authority-",
    ),
    Form(
        "NHS trusts",
        frozenset({"ods_code", "type"}),
        {
            "ods_code": "key",
            "name": "name",
            "alt_names": "other_names",
            "type": "format",
            "region": "region",
            "ics": "ics",
            "predecessor_codes": "supersedes",
        },
        frozenset({"merger_date"}),
        ("key", "name", "format"),
        prefix="nhs-trust-",
    ),
    Form(
        "NHS integrated care boards",
        frozenset({"ods_code"}),
        {"ods_code": "key", "name": "name", "alt_names": "other_names", "region": "region"},
        frozenset(),
        ("key", "name"),
        prefix="integrated-care-board-",
        format="Integrated care board",
    ),
)
REGION_OF_CARE_SYSTEM: Final = {
    "Birmingham and Solihull": "West Midlands",
    "Black Country": "West Midlands",
    "Coventry and Warwickshire": "West Midlands",
    "Herefordshire and Worcestershire": "West Midlands",
    "Shropshire, Telford and Wrekin": "West Midlands",
    "Staffordshire and Stoke-on-Trent": "West Midlands",
    "Derby and Derbyshire": "East Midlands",
    "Leicester, Leicestershire and Rutland": "East Midlands",
    "Lincolnshire": "East Midlands",
    "Northamptonshire": "East Midlands",
    "Nottingham and Nottinghamshire": "East Midlands",
    "North East and North Cumbria": "North East",
    "Humber and North Yorkshire": "Yorkshire and The Humber",
    "South Yorkshire": "Yorkshire and The Humber",
    "West Yorkshire": "Yorkshire and The Humber",
}
"""Two regions of the NHS are two of ours each: its care system, or most of it, lies in the one named here."""
REGIONS_TO_DIVIDE = ("Midlands", "North East and Yorkshire")
NATIONAL, SEVERAL_SYSTEMS = "National", "-"
"""Of a trust that works in all of England, or for several care systems, the file tells no region of ours."""
LISTS = ("parents", "supersedes", "other_names")
NUMBERS = ("latitude", "longitude")

MALFORMED = "organisation-file-malformed"
MAX_CELL = 1_000
"""Characters of a cell that are passed on; the service takes far fewer and says so."""


def read(content: bytes, register: str | None = None) -> ImportOrganisations | Refusal:
    """The command that imports the file as ``register``, or everything that is wrong, by line and column.

    Left out, the register is the one that such a file is of.
    """
    lines = csv_file.rows(content, _EXPECTED)
    if isinstance(lines, Refusal):
        return csv_file.refused(MALFORMED, [lines])
    (first, headings), *body = lines
    form = recognise(headings)
    if form is None:
        said = f"these headings are of no register that is known; {_EXPECTED}."
        return csv_file.refused(MALFORMED, [problem("unknown-register", first, None, said)])
    fields, problems = _fields(first, headings, form)
    if not body:
        problems.append(csv_file.without_rows(first))
    rows = []
    for line, cells in body:
        row, wrong = _row(line, cells, fields, form)
        problems += wrong
        rows.append(row)
    if problems:
        return csv_file.refused(MALFORMED, problems)
    try:
        return ImportOrganisations(
            register_name=register or form.register, rows=tuple(OrganisationRow(**row) for row in rows)
        )
    except ValidationError as error:
        return invalid_fields(error, ImportOrganisations)


def recognise(headings: Sequence[str]) -> Form | None:
    """The kind of file that has these headings."""
    present = {heading.casefold() for heading in headings}
    for form in FORMS[1:]:
        if form.recognised <= present:
            return form
    plain = FORMS[0]
    return plain if any(plain.field_of.get(heading) in plain.needed for heading in present) else None


def _fields(line: int, headings: Sequence[str], form: Form) -> tuple[list[str | None], list[Refusal]]:
    """The field of each column, ``None`` for those passed over."""
    problems: list[Refusal] = []
    fields: list[str | None] = []
    for column, heading in enumerate(headings):
        field = form.field_of.get(heading.casefold())
        if field is None and heading.casefold() not in form.passed_over:
            said = f"the heading {quoted(heading)} is not known{_expected(problems)}."
            problems.append(problem("unknown-heading", line, column, said))
        elif field in fields and field is not None:
            said = f"the heading {quoted(heading)} says what column {fields.index(field) + 1} says; leave one out."
            problems.append(problem("heading-twice", line, column, said))
        fields.append(field)
    for needed in form.needed:
        if needed not in fields:
            names = " or ".join(heading for heading, field in form.field_of.items() if field == needed)
            problems.append(
                problem("heading-missing", line, None, f"no column is headed {names}{_expected(problems)}.")
            )
    return fields, problems


def _expected(problems: Sequence[Refusal]) -> str:
    """What is right, said once."""
    return "" if any(_EXPECTED in problem.sentence for problem in problems) else f"; {_EXPECTED}"


def _row(
    line: int, cells: Sequence[str], fields: Sequence[str | None], form: Form
) -> tuple[dict[str, Any], list[Refusal]]:
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
    if form.prefix:
        row["key"] = _coded(row["key"], form) if row["key"] else ""
        row["supersedes"] = tuple(_coded(code, form) for code in row.get("supersedes", ()))
    if form.format:
        row["format"] = form.format
    if "ods_code" in form.recognised:
        # A board is called after the care system it plans for.
        care_system = row.pop("ics") if "ics" in fields else row.get("name", "").removesuffix(" ICB")
        row["region"] = _region(row.get("region", ""), care_system)
        row["nation"] = "England"
    return row, problems


def _coded(code: str, form: Form) -> str:
    return form.prefix + code.lower()


def _region(told: str, care_system: str) -> str:
    """The region of a trust or board among ours, if any; what is none of the NHS stands as it is, for the service."""
    if told in REGIONS_TO_DIVIDE and care_system != SEVERAL_SYSTEMS:
        return REGION_OF_CARE_SYSTEM.get(care_system, told)
    return "" if told in (NATIONAL, *REGIONS_TO_DIVIDE) else told


def _number(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


_OPTIONAL = ("abbreviation", "parent_slugs", "superseded_slugs", "nation", "region", "place", "latitude", "longitude")
_EXPECTED = (
    f"headings are slug, title and format, and as wanted {', '.join(_OPTIONAL)}; or those of the list of local "
    "authorities (local_authority_code, official_name, …), of NHS trusts (ods_code, name, type, …) or of integrated "
    "care boards (ods_code, name, …)"
)
