"""A register as a CSV file becomes one command, or a refusal that names line and column."""

from pathlib import Path

import pytest

from deploy import organisation_file
from shared.contracts.membership import ImportOrganisations, OrganisationRow
from shared.refusal import Refusal

HEADINGS = "slug,title,format,abbreviation,parent_slugs,child_slugs,superseded_slugs,web_url"
TREASURY = 'hm-treasury,"HM Treasury",Ministerial department,HMT,,office,old-treasury;older,https://www.gov.uk'


def read(*lines: str) -> ImportOrganisations | Refusal:
    return organisation_file.read("\r\n".join(lines).encode())


def rows(*lines: str) -> tuple[OrganisationRow, ...]:
    command = read(*lines)
    assert isinstance(command, ImportOrganisations), command
    return command.rows


def problems(*lines: str) -> list[tuple[str, int, int | None]]:
    refusal = read(*lines)
    assert isinstance(refusal, Refusal)
    return [(each["code"], each["data"]["line"], each["data"].get("column")) for each in refusal.data["problems"]]


def test_a_file_of_the_gov_uk_register_is_read_with_its_lists() -> None:
    assert rows(HEADINGS, TREASURY) == (
        OrganisationRow(
            line=2,
            key="hm-treasury",
            name="HM Treasury",
            format="Ministerial department",
            abbreviation="HMT",
            supersedes=("old-treasury", "older"),
        ),
    )


def test_a_file_in_plain_words_may_say_where_a_body_is() -> None:
    [row] = rows(
        "Key,Name,Type,Parents,Nation,Region,Place,Latitude,Longitude",
        "leeds,Leeds,council,a; b,England,Yorkshire and The Humber,Leeds,53.8,-1.55",
    )
    assert (row.parents, row.place, row.latitude, row.longitude) == (("a", "b"), "Leeds", 53.8, -1.55)


def test_blank_lines_are_passed_over_and_line_numbers_stay_right() -> None:
    assert [row.line for row in rows("", HEADINGS, "", TREASURY, '"b","two\nlines",Court,,,,,', TREASURY)] == [4, 5, 7]


def test_every_problem_is_told_with_its_line_and_column() -> None:
    assert problems(
        "slug,title,regoin,latitude,Lat",
        "a,A,,north,51",
        "b,B",
    ) == [
        ("unknown-heading", 1, 3),
        ("heading-twice", 1, 5),
        ("heading-missing", 1, None),
        ("not-a-number", 2, 4),
        ("row-length", 3, None),
    ]


def test_a_number_that_is_none_is_refused() -> None:
    for latitude in ("nan", "inf", "51,5"):
        assert problems("key,name,type,latitude", f'a,A,council,"{latitude}"') == [("not-a-number", 2, 4)]


def test_a_file_that_is_empty_or_has_only_headings_is_refused() -> None:
    assert problems("") == [("empty-file", 1, None)]
    assert problems(HEADINGS) == [("no-rows", 1, None)]


@pytest.mark.parametrize(("mark", "said"), [(";", "semicolons"), ("\t", "tabs")])
def test_a_file_with_other_marks_between_its_fields_is_told_which_are_right(mark: str, said: str) -> None:
    refusal = organisation_file.read(f"{HEADINGS}\nacas,Acas".replace(",", mark).encode())
    assert isinstance(refusal, Refusal)
    assert f"separated by {said}; save the file with commas" in refusal.sentence


@pytest.mark.parametrize("headings", ["key,colour,shape", "key,key,colour"])
def test_what_headings_are_right_is_said_once(headings: str) -> None:
    refusal = organisation_file.read(f"{headings}\na,red,round".encode())
    assert isinstance(refusal, Refusal)
    said = [str(problem["sentence"]) for problem in refusal.data["problems"]]
    assert len(said) > 2
    assert sum("headings" in sentence for sentence in said) == 1


def test_a_file_that_is_no_csv_or_no_text_is_refused_with_the_line() -> None:
    assert problems(HEADINGS, 'a,"A')[0][:2] == ("not-csv", 2)
    refusal = organisation_file.read(HEADINGS.encode() + b"\nacas,Caf\xe9")
    assert isinstance(refusal, Refusal)
    assert refusal.sentence == ("The file was not read. Line 2: this is not UTF-8 text; save the file as CSV in UTF-8.")


def test_a_byte_order_mark_is_passed_over() -> None:
    content = f"\ufeff{HEADINGS}\n{TREASURY}".encode()
    assert isinstance(organisation_file.read(content), ImportOrganisations)


def test_a_register_with_more_rows_than_one_command_takes_is_refused() -> None:
    refusal = read(HEADINGS, *[TREASURY] * 5_001)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "invalid-fields"


def test_the_whole_gov_uk_register_is_one_command_of_less_than_a_megabyte(real_data: Path) -> None:
    command = organisation_file.read((real_data / "govuk_organisations_2026.csv").read_bytes())
    assert isinstance(command, ImportOrganisations)
    assert len(command.rows) == 663
    assert len(command.model_dump_json()) < 500_000
