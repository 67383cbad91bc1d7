"""The Civil Service People Survey: what its organisation file means, and taking a round in from it, all or nothing.

Source: Cabinet Office, Civil Service People Survey, results by organisation (2022, 2023). The first rows are published
summaries, the last ones aggregates of organisations that have rows of their own; ``[c]`` is a suppressed score.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256

from pydantic import BaseModel, TypeAdapter, ValidationError

from services.benchmark.domain.instrument import PEOPLE_SURVEY, Instrument, measure_problems
from services.benchmark.domain.problems import together
from services.benchmark.domain.round import Round
from services.benchmark.domain.scores import Submission, score_problems
from shared.contracts.benchmark import (
    ImportPeopleSurvey,
    Measure,
    RespondentCode,
    RoundClosed,
    RoundOpened,
    ScoresImported,
    SurveyRow,
)
from shared.contracts.message import Event
from shared.refusal import Refusal

SUMMARY_PREFIX = "CS_"
"""Begins the codes of summaries over the whole Civil Service: CS_MEDIAN, CS_MEAN."""

PUBLISHED_MEDIAN = "CS_MEDIAN"

GROUP_SUFFIX = "_GROUP"
"""Ends the codes of aggregates of several organisations: MOJ_GROUP, UKSA_GROUP."""

TITLE = "Civil Service People Survey"
LONGEST_NAME = 200

_CODE = TypeAdapter(RespondentCode)


class Survey(BaseModel, frozen=True):
    """What a file says, put in order. ``content`` is a digest of it that the order of the rows does not change."""

    label: str
    source: str
    measures: tuple[Measure, ...]
    respondents: tuple[SurveyRow, ...]
    published: dict[str, float]
    content: str


def is_organisation(row: SurveyRow) -> bool:
    """Whether a row is an organisation: medians, means and groups are not."""
    return not row.code.startswith(SUMMARY_PREFIX) and not row.code.endswith(GROUP_SUFFIX)


def read(command: ImportPeopleSurvey) -> Survey | Refusal:
    """Puts the rows of a file in order, or says everything that is wrong with them, by line and field."""
    problems = [*measure_problems(command.measures), *_row_problems(command.measures, command.rows)]
    respondents = tuple(sorted((row for row in command.rows if is_organisation(row)), key=lambda row: row.code))
    if not respondents:
        problems.append(
            Refusal(
                code="no-organisation",
                sentence="No row is an organisation: every one is a median, a mean or a group.",
                field="rows",
            )
        )
    if problems:
        return together("people-survey-malformed", f"Nothing of the round {command.label} was taken in", problems)
    medians = next((row for row in command.rows if row.code == PUBLISHED_MEDIAN), None)
    published = _by_measure(command.measures, medians) if medians else {}
    return Survey(
        label=command.label,
        source=command.source,
        measures=command.measures,
        respondents=respondents,
        published={code: score for code, score in published.items() if score is not None},
        content=_digest(command),
    )


def import_round(
    survey: Survey, existing: Round | None, instrument: Instrument, new_id: str, at: datetime
) -> list[Event] | Refusal:
    """Opens, fills and closes a round; ``existing`` is the round of that label. The same file again changes nothing."""
    if existing is not None:
        if existing.content == survey.content:
            return []
        return Refusal(
            code="round-label-taken",
            sentence=f"The People Survey round {existing.label} was taken in from a file that says something else. "
            "What was taken in does not change; import a corrected file under a label of its own.",
            field="label",
            data={"round": existing.id},
        )
    return [
        RoundOpened(
            round=new_id,
            instrument=instrument.id,
            instrument_name=PEOPLE_SURVEY,
            label=survey.label,
            opened_at=at,
            source=survey.source,
        ),
        ScoresImported(
            round=new_id,
            source=survey.source,
            respondents=len(survey.respondents),
            content=survey.content,
            published=survey.published,
        ),
        RoundClosed(round=new_id, respondents=len(survey.respondents), closed_at=at, source=survey.source),
    ]


def version(survey: Survey, new_id: str) -> Instrument:
    """The questionnaire of a survey: the measures its file has."""
    return Instrument(id=new_id, name=PEOPLE_SURVEY, version=survey.label, title=TITLE, measures=survey.measures)


def submission(survey: Survey, row: SurveyRow, round_: str, new_id: str) -> Submission:
    """What is kept of one organisation's row."""
    return Submission(
        id=new_id,
        round=round_,
        respondent=row.code,
        name=row.name.strip(),
        organisation=None,
        scores=_by_measure(survey.measures, row),
    )


def _by_measure(measures: Sequence[Measure], row: SurveyRow) -> dict[str, float | None]:
    return {measure.code: score for measure, score in zip(measures, row.scores, strict=True)}


def _row_problems(measures: Sequence[Measure], rows: Sequence[SurveyRow]) -> Iterator[Refusal]:
    columns = {measure.code: index for index, measure in enumerate(measures)}
    first_with: dict[str, SurveyRow] = {}
    for index, row in enumerate(rows):
        for code, field, said in _problems_of(row, measures, columns, first_with):
            yield Refusal(
                code=code,
                sentence=f"{f'Line {row.line}' if row.line else f'Row {index + 1}'}: {said}",
                field=f"rows.{index}.{field}",
                data={"line": row.line, "row": row.code[:40]},
            )


def _problems_of(
    row: SurveyRow, measures: Sequence[Measure], columns: Mapping[str, int], first_with: dict[str, SurveyRow]
) -> Iterator[tuple[str, str, str]]:
    """Code, field and sentence of each."""
    if not _is_code(row.code):
        yield "row-code-malformed", "code", "the code is no short word such as ACAS."
    elif first_with.setdefault(row.code, row) is not row:
        earlier = first_with[row.code].line
        there = f", on line {earlier}" if earlier else ""
        yield "row-twice", "code", f"{row.code} has a row already{there}; each organisation has one."
    name = row.name.strip()
    if not 0 < len(name) <= LONGEST_NAME:
        yield "row-name-malformed", "name", f"the name has {len(name)} characters; 1 to {LONGEST_NAME} are right."
    if len(row.scores) != len(measures):
        said = f"there are {len(row.scores)} scores for {len(measures)} measures; one for each is right."
        yield "row-length", "scores", said
    elif is_organisation(row):
        for wrong in score_problems(measures, _by_measure(measures, row)):
            yield wrong.code, f"scores.{columns[wrong.field or '']}", wrong.sentence


def _is_code(code: str) -> bool:
    try:
        _CODE.validate_python(code)
    except ValidationError:
        return False
    return True


def _digest(command: ImportPeopleSurvey) -> str:
    said: Mapping[str, object] = {
        "measures": [measure.model_dump() for measure in command.measures],
        "rows": sorted((row.code, row.name, row.scores) for row in command.rows),
    }
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
