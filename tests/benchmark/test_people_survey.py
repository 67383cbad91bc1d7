"""A People Survey round from its file: what its rows mean, all or nothing, and once."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.benchmark.domain import instrument, people_survey
from services.benchmark.domain import round as rounds
from services.benchmark.domain.people_survey import Survey
from services.benchmark.domain.round import Round
from shared.contracts.benchmark import ImportPeopleSurvey, Measure, SurveyRow
from shared.refusal import Refusal

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
ROUND, INSTRUMENT = (f"00000000-0000-7000-8000-{n:012}" for n in (1, 2))
MEASURES = (
    Measure(code="B01", wording="I am interested in my work", unit="%", decimals=3),
    Measure(code="E03_yes", wording="Have you been bullied?", unit="% Yes", question="E03", decimals=3),
    Measure(code="E03_no", wording="Have you been bullied?", unit="% No", question="E03", decimals=3),
)


def row(code: str, *scores: float | None, name: str = "A body", line: int | None = None) -> SurveyRow:
    return SurveyRow(line=line, code=code, name=name, scores=scores)


ROWS = (
    row("CS_MEDIAN", 90, 8, 84, line=2),
    row("CS_MEAN", 88, 9, 83, line=3),
    row("ACAS", 87.125, 10, 90, line=4),
    row("AGO", 98.25, None, None, line=5),
    row("MOJ_GROUP", 80, 11, 89, line=6),
)


def command(*rows: SurveyRow, **fields: Any) -> ImportPeopleSurvey:
    return ImportPeopleSurvey(label="2023", source="Made up", measures=MEASURES, rows=rows or ROWS, **fields)


def survey(*rows: SurveyRow, **fields: Any) -> Survey:
    found = people_survey.read(command(*rows, **fields))
    assert isinstance(found, Survey)
    return found


def problems(*rows: SurveyRow) -> list[dict[str, Any]]:
    refusal = people_survey.read(command(*rows))
    assert isinstance(refusal, Refusal)
    return list(refusal.data["problems"])


def imported(found: Survey) -> Round:
    state = None
    decision = people_survey.import_round(found, None, people_survey.version(found, INSTRUMENT), ROUND, NOW)
    assert isinstance(decision, list)
    for event in decision:
        state = rounds.evolve(state, event)
    assert state is not None
    return state


def test_medians_means_and_groups_are_not_organisations() -> None:
    assert [row.code for row in survey().respondents] == ["ACAS", "AGO"]


def test_the_published_medians_are_kept_for_comparison_and_count_in_nothing() -> None:
    assert survey().published == {"B01": 90, "E03_yes": 8, "E03_no": 84}


def test_a_suppressed_cell_is_missing_and_not_zero() -> None:
    found = survey()
    submission = people_survey.submission(found, found.respondents[1], ROUND, INSTRUMENT)
    assert submission.scores == {"B01": 98.25, "E03_yes": None, "E03_no": None}


def test_an_imported_round_is_full_and_closed() -> None:
    round_ = imported(survey())
    assert (round_.state, round_.respondents, round_.published) == ("closed", 2, survey().published)
    assert (round_.label, round_.instrument_name) == ("2023", instrument.PEOPLE_SURVEY)


def test_no_event_of_an_import_carries_a_score_or_the_name_of_an_organisation() -> None:
    found = survey()
    decision = people_survey.import_round(found, None, people_survey.version(found, INSTRUMENT), ROUND, NOW)
    assert isinstance(decision, list)
    said = " ".join(event.model_dump_json(exclude={"published"}) for event in decision)
    assert not any(word in said for word in ("ACAS", "AGO", "A body", "87.1", "98.2"))


def test_the_same_file_again_changes_nothing_in_whatever_order_its_rows_come() -> None:
    again = survey(*reversed(ROWS))
    used = people_survey.version(again, INSTRUMENT)
    assert people_survey.import_round(again, imported(survey()), used, ROUND, NOW) == []


def test_a_different_file_under_the_same_label_is_refused() -> None:
    other = survey(*ROWS[:2], row("ACAS", 87.5, 10, 90), ROWS[3])
    decision = people_survey.import_round(
        other, imported(survey()), people_survey.version(other, INSTRUMENT), ROUND, NOW
    )
    assert isinstance(decision, Refusal)
    assert decision.code == "round-label-taken"


def test_every_problem_is_told_at_once_by_line_and_field() -> None:
    found = problems(
        row("ACAS", 187, 10, 90, line=4),
        row("ACAS", 87, 10, 20, line=5),
        row("a code", 87, 10, line=6, name=" "),
    )
    assert [(p["code"], p["data"]["line"], p["field"]) for p in found] == [
        ("score-out-of-range", 4, "rows.0.scores.0"),
        ("row-twice", 5, "rows.1.code"),
        ("answers-do-not-add-up", 5, "rows.1.scores.1"),
        ("row-code-malformed", 6, "rows.2.code"),
        ("row-name-malformed", 6, "rows.2.name"),
        ("row-length", 6, "rows.2.scores"),
    ]
    assert "Line 5" in found[1]["sentence"]
    assert "line 4" in found[1]["sentence"]


@pytest.mark.parametrize("rows", [ROWS[:2], (ROWS[4],)])
def test_a_file_without_an_organisation_is_refused(rows: tuple[SurveyRow, ...]) -> None:
    assert problems(*rows)[0]["code"] == "no-organisation"


def test_published_medians_need_not_add_up_to_a_hundred() -> None:
    assert survey(row("CS_MEDIAN", 90, 8, 84), ROWS[2])


def test_of_very_many_problems_the_first_are_told_and_all_are_counted() -> None:
    refusal = people_survey.read(command(*[row(f"O{i}", 101, None, None) for i in range(500)]))
    assert isinstance(refusal, Refusal)
    assert (len(refusal.data["problems"]), refusal.data["count"]) == (200, 500)
