"""Reading People Survey files: made-up ones with every fault, and the two real ones."""

from itertools import pairwise
from pathlib import Path

import pytest

from deploy import people_survey_file
from services.benchmark.domain import disclosure, people_survey, standing
from services.benchmark.domain.people_survey import Survey
from shared.contracts.benchmark import ImportPeopleSurvey, Measure, PublishedComparison
from shared.refusal import Refusal

HEADINGS = (
    "Organisation,Organisation name,Department group,Organisation notes,Survey response rate (%),"
    '"HSE_index.Proxy Stress Index(high score means high stress)",'
    "\"B59E.I have a choice where I work(base, home)(% selecting 'Agree')[note 1]\""
)
ACAS = "ACAS,Acas,Business,,72.665,28.552,[c]"


def read(*lines: str) -> ImportPeopleSurvey | Refusal:
    return people_survey_file.read("\r\n".join(lines).encode(), "2023")


def taken(*lines: str) -> ImportPeopleSurvey:
    command = read(*lines)
    assert isinstance(command, ImportPeopleSurvey), command
    return command


def problems(*lines: str) -> list[tuple[str, int, int | None]]:
    refusal = read(*lines)
    assert isinstance(refusal, Refusal)
    return [(p["code"], p["data"]["line"], p["data"].get("column")) for p in refusal.data["problems"]]


def headed(*headings: str) -> tuple[Measure, ...]:
    columns = ",".join(f'"{heading}"' for heading in headings)
    values = ",".join("0" for _ in headings)
    return taken(f"Organisation,Organisation name,Department group,Notes,{columns}", f"ACAS,Acas,,,{values}").measures


def test_a_row_becomes_its_code_its_name_and_a_score_for_each_measure() -> None:
    [row] = taken(HEADINGS, ACAS).rows
    assert (row.line, row.code, row.name, row.scores) == (2, "ACAS", "Acas", (72.665, 28.552, None))


def test_a_heading_becomes_code_wording_and_unit_without_its_notes() -> None:
    assert [(m.code, m.wording, m.unit) for m in taken(HEADINGS, ACAS).measures] == [
        ("response_rate", "Survey response rate", "%"),
        ("HSE_index", "Proxy Stress Index", "index, high score means high stress"),
        ("B59E", "I have a choice where I work(base, home)", "% selecting 'Agree'"),
    ]


def test_a_response_rate_may_pass_a_hundred() -> None:
    assert [m.highest for m in taken(HEADINGS, ACAS).measures] == [None, 100, 100]


def test_measures_that_a_year_heads_without_a_code_get_the_one_of_other_years() -> None:
    codes = [m.code for m in headed("Response rate", "Employee engagement index (B47-B51)", "EX. Other (%)")]
    assert codes == ["response_rate", "EES", "EX"]


def test_answers_that_share_a_code_are_told_apart_by_what_they_count_and_belong_to_one_question() -> None:
    measures = headed(*[f"E01. Discriminated against? (% {a}) [note 3]" for a in ("yes", "no", "prefer not to say")])
    assert [(m.code, m.question) for m in measures] == [
        ("E01_yes", "E01"),
        ("E01_no", "E01"),
        ("E01_pnts", "E01"),
    ]


def test_a_code_that_only_looks_like_an_answer_belongs_to_no_question() -> None:
    assert [m.question for m in headed("C01_1.Leave?(% a)", "X_index.Y (high)")] == [None, None]


def test_blank_lines_are_passed_over_and_lines_are_counted_as_an_editor_does() -> None:
    command = taken(HEADINGS, "", 'AGO,"Attorney General\'s\nOffice",,,1,2,3', ACAS)
    assert [(row.line, row.code) for row in command.rows] == [(3, "AGO"), (5, "ACAS")]


def test_every_bad_cell_is_told_at_once_by_line_and_column() -> None:
    assert problems(HEADINGS, "ACAS,Acas,,,many,28.5,", "AGO,Ago,,,1,nan,3", "AIB,Aib,,,1,2") == [
        ("not-a-score", 2, 5),
        ("not-a-score", 2, 7),
        ("not-a-score", 3, 6),
        ("row-length", 4, None),
    ]
    refusal = read(HEADINGS, "ACAS,Acas,,,many,28.5,1")
    assert isinstance(refusal, Refusal)
    assert "Line 2, column 5: response_rate is “many”; a number such as 72.5 is right, or [c]" in refusal.sentence


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([""], ("empty-file", 1, None)),
        ([HEADINGS], ("no-rows", 1, None)),
        (["a,b,c,d,E1.x"], ("wrong-heading", 1, 1)),
        (["Organisation,Organisation name,Department group,Notes"], ("no-measures", 1, None)),
        (
            ["Organisation,Organisation name,Department group,Notes,Just words", "A,A,,,1"],
            ("heading-without-code", 1, 5),
        ),
        (["Organisation,Organisation name,Department group,Notes,B1.x,B1.y", "A,A,,,1,2"], ("code-twice", 1, 5)),
        ([HEADINGS, 'ACAS,"Acas'], ("not-csv", 2, None)),
    ],
)
def test_a_file_that_is_something_else_is_refused_with_what_would_be_right(
    lines: list[str], expected: tuple[str, int, int | None]
) -> None:
    assert problems(*lines)[0] == expected


def test_a_file_that_is_not_utf_8_is_refused_by_its_line() -> None:
    refusal = people_survey_file.read(HEADINGS.encode() + b"\nACAS,Caf\xe9", "2023")
    assert isinstance(refusal, Refusal)
    assert refusal.data["problems"][0]["data"] == {"line": 2}


def test_a_byte_order_mark_is_no_part_of_the_first_heading() -> None:
    command = people_survey_file.read(b"\xef\xbb\xbf" + f"{HEADINGS}\n{ACAS}".encode(), "2023")
    assert isinstance(command, ImportPeopleSurvey)


def test_a_label_that_cannot_be_is_refused_by_field() -> None:
    refusal = people_survey_file.read(f"{HEADINGS}\n{ACAS}".encode(), "two/three")
    assert isinstance(refusal, Refusal)
    assert "label" in str(refusal.model_dump())


def test_the_round_is_the_year_in_the_name_of_the_file() -> None:
    assert people_survey_file.round_of("people_survey_2023_organisations.csv") == "2023"
    assert people_survey_file.round_of("people_survey_2022_2023.csv") is None
    assert people_survey_file.round_of("export 120231.csv") is None


# The real files -----------------------------------------------------------------------------------------------------


def real(folder: Path, year: str) -> tuple[ImportPeopleSurvey, Survey]:
    command = people_survey_file.read((folder / f"people_survey_{year}_organisations.csv").read_bytes(), year)
    assert isinstance(command, ImportPeopleSurvey), command
    survey = people_survey.read(command)
    assert isinstance(survey, Survey), survey
    return command, survey


@pytest.mark.parametrize(("year", "measures", "organisations"), [("2022", 116, 102), ("2023", 119, 103)])
def test_a_real_file_is_read_whole_and_fits_one_message(
    real_data: Path, year: str, measures: int, organisations: int
) -> None:
    command, survey = real(real_data, year)
    assert (len(survey.measures), len(survey.respondents)) == (measures, organisations)
    assert len(command.model_dump_json()) < 200_000


@pytest.mark.parametrize(("year", "at_least"), [("2022", 101), ("2023", 99)])
def test_the_medians_of_a_real_round_are_the_published_ones(real_data: Path, year: str, at_least: int) -> None:
    _, survey = real(real_data, year)
    submissions = [people_survey.submission(survey, row, "r", row.code) for row in survey.respondents]
    compared = standing.compare(survey.measures, submissions, survey.published)
    assert sum(measure.agrees for measure in compared) >= at_least
    for measure in compared:
        if not measure.agrees:
            assert measure.suppressed
            assert measure.reason is not None
            assert measure.reason.endswith("with them the median can be the published one.")


def test_in_2022_zeros_of_questions_nobody_was_asked_are_what_kept_fifteen_medians_apart(real_data: Path) -> None:
    _, survey = real(real_data, "2022")
    submissions = [people_survey.submission(survey, row, "r", row.code) for row in survey.respondents]
    compared = standing.compare(survey.measures, submissions, survey.published)
    assert all(measure.agrees for measure in compared)
    assert sum(bool(measure.not_asked) for measure in compared) == 15


def test_both_years_name_what_they_share_alike(real_data: Path) -> None:
    codes = [{measure.code for measure in real(real_data, year)[1].measures} for year in ("2022", "2023")]
    for one, other in pairwise([*codes, codes[0]]):
        assert len(one - other) <= 7, one - other


def test_no_organisation_of_a_real_round_can_work_out_an_answer_that_was_suppressed(real_data: Path) -> None:
    _, survey = real(real_data, "2023")
    for row in survey.respondents:
        submission = people_survey.submission(survey, row, "r", row.code)
        shown = disclosure.own_scores(survey.measures, submission)
        for measure in survey.measures:
            if measure.question and shown[measure.code] == "no-score":
                answers = [m.code for m in survey.measures if m.question == measure.question]
                assert not any(isinstance(shown[code], float) for code in answers)


def test_a_comparison_says_in_words_what_was_reproduced_and_why_the_rest_was_not(real_data: Path) -> None:
    _, survey = real(real_data, "2023")
    submissions = [people_survey.submission(survey, row, "r", row.code) for row in survey.respondents]
    compared = standing.compare(survey.measures, submissions, survey.published)
    sentence, rest = people_survey_file.in_words(
        PublishedComparison(
            round="00000000-0000-7000-8000-000000000001",
            label="2023",
            source=survey.source,
            respondents=len(submissions),
            reproduced=sum(measure.agrees for measure in compared),
            compared=len(compared),
            measures=tuple(compared),
        )
    )
    assert sentence == "100 of 119 published medians are reproduced to three decimals from 103 organisations."
    assert len(rest) == 19
    assert rest[0][0].startswith("CV3, % selecting 'Yes': Would you describe yourself as having")
    assert rest[0][1].startswith("8.085 here, 8.083 published. 14 of 103 organisations' scores are suppressed")
