"""Reads a CSV file into rows that know their line, and says what is wrong with it by line and column."""

import csv
import io
from collections.abc import Sequence

from shared.refusal import Refusal

MAX_PROBLEMS = 200
"""Problems a refusal lists; it counts them all."""
MAX_ECHO = 40
"""Characters of a cell that a sentence repeats."""

Row = tuple[int, list[str]]
"""The line a row begins on, from 1, and its cells without the blanks around them."""


def rows(content: bytes, expected: str) -> list[Row] | Refusal:
    """Every row that is not blank, the headings first; or the problem for which there are none.

    ``expected`` says, as the end of a sentence, what the file should begin with.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return problem("not-utf-8", line, None, "this is not UTF-8 text; save the file as CSV in UTF-8.")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: list[Row] = []
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                found.append((line, [cell.strip() for cell in cells]))
            line = reader.line_num + 1
    except csv.Error as error:
        return problem("not-csv", line, None, f"this is no CSV ({error}); a quoted field may lack its closing quote.")
    if not found:
        return problem("empty-file", 1, None, f"the file is empty; {expected}.")
    line, headings = found[0]
    if len(headings) == 1 and (other := next((mark for mark in ";\t" if mark in headings[0]), None)):
        separated = {";": "semicolons", "\t": "tabs"}[other]
        said = f"the headings are separated by {separated}; save the file with commas between its fields."
        return problem("wrong-separator", line, None, said)
    return found


def without_rows(line: int) -> Refusal:
    """The problem of a file whose last row is its headings."""
    return problem("no-rows", line, None, "no row follows the headings.")


def of_wrong_length(line: int, cells: Sequence[str], headings: int) -> Refusal | None:
    """The problem of a row that has not one cell for each heading."""
    if len(cells) == headings:
        return None
    return problem(
        "row-length", line, None, f"the row has {len(cells)} fields and the headings {headings}; one for each is right."
    )


def quoted(text: str) -> str:
    """A cell as a sentence repeats it."""
    if not text:
        return "empty"
    return f"“{text}”" if len(text) <= MAX_ECHO else f"“{text[: MAX_ECHO - 1]}…”"


def problem(code: str, line: int, column: int | None, said: str) -> Refusal:
    """One thing that is wrong; ``column`` counts from 0, and people read it from 1."""
    where = f"Line {line}" if column is None else f"Line {line}, column {column + 1}"
    data = {"line": line} if column is None else {"line": line, "column": column + 1}
    return Refusal(code=code, sentence=f"{where}: {said}", data=data)


def refused(code: str, problems: Sequence[Refusal]) -> Refusal:
    """The refusal of a whole file."""
    more = f" And {len(problems) - 1} more." if len(problems) > 1 else ""
    return Refusal(
        code=code,
        sentence=f"The file was not read. {problems[0].sentence}{more}",
        data={"problems": [one.model_dump(mode="json") for one in problems[:MAX_PROBLEMS]], "count": len(problems)},
    )
