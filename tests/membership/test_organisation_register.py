"""A register of organisations is taken in whole or not at all, and a second time without effect."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy import organisation_file
from services.membership.domain import organisation
from services.membership.domain.organisation import Organisation
from services.membership.domain.organisation_register import MAX_PROBLEMS_TOLD, TYPE_OF_FORMAT, Intake, take_in
from shared.contracts.membership import ImportOrganisations, OrganisationChanged, OrganisationRow
from shared.refusal import Refusal

TREASURY: dict[str, Any] = {"key": "hm-treasury", "name": "HM Treasury", "format": "Ministerial department"}
OBR: dict[str, Any] = {
    "key": "office-for-budget-responsibility",
    "name": "Office for Budget Responsibility",
    "format": "Executive non-departmental public body",
    "parents": ["hm-treasury"],
}

_numbers = count(1)


def an_id() -> str:
    return f"00000000-0000-7000-8000-{next(_numbers):012x}"


def an_import(*rows: dict[str, Any], register: str = "GOV.UK") -> ImportOrganisations:
    return ImportOrganisations(register_name=register, rows=tuple(OrganisationRow(**row) for row in rows))


def run(command: ImportOrganisations, known: Sequence[Organisation] = ()) -> Intake | Refusal:
    return take_in(command, known, [an_id() for _ in command.rows])


def taken(command: ImportOrganisations, known: Sequence[Organisation] = ()) -> list[Organisation]:
    """Everything known after an import that was not refused."""
    intake = run(command, known)
    assert isinstance(intake, Intake)
    after = {each.id: each for each in known}
    for event in intake.events:
        after[event.organisation] = organisation.evolve(after.get(event.organisation), event)
    return list(after.values())


def problems(command: ImportOrganisations, known: Sequence[Organisation] = ()) -> list[tuple[str, str]]:
    refusal = run(command, known)
    assert isinstance(refusal, Refusal)
    return [(problem["field"], problem["code"]) for problem in refusal.data["problems"]]


def test_a_parent_may_come_later_in_the_file_than_its_child() -> None:
    child, parent = sorted(taken(an_import(OBR, TREASURY)), key=lambda each: each.key, reverse=True)
    assert child.parents == (parent.id,)
    assert child.unknown_parents == ()


def test_parents_are_told_before_their_children() -> None:
    intake = run(
        an_import({**OBR, "parents": ["b"]}, {**TREASURY, "key": "b", "parents": ["a"]}, {**TREASURY, "key": "a"})
    )
    assert isinstance(intake, Intake)
    assert [event.slug for event in intake.events] == ["a", "b", OBR["key"]]


def test_a_body_may_have_several_parents() -> None:
    both = {**OBR, "parents": ["hm-treasury", "cabinet-office"]}
    after = {each.key: each for each in taken(an_import(both, TREASURY, {**TREASURY, "key": "cabinet-office"}))}
    assert set(after[OBR["key"]].parents) == {after["hm-treasury"].id, after["cabinet-office"].id}
    reordered = {**OBR, "parents": ["cabinet-office", "hm-treasury", "cabinet-office"]}
    assert run(an_import(reordered), list(after.values())) == Intake(events=[], unchanged=1)


def test_the_same_rows_again_change_nothing_whatever_their_order() -> None:
    known = taken(an_import(OBR, TREASURY))
    again = run(an_import(TREASURY, OBR), known)
    assert again == Intake(events=[], unchanged=2)


def test_a_changed_row_tells_the_change_and_keeps_the_id() -> None:
    known = taken(an_import(TREASURY, OBR))
    intake = run(an_import({**TREASURY, "name": "The Treasury"}, OBR), known)
    assert isinstance(intake, Intake)
    [event] = intake.events
    assert isinstance(event, OrganisationChanged)
    assert (event.name, event.changed, event.organisation) == (
        "The Treasury",
        ("name", "former_names"),
        known[0].id,
    )
    assert event.former_names == ("HM Treasury",)


def test_a_parent_that_nobody_has_is_kept_as_unknown_and_found_when_it_comes() -> None:
    known = taken(an_import(OBR))
    assert (known[0].parents, known[0].unknown_parents) == ((), ("hm-treasury",))
    after = {each.key: each for each in taken(an_import(OBR, TREASURY), known)}
    assert after[OBR["key"]].unknown_parents == ()
    assert after[OBR["key"]].parents == (after["hm-treasury"].id,)


def test_every_problem_of_every_row_is_told_at_once_and_nothing_is_taken_in() -> None:
    command = an_import(
        TREASURY,
        {"key": "HM Treasury", "name": "", "format": "Ministry"},
        {**TREASURY, "name": "Another"},
        {**OBR, "parents": ["Treasury!", OBR["key"]], "region": "Narnia", "latitude": 4.2, "longitude": 0},
    )
    assert problems(command) == [
        ("rows.1.key", "key-malformed"),
        ("rows.1.name", "name-missing"),
        ("rows.1.format", "format-unknown"),
        ("rows.2.key", "key-twice"),
        ("rows.3.parents.0", "key-malformed"),
        ("rows.3.parents.1", "names-itself"),
        ("rows.3.region", "region-unknown"),
        ("rows.3.latitude", "latitude-out-of-range"),
    ]


def test_a_problem_names_the_line_of_the_file_and_what_would_be_right() -> None:
    refusal = run(an_import({**TREASURY, "line": 14, "format": "Ministry"}))
    assert isinstance(refusal, Refusal)
    [problem] = refusal.data["problems"]
    assert problem["data"] == {"row": 1, "line": 14}
    assert problem["sentence"].startswith(
        "Line 14 (hm-treasury) has the format 'Ministry'; allowed are Ministerial dep"
    )
    assert refusal.sentence.startswith("Nothing was taken in: 1 of 1 rows have a problem, 1 in all.")


def test_a_file_of_nothing_but_problems_is_answered_in_one_message() -> None:
    broken = {"key": "K" * 900, "name": "n" * 900, "format": "f" * 900, "abbreviation": "a" * 900}
    refusal = run(an_import(*[broken] * 5_000))
    assert isinstance(refusal, Refusal)
    assert refusal.data["problem_count"] == 20_000
    assert len(refusal.data["problems"]) == MAX_PROBLEMS_TOLD
    assert len(refusal.model_dump_json()) < 900_000


def test_a_circle_of_parents_is_refused() -> None:
    first, second = {**TREASURY, "key": "a", "parents": ["b"]}, {**TREASURY, "key": "b", "parents": ["a"]}
    refusal = run(an_import(first, second))
    assert isinstance(refusal, Refusal)
    [problem] = refusal.data["problems"]
    assert problem["code"] == "parents-in-a-circle"
    assert "belongs to" in problem["sentence"]


def test_a_circle_through_what_is_known_already_is_refused() -> None:
    known = taken(an_import(OBR, TREASURY))
    assert problems(an_import({**TREASURY, "parents": [OBR["key"]]}), known) == [
        ("rows.0.parents", "parents-in-a-circle")
    ]


def test_one_register_does_not_change_the_bodies_of_another() -> None:
    known = taken(an_import(TREASURY))
    assert problems(an_import(TREASURY, register="NHS"), known) == [("rows.0.key", "key-of-another-register")]


def test_a_register_takes_over_a_body_that_was_registered_by_hand() -> None:
    by_hand = Organisation(id=an_id(), key="hm-treasury", name="Treasury", type="ministerial-department")
    [after] = taken(an_import(TREASURY), [by_hand])
    assert (after.id, after.name, after.register_name) == (by_hand.id, "HM Treasury", "GOV.UK")


def test_a_file_that_says_nothing_of_places_leaves_what_is_known_of_them() -> None:
    known = taken(an_import({**TREASURY, "region": "London", "place": "London", "latitude": 51.5, "longitude": -0.13}))
    assert run(an_import(TREASURY), known) == Intake(events=[], unchanged=1)


def test_the_nation_follows_from_the_region() -> None:
    [after] = taken(an_import({**TREASURY, "region": "yorkshire and the humber"}))
    assert (after.nation, after.region) == ("England", "Yorkshire and The Humber")


def test_a_region_outside_its_nation_is_refused() -> None:
    assert problems(an_import({**TREASURY, "region": "London", "nation": "Wales"})) == [
        ("rows.0.region", "region-outside-nation")
    ]


def test_half_a_coordinate_is_refused() -> None:
    assert problems(an_import({**TREASURY, "latitude": 51.5})) == [("rows.0.longitude", "half-a-coordinate")]


@pytest.mark.parametrize(
    ("format_", "expected"),
    [("Tribunal", "other-public-body"), ("council", "council"), ("EXECUTIVE AGENCY", "executive-agency")],
)
def test_formats_of_the_register_and_types_of_ours_are_both_read(format_: str, expected: str) -> None:
    assert taken(an_import({**TREASURY, "format": format_}))[0].type == expected


def test_a_name_is_taken_without_stray_spaces_and_refused_with_control_characters() -> None:
    assert taken(an_import({**TREASURY, "name": " HM\u00a0 Treasury "}))[0].name == "HM Treasury"
    assert problems(an_import({**TREASURY, "name": "HM\x07Treasury"})) == [("rows.0.name", "name-unprintable")]


rows_of_any_kind: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.builds(
        dict,
        key=st.sampled_from(["a", "b", "c", "d", "A b", ""]),
        name=st.sampled_from(["A", "B", ""]),
        format=st.sampled_from(["Court", "council", "Castle"]),
        parents=st.lists(st.sampled_from(["a", "b", "c", "e", "!"]), max_size=3),
    ),
    min_size=1,
    max_size=6,
)


@given(rows=rows_of_any_kind)
def test_an_import_is_either_refused_with_places_or_has_no_effect_the_second_time(rows: list[dict[str, Any]]) -> None:
    command = an_import(*rows)
    first = run(command)
    if isinstance(first, Refusal):
        assert all(problem["field"].startswith("rows.") for problem in first.data["problems"])
    else:
        assert run(command, taken(command)) == Intake(events=[], unchanged=len(rows))


def test_all_of_the_gov_uk_register_is_taken_with_its_parents_and_a_second_time_without_effect(real_data: Path) -> None:
    command = organisation_file.read((real_data / "govuk_organisations_2026.csv").read_bytes())
    assert isinstance(command, ImportOrganisations)
    after = {each.key: each for each in taken(command)}
    assert len(after) == len(command.rows) == 663
    for row in command.rows:
        parents = {each.key for each in after.values() if each.id in after[row.key].parents}
        assert parents | set(after[row.key].unknown_parents) == set(row.parents)
    assert sum(len(each.unknown_parents) for each in after.values()) == 5, "five parents are no longer in the register"
    assert {row.format for row in command.rows} == set(TYPE_OF_FORMAT)
    assert run(command, list(after.values())) == Intake(events=[], unchanged=663)
