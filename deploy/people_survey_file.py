"""Reads a People Survey organisation file (CSV) into the command that imports it: bytes in, command or refusal out.

The Cabinet Office changes the headings from year to year. What it keeps is four columns that say who the row is about
and then one for each measure, headed ``CODE. wording (unit) [notes]``. ``[c]`` in a cell is a suppressed score. Which
rows are organisations is for the service to say; all are passed on.
"""

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Sequence

from pydantic import ValidationError

from shared.contracts.benchmark import ImportPeopleSurvey, Measure, PublishedComparison, SurveyRow
from shared.contracts.cloudevent import invalid_fields
from shared.refusal import Refusal

PUBLISHER = "Cabinet Office, Civil Service People Survey"
SUPPRESSED = "[c]"
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

MAX_PROBLEMS = 200
MAX_ECHO = 40

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
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return _refused([_problem("not-utf-8", line, None, "this is not UTF-8 text; save the file as CSV in UTF-8.")])
    rows, problem = _rows(text)
    if problem:
        return _refused([problem])
    if not rows:
        return _refused([_problem("empty-file", 1, None, f"the file is empty; it starts with {_expected()}.")])
    (line, headings), *body = rows
    measures, problems = _measures(headings, line)
    survey_rows = []
    for line, cells in body:
        row, wrong = _row(line, cells, headings)
        problems += wrong
        if row is not None:
            survey_rows.append(row)
    if not body:
        problems.append(_problem("no-rows", line, None, "no row follows the headings."))
    if problems:
        return _refused(problems)
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


def _rows(text: str) -> tuple[list[tuple[int, list[str]]], Refusal | None]:
    """Every row that is not blank, with the line it begins on."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows = []
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((line, [cell.strip() for cell in cells]))
            line = reader.line_num + 1
    except csv.Error as error:
        return [], _problem(
            "not-csv", line, None, f"this is no CSV ({error}); a quoted field may lack its closing quote."
        )
    return rows, None


def _measures(headings: Sequence[str], line: int) -> tuple[list[Measure], list[Refusal]]:
    problems = []
    for index, wanted in enumerate(ABOUT_THE_ROW):
        found = headings[index] if index < len(headings) else ""
        if found.casefold() != wanted.casefold() and not (wanted == "notes" and found.casefold().endswith(wanted)):
            problems.append(
                _problem(
                    "wrong-heading", line, index, f"the heading is {_cut(found)}; the file starts with {_expected()}."
                )
            )
    read_headings = []
    for index, heading in enumerate(headings[len(ABOUT_THE_ROW) :], start=len(ABOUT_THE_ROW)):
        code, wording, unit = _heading(heading)
        if code is None or not wording:
            problems.append(
                _problem("heading-without-code", line, index, f"{_cut(heading)} has no code before a dot, such as B01.")
            )
        else:
            read_headings.append((index, code, wording, unit))
    if not read_headings and not problems:
        problems.append(_problem("no-measures", line, None, f"no measure follows {_expected()}."))
    codes = _told_apart([(code, unit) for _, code, _, unit in read_headings])
    counts = Counter(codes)
    stems = Counter(match[1] for code in codes if (match := _ANSWER.match(code)))
    measures = []
    for (index, _, wording, unit), code in zip(read_headings, codes, strict=True):
        if counts[code] > 1:
            problems.append(_problem("code-twice", line, index, f"the code {code} heads {counts[code]} columns."))
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
    if len(cells) != len(headings):
        said = f"the row has {len(cells)} fields and the headings {len(headings)}; one for each is right."
        return None, [_problem("row-length", line, None, said)]
    problems = []
    scores: list[float | None] = []
    for index, cell in enumerate(cells[len(ABOUT_THE_ROW) :], start=len(ABOUT_THE_ROW)):
        score = _score(cell)
        if cell != SUPPRESSED and score is None:
            column = _heading(headings[index])[0] or f"column {index + 1}"
            said = f"{column} is {_cut(cell)}; a number such as 72.5 is right, or {SUPPRESSED} where it is suppressed."
            problems.append(_problem("not-a-score", line, index, said))
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
        code="people-survey-file-malformed",
        sentence=f"The file was not read. {problems[0].sentence}{more}",
        data={
            "problems": [problem.model_dump(mode="json") for problem in problems[:MAX_PROBLEMS]],
            "count": len(problems),
        },
    )
