"""Registers other than GOV.UK's: local authorities, NHS trusts and care boards, told apart by their headings."""

from pathlib import Path

from deploy import organisation_file
from services.membership.domain import organisation_register
from services.membership.domain.organisation import Organisation, evolve
from services.membership.domain.organisation_register import Intake
from shared.contracts.membership import ImportOrganisations, OrganisationRow
from shared.refusal import Refusal

COUNCILS = (
    "local_authority_code,official_name,nice_name,gss_code,nation,region,local_authority_type_name,pop_2020,lat,long"
)
LEEDS = (
    "LDS,Leeds City Council,Leeds,E08000035,England,Yorkshire and The Humber,Metropolitan district,798786.0,53.8,-1.5"
)
TRUSTS = "ods_code,name,alt_names,type,region,ics,predecessor_codes,merger_date"
BRISTOL = (
    "RA7,Bristol NHS Foundation Trust,Bristol FT;UHBW;NBT,Acute and Acute & Community Trusts,South West,"
    '"Bristol, North Somerset and South Gloucestershire",RVJ,2026-07-01'
)
REAL_REGISTERS = (
    "govuk_organisations_2026.csv",
    "local_authorities_2025.csv",
    "nhs_trusts_2026.csv",
    "nhs_integrated_care_boards_2026.csv",
)


def read(*lines: str) -> ImportOrganisations | Refusal:
    return organisation_file.read("\n".join(lines).encode())


def command(*lines: str) -> ImportOrganisations:
    found = read(*lines)
    assert isinstance(found, ImportOrganisations), found
    return found


def problems(*lines: str) -> list[tuple[str, int, int | None]]:
    refusal = read(*lines)
    assert isinstance(refusal, Refusal)
    return [(each["code"], each["data"]["line"], each["data"].get("column")) for each in refusal.data["problems"]]


def taken_in(asked: ImportOrganisations, known: tuple[Organisation, ...] = ()) -> Intake | Refusal:
    ids = [f"00000000-0000-7000-8000-{number:012x}" for number in range(len(asked.rows))]
    return organisation_register.take_in(asked, known, ids)


def test_a_council_has_its_code_as_key_and_its_short_name_as_another() -> None:
    asked = command(COUNCILS, LEEDS)
    assert asked.register_name == "local authorities"
    assert asked.rows == (
        OrganisationRow(
            line=2,
            key="local-authority-lds",
            name="Leeds City Council",
            format="Metropolitan district",
            other_names=("Leeds",),
            nation="England",
            region="Yorkshire and The Humber",
            latitude=53.8,
            longitude=-1.5,
        ),
    )


def test_a_trust_has_its_other_names_and_its_predecessors() -> None:
    [row] = command(TRUSTS, BRISTOL).rows
    assert (row.key, row.region, row.nation, row.supersedes) == (
        "nhs-trust-ra7",
        "South West",
        "England",
        ("nhs-trust-rvj",),
    )
    assert row.other_names == ("Bristol FT", "UHBW", "NBT")


def test_a_region_of_the_nhs_that_is_two_of_ours_is_told_apart_by_the_care_system() -> None:
    def region(told: str, care_system: str) -> str:
        return command(TRUSTS, f"RX1,A,,Community Trusts,{told},{care_system},,").rows[0].region

    assert region("Midlands", "Black Country") == "West Midlands"
    assert region("Midlands", "Lincolnshire") == "East Midlands"
    assert region("National", "") == region("Midlands", "-") == ""
    refusal = taken_in(command(TRUSTS, "RX1,A,,Community Trusts,Midlands,Mercia,,"))
    assert isinstance(refusal, Refusal)
    [problem] = refusal.data["problems"]
    assert (problem["code"], problem["field"], problem["data"]["line"]) == ("region-unknown", "rows.0.region", 2)


def test_an_integrated_care_board_is_an_nhs_body_in_the_region_of_its_care_system() -> None:
    [essex, leicester] = command(
        "ods_code,name,alt_names,region",
        "D7T5G,Essex ICB,NHS Essex,East of England",
        'QK1,"Leicester, Leicestershire and Rutland ICB",LLR ICB,Midlands',
    ).rows
    assert (essex.key, essex.other_names) == ("integrated-care-board-d7t5g", ("NHS Essex",))
    assert (essex.format, essex.nation, essex.region) == ("Integrated care board", "England", "East of England")
    assert leicester.region == "East Midlands"


def test_a_file_of_neither_kind_is_told_so_and_what_would_be_right() -> None:
    refusal = read("colour,shape", "red,round")
    assert isinstance(refusal, Refusal)
    assert refusal.data["problems"][0]["code"] == "unknown-register"
    assert "local_authority_code" in refusal.sentence


def test_problems_of_these_files_have_their_line_and_column_too() -> None:
    headings = COUNCILS.replace("nice_name", "nickname")
    assert problems(headings, LEEDS.replace("53.8", "north"), "X,Y") == [
        ("unknown-heading", 1, 3),
        ("not-a-number", 2, 9),
        ("row-length", 3, None),
    ]
    assert problems(TRUSTS.replace("name,", "", 1), "a,b,c,d,e,f,g") == [("heading-missing", 1, None)]


def test_a_row_without_a_code_has_no_key() -> None:
    refusal = taken_in(command(TRUSTS, BRISTOL.replace("RA7", "")))
    assert isinstance(refusal, Refusal)
    assert [problem["code"] for problem in refusal.data["problems"]] == ["key-missing"]


def test_the_four_registers_go_into_one_and_a_second_time_without_effect(real_data: Path) -> None:
    known: dict[str, Organisation] = {}
    for file in REAL_REGISTERS:
        asked = organisation_file.read((real_data / file).read_bytes())
        assert isinstance(asked, ImportOrganisations), asked
        base = len(known)
        ids = [f"00000000-0000-7000-8000-{base + number:012x}" for number in range(len(asked.rows))]
        intake = organisation_register.take_in(asked, known.values(), ids)
        assert isinstance(intake, Intake), intake
        known |= {event.slug: evolve(None, event) for event in intake.events}
        assert organisation_register.take_in(asked, known.values(), ids) == Intake([], unchanged=len(asked.rows))
    assert len(known) == 663 + 397 + 202 + 36
    boards = [one for one in known.values() if one.register_name == "NHS integrated care boards"]
    assert {(one.type, one.nation) for one in boards} == {("nhs-body", "England")}
    assert all(one.region for one in boards)
    councils = [one for one in known.values() if one.register_name == "local authorities"]
    trusts = [one for one in known.values() if one.register_name == "NHS trusts"]
    assert {one.type for one in councils} == {"council"}
    assert {one.type for one in trusts} == {"nhs-body"}
    assert all(one.region and one.nation for one in councils)
    assert sorted(one.name for one in trusts if one.region is None) == [
        "East Midlands Ambulance Service NHS Trust",
        "North East Ambulance Service NHS Foundation Trust",
        "The Online NHS Trust",
        "West Midlands Ambulance Service University NHS Foundation Trust",
        "Yorkshire Ambulance Service NHS Trust",
    ]
    assert {one.nation for one in trusts} == {"England"}


def test_a_council_that_its_list_calls_something_else_later_keeps_its_former_name() -> None:
    first = taken_in(command(COUNCILS, LEEDS))
    assert isinstance(first, Intake)
    before = evolve(None, first.events[0])
    second = taken_in(command(COUNCILS, LEEDS.replace("Leeds City Council", "City of Leeds Council")), (before,))
    assert isinstance(second, Intake)
    after = evolve(before, second.events[0])
    assert (after.id, after.name, after.former_names) == (before.id, "City of Leeds Council", ("Leeds City Council",))
