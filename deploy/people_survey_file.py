"""Reads a People Survey organisation file (CSV) into the command that imports it: bytes in, command or refusal out.

The Cabinet Office changes the headings from year to year. What it keeps is four columns that say who the row is about
and then one for each measure, headed ``CODE. wording (unit) [notes]``. ``[c]`` in a cell is a suppressed score. Which
rows are organisations is for the service to say; all are passed on.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

from pydantic import ValidationError

from deploy import csv_file
from deploy.csv_file import of_wrong_length, problem, quoted
from shared.contracts.benchmark import ImportPeopleSurvey, Measure, PublishedComparison, SurveyRow
from shared.contracts.cloudevent import invalid_fields
from shared.refusal import Refusal

PUBLISHER = "Cabinet Office, Civil Service People Survey"
SUPPRESSED = "[c]"
MALFORMED = "people-survey-file-malformed"
ABOUT_THE_ROW = ("Organisation", "Organisation name", "Department group", "notes")
"""The first four headings; the fourth is "Notes" or "Organisation notes"."""

DECIMALS = 3
"""The file itself states scores and medians to three decimals."""

UNCODED = {"response rate": "response_rate", "engagement index": "EES"}
"""Measures that some years head without a code, by what their heading says, with the code of other years or ours."""

UNLIMITED = frozenset({"response_rate"})
"""Percentages that may pass 100: more people than were invited may answer (103.398 in 2023)."""

ANSWERS = {"yes": "yes", "no": "no", "prefer not to say": "pnts"}
"""What 2022 says in the unit of an answer, and what later years put behind its code (E01_yes)."""

_NOTE = re.compile(r"\[note \d+\]")
_CODE = re.compile(r"^([A-Za-z][A-Za-z0-9_]{0,39})\.(?=\D)\s*(.*)$", re.DOTALL)
_UNIT = re.compile(r"^(.*?)\s*\(\s*([^()]*)\)$", re.DOTALL)
_ANSWER = re.compile(r"^(.+)_(?:yes|no|pnts|\d+)$")


def round_of(file_name: str) -> str | None:
    """The round a file is about: the year in its name, if it has exactly one."""
    years = set(re.findall(r"(?<!\d)20\d\d(?!\d)", file_name))
    return years.pop() if len(years) == 1 else None


def read(content: bytes, label: str, source: str = PUBLISHER) -> ImportPeopleSurvey | Refusal:
    """The command that imports the file as the round ``label``, or everything that is wrong, by line and column.

    ``source`` says who publishes it; the pages made from the round name it.
    """
    rows = csv_file.rows(content, f"it starts with {_expected()}")
    if isinstance(rows, Refusal):
        return csv_file.refused(MALFORMED, [rows])
    (line, headings), *body = rows
    measures, problems = _measures(headings, line)
    survey_rows = []
    for line, cells in body:
        row, wrong = _row(line, cells, headings)
        problems += wrong
        if row is not None:
            survey_rows.append(row)
    if not body:
        problems.append(csv_file.without_rows(line))
    if problems:
        return csv_file.refused(MALFORMED, problems)
    try:
        return ImportPeopleSurvey(label=label, source=source, measures=tuple(measures), rows=tuple(survey_rows))
    except ValidationError as error:
        return invalid_fields(error, ImportPeopleSurvey)


def in_words(comparison: PublishedComparison) -> tuple[str, list[tuple[str, str]]]:
    """How many published medians were reproduced, and for each other measure its name and the reason."""
    sentence = (
        f"{comparison.reproduced} of {comparison.compared} published medians are reproduced to three decimals "
        f"from {comparison.respondents} organisations."
    )
    rest = []
    for measure in comparison.measures:
        if measure.reason is not None:
            medians = ""
            if measure.median is not None and measure.published is not None:
                medians = f"{measure.median:.3f} here, {measure.published:.3f} published. "
            rest.append((f"{measure.code}, {measure.unit}: {measure.wording}", f"{medians}{measure.reason}"))
    return sentence, rest


def _measures(headings: Sequence[str], line: int) -> tuple[list[Measure], list[Refusal]]:
    problems = []
    for index, wanted in enumerate(ABOUT_THE_ROW):
        found = headings[index] if index < len(headings) else ""
        if found.casefold() != wanted.casefold() and not (wanted == "notes" and found.casefold().endswith(wanted)):
            problems.append(
                problem(
                    "wrong-heading", line, index, f"the heading is {quoted(found)}; the file starts with {_expected()}."
                )
            )
    read_headings = []
    for index, heading in enumerate(headings[len(ABOUT_THE_ROW) :], start=len(ABOUT_THE_ROW)):
        code, wording, unit = _heading(heading)
        if code is None or not wording:
            problems.append(
                problem(
                    "heading-without-code", line, index, f"{quoted(heading)} has no code before a dot, such as B01."
                )
            )
        else:
            read_headings.append((index, code, wording, unit))
    if not read_headings and not problems:
        problems.append(problem("no-measures", line, None, f"no measure follows {_expected()}."))
    codes = _told_apart([(code, unit) for _, code, _, unit in read_headings])
    counts = Counter(codes)
    stems = Counter(match[1] for code in codes if (match := _ANSWER.match(code)))
    measures = []
    for (index, _, wording, unit), code in zip(read_headings, codes, strict=True):
        if counts[code] > 1:
            problems.append(problem("code-twice", line, index, f"the code {code} heads {counts[code]} columns."))
            continue
        answer = _ANSWER.match(code)
        measures.append(
            Measure(
                code=code,
                wording=wording[:500],
                unit=unit[:200],
                highest=None if code in UNLIMITED else 100,
                question=answer[1] if answer and stems[answer[1]] > 1 else None,
                decimals=DECIMALS,
            )
        )
    return measures, problems


def _heading(heading: str) -> tuple[str | None, str, str]:
    """Code, wording and unit. The unit is what the last brackets say."""
    text = " ".join(_NOTE.sub("", heading).split())
    match = _CODE.match(text)
    code, rest = (match[1], match[2]) if match else (None, text)
    if code is None:
        code = next((code for said, code in UNCODED.items() if said in text.casefold()), None)
    bracketed = _UNIT.match(rest)
    if bracketed is None:
        return code, rest, "%" if code in UNLIMITED else "index"
    wording, unit = bracketed[1], bracketed[2].strip()
    return code, wording, unit if unit.startswith("%") else f"index, {unit}"


def _told_apart(headings: Sequence[tuple[str, str]]) -> list[str]:
    """Codes as later years have them: 2022 heads the three answers to E01 all with E01."""
    counts = Counter(code for code, _ in headings)
    codes = []
    for code, unit in headings:
        answer = ANSWERS.get(unit.removeprefix("%").strip())
        codes.append(f"{code}_{answer}" if counts[code] > 1 and answer else code)
    return codes


def _row(line: int, cells: Sequence[str], headings: Sequence[str]) -> tuple[SurveyRow | None, list[Refusal]]:
    if wrong := of_wrong_length(line, cells, len(headings)):
        return None, [wrong]
    problems = []
    scores: list[float | None] = []
    for index, cell in enumerate(cells[len(ABOUT_THE_ROW) :], start=len(ABOUT_THE_ROW)):
        score = _score(cell)
        if cell != SUPPRESSED and score is None:
            column = _heading(headings[index])[0] or f"column {index + 1}"
            said = (
                f"{column} is {quoted(cell)}; a number such as 72.5 is right, or {SUPPRESSED} where it is suppressed."
            )
            problems.append(problem("not-a-score", line, index, said))
        scores.append(score)
    if problems:
        return None, problems
    return SurveyRow(line=line, code=cells[0][:1_000], name=cells[1][:1_000], scores=tuple(scores)), []


def _score(cell: str) -> float | None:
    try:
        score = float(cell)
    except ValueError:
        return None
    return score if math.isfinite(score) else None


def _expected() -> str:
    return "Organisation, Organisation name, Department group, Notes and then a column for each measure"
