"""Which organisation a text means, and when that is certain."""

import random
import string
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy import organisation_file
from services.membership.domain.organisation import Organisation, evolve
from services.membership.domain.organisation_name import (
    CERTAIN,
    Candidate,
    Names,
    called,
    certain,
    in_words,
    initials,
    words,
)
from services.membership.domain.organisation_register import Intake, take_in
from shared.contracts.membership import ImportOrganisations

TREASURY: dict[str, Any] = {"key": "hm-treasury", "name": "HM Treasury", "abbreviation": "HMT"}
EAST: dict[str, Any] = {"key": "nhs-trust-rwk", "name": "East London NHS Foundation Trust", "type": "nhs-body"}
WEST: dict[str, Any] = {"key": "nhs-trust-rkl", "name": "West London NHS Trust", "type": "nhs-body"}
LEEDS: dict[str, Any] = {"key": "leeds", "name": "Leeds City Council", "type": "council", "other_names": ("Leeds",)}
CARDIFF: dict[str, Any] = {"key": "cardiff", "name": "City of Cardiff Council", "type": "council"}
ANGLESEY: dict[str, Any] = {"key": "anglesey", "name": "Isle of Anglesey County Council", "type": "council"}
FOOD: dict[str, Any] = {"key": "defra", "name": "Department for Environment, Food & Rural Affairs"}
DHSC: dict[str, Any] = {"key": "dhsc", "name": "Department of Health and Social Care"}
HEALTH_NI: dict[str, Any] = {"key": "health-ni", "name": "Department of Health (Northern Ireland)"}
SOME = (TREASURY, EAST, WEST, LEEDS, CARDIFF, ANGLESEY, FOOD, DHSC, HEALTH_NI)
CLOSED = datetime(2026, 4, 1, tzinfo=UTC)


def organisations(*rows: dict[str, Any]) -> dict[str, Organisation]:
    return {row["key"]: Organisation(**{"id": row["key"], "type": "other-public-body", **row}) for row in rows}


def found(text: str, *rows: dict[str, Any]) -> list[Candidate]:
    return Names(called(organisations(*(rows or SOME)).values())).candidates(text)


def bound(text: str, *rows: dict[str, Any]) -> str | None:
    """The key of the organisation that is certain."""
    one = certain(found(text, *rows), organisations(*(rows or SOME)))
    return one.organisation if one else None


def said(text: str, *rows: dict[str, Any]) -> str:
    return in_words(found(text, *rows), organisations(*(rows or SOME)))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("hm treasury", "hm-treasury"),
        ("The HM-Treasury", "hm-treasury"),
        ("H.M.T.", "hm-treasury"),
        ("His Majesty’s Treasury (HMT)", "hm-treasury"),
        ("HM Tresury", "hm-treasury"),
        ("ＨＭ Ｔｒｅａｓｕｒｙ", "hm-treasury"),
        ("Dept. for the Environment, Food and Rural Affairs", "defra"),
        ("Department for Enviroment Food & Rural Afairs", "defra"),
        ("Dept of Health (NI)", "health-ni"),
        ("Department of Health, Northern Ireland", "health-ni"),
        ("LEEDS COUNCIL", "leeds"),
        ("Cyngor Caerdydd", "cardiff"),
        ("Cyngor Sir Ynys Môn", "anglesey"),
        ("Cyngor Sir Ynys Mo\u0302n", "anglesey"),
        ("East London NHS FT", "nhs-trust-rwk"),
    ],
)
def test_a_name_is_found_however_it_is_written(text: str, key: str) -> None:
    assert bound(text) == key, said(text)


def test_the_name_word_for_word_scores_one_and_everything_else_less() -> None:
    assert found("The HM Treasury")[0].score == 1
    assert found("HMT")[0].score == 0.97
    assert CERTAIN < found("HM Tresury")[0].score < 0.97


@pytest.mark.parametrize(
    ("text", "likeliest"),
    [
        ("Department of Health", "dhsc"),  # once also the name of another department
        ("Leeds Hospitals", "leeds"),
        ("London NHS Trust", "nhs-trust-rkl"),
        ("North London NHS Trust", "nhs-trust-rkl"),
        ("Treasury", "hm-treasury"),
    ],
)
def test_a_word_too_many_or_too_few_is_a_candidate_and_never_certain(text: str, likeliest: str) -> None:
    assert bound(text) is None
    assert found(text)[0].organisation == likeliest
    assert "is needed" in said(text) or "too close" in said(text)


def test_a_word_of_one_name_is_no_misspelling_of_a_word_of_another() -> None:
    assert bound("West London NHS Foundation Trust") is None
    assert bound("Est London NHS Foundation Trust") is None, "east or west: nobody can tell"


def test_a_misspelling_needs_a_good_part_of_the_name_to_be_right() -> None:
    bolton = {"key": "bolton", "name": "Bolton Council", "type": "council"}
    assert found("Boston Council", bolton, *SOME)[0].organisation == "bolton"
    assert bound("Boston Council", bolton, *SOME) is None
    ofsted = {"key": "ofsted", "name": "Ofsted"}
    assert [(one.organisation, bound("Oftsed", ofsted)) for one in found("Oftsed", ofsted)] == [("ofsted", None)]


def test_what_two_are_called_is_certain_for_neither() -> None:
    trust = {"key": "trust", "name": "Leeds Teaching Hospitals NHS Trust", "other_names": ("Leeds",)}
    assert bound("Leeds", LEEDS, trust) is None
    assert said("Leeds", LEEDS, trust).endswith("are too close to one another.")


def test_a_name_outdoes_the_by_name_of_another() -> None:
    other = {"key": "other", "name": "Aire Valley Council", "other_names": ("Leeds City Council",)}
    assert bound("Leeds City Council", LEEDS, other) == "leeds"


def test_an_abbreviation_that_another_bodys_initials_spell_is_not_certain() -> None:
    services = {"key": "nrs", "name": "Nuclear Restoration Services", "abbreviation": "NRS"}
    records = {"key": "records", "name": "National Records of Scotland"}
    assert bound("NRS", services) == "nrs"
    assert bound("NRS", services, records) is None
    assert bound("NRS", records) is None
    assert "only its initials" in said("NRS", records)


def test_a_former_name_and_a_former_body_find_what_there_is_now() -> None:
    row = {
        "key": "foreign-commonwealth-development-office",
        "name": "Foreign, Commonwealth & Development Office",
        "former_names": ("Foreign and Commonwealth Office",),
        "supersedes": ("department-for-international-development",),
    }
    assert [found(text, row)[0].by for text in ("Foreign & Commonwealth Office", "FCDO")] == ["former-name", "initials"]
    assert bound("Dept for International Development", row) == row["key"]


def test_the_name_of_a_closed_organisation_means_its_only_successor() -> None:
    old = {"key": "old", "name": "Solent NHS Trust", "closed_at": CLOSED, "successors": ("new",)}
    new = {"key": "new", "name": "Hampshire and Isle of Wight Healthcare NHS Foundation Trust"}
    assert bound("Solent NHS Trust", old, new) == "new"
    assert found("Solent NHS Trust", old, new)[0].by == "predecessor"


def test_a_closed_organisation_is_never_certain_and_says_what_came_after_it() -> None:
    parts = ({"key": "dbt", "name": "Business and Trade"}, {"key": "desnz", "name": "Energy"})
    old = {"key": "beis", "name": "Industrial Strategy", "closed_at": CLOSED, "successors": ("dbt", "desnz")}
    assert bound("Industrial Strategy", old, *parts) is None
    assert said("Industrial Strategy", old, *parts) == (
        "None is certain: the likeliest is Industrial Strategy, which is closed; "
        "after it came Business and Trade, Energy."
    )


@pytest.mark.parametrize("text", ["", "?!", "the", "\u200b", "Ministry of Magic", "🙂", "of the and"])
def test_a_text_that_says_nothing_finds_nothing(text: str) -> None:
    assert found(text) == []
    assert said(text) == "No organisation is called anything like this."


def test_words_are_told_apart_by_what_counts_of_them() -> None:
    assert words("St. George's University Hospitals NHS FT") == words(
        "The St Georges University Hospital NHS Foundation Trust"
    )
    assert words("Sir John Soane's Museum")[0] == "sir"
    assert initials("Department for Work and Pensions") == {"dfwap", "dwp"}


# ---- measured on the real registers --------------------------------------------------------------------------------

PRECISION_REACHED, RECALL_REACHED = 0.99, 0.98
SEED = 20_260_815
LONG_WORD = 6

REGISTERS = (
    "govuk_organisations_2026.csv",
    "local_authorities_2025.csv",
    "nhs_trusts_2026.csv",
    "nhs_integrated_care_boards_2026.csv",
)


def real_organisations(folder: Path) -> list[Organisation]:
    """Everybody in the four registers."""
    known: list[Organisation] = []
    for file in REGISTERS:
        command = organisation_file.read((folder / file).read_bytes())
        assert isinstance(command, ImportOrganisations), command
        ids = [f"00000000-0000-7000-8000-{len(known) + number:012x}" for number in range(len(command.rows))]
        intake = take_in(command, known, ids)
        assert isinstance(intake, Intake), intake
        known += [evolve(None, event) for event in intake.events]
    return known


Report = Callable[[str], None]
Writing = Callable[[str, random.Random], str | None]


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Report:
    """Writes a line that is seen although the test passes: these figures are what the tests are for."""

    def write(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"{line}\n")

    return write


def misspelt(text: str, chance: random.Random) -> str | None:
    """One letter of one long word lost, doubled, swapped or mistaken; ``None`` where no other word is left right."""
    parts = text.split()
    long = [number for number, word in enumerate(parts) if len(word) >= LONG_WORD and word.isalpha()]
    if not long or len(words(text)) < 2:
        return None
    number = chance.choice(long)
    word, at = parts[number], chance.randrange(1, len(parts[number]) - 2)
    letter = chance.choice(string.ascii_lowercase)
    parts[number] = chance.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + letter + word[at + 1 :],
        ]
    )
    return " ".join(parts)


WRITINGS: dict[str, Writing] = {
    "as it stands": lambda text, _: text,
    "upper case": lambda text, _: text.upper(),
    "Dept.": lambda text, _: text.replace("Department", "Dept."),
    "&": lambda text, _: text.replace(" and ", " & ") if " and " in text else text.replace(" & ", " and "),
    "The": lambda text, _: text.removeprefix("The ") if text.startswith("The ") else f"The {text}",
    "no punctuation": lambda text, _: "".join(c for c in text if c not in "'’,.()"),
    "misspelt": misspelt,
}


def test_precision_and_recall_on_the_names_of_the_real_registers(real_data: Path, report: Report) -> None:
    """A text that only one organisation is called has to find it; one that several are called has to bind nothing."""
    known = {one.id: one for one in real_organisations(real_data)}
    everything = [each for each in called(known.values()) if each.by != "key"]
    names = Names(everything)
    bearers: dict[tuple[str, ...], set[str]] = {}
    official: dict[tuple[str, ...], set[str]] = {}
    for each in everything:
        bag = tuple(sorted(words(each.text)))
        bearers.setdefault(bag, set()).add(each.organisation)
        if each.by == "name":
            official.setdefault(bag, set()).add(each.organisation)
    asked_in_all = right_in_all = bound_in_all = 0
    report(f"\n{len(known)} organisations, called {len(everything)} things")
    for writing, write in WRITINGS.items():
        chance, asked, right, wrong, ambiguous, loose = random.Random(SEED), 0, 0, [], 0, []  # noqa: S311  no secret
        for each in everything[:: 3 if writing in ("as it stands", "misspelt") else 9]:
            plain = each.text.replace("-", " ") if each.by == "former-body" else each.text
            text = write(plain, chance)
            if text is None or (text == plain and writing != "as it stands"):
                continue
            one = certain(names.candidates(text), known)
            bag = tuple(sorted(words(each.text)))
            meant = official.get(bag) or bearers[bag]
            if len(meant) > 1:
                ambiguous += 1
                loose += [(text, one)] if one else []
                continue
            asked += 1
            if one is not None:
                right += one.organisation in meant
                wrong += [] if one.organisation in meant else [(text, one)]
        assert not loose or writing != "as it stands", loose
        bound_here = right + len(wrong) + len(loose)
        report(
            f"{writing:>14}: {asked:5} texts, precision {right / bound_here:.4f}, recall {right / asked:.4f}; "
            f"of {ambiguous} that several are called {len(loose)} bound"
        )
        for text, one in [*wrong, *loose]:
            report(f"{'':16}{text!r} was taken for {one}")
        asked_in_all, right_in_all, bound_in_all = (
            asked_in_all + asked,
            right_in_all + right,
            bound_in_all + bound_here,
        )
        if writing == "misspelt":
            assert right / asked >= 0.95
    precision, recall = right_in_all / bound_in_all, right_in_all / asked_in_all
    report(f"{'in all':>14}: {asked_in_all:5} texts, precision {precision:.4f}, recall {recall:.4f}")
    assert precision >= PRECISION_REACHED
    assert recall >= RECALL_REACHED


def test_a_body_that_no_register_has_is_hardly_ever_taken_for_another(real_data: Path, report: Report) -> None:
    """Every sixteenth organisation is left out, and asked for by its names, as they stand and misspelt."""
    everybody = real_organisations(real_data)
    asked, taken = 0, []
    for position in (0, 8):
        known = {one.id: one for number, one in enumerate(everybody) if number % 16 != position}
        names = Names(called(known.values()))
        chance = random.Random(SEED)  # noqa: S311  no secret
        there = {tuple(sorted(words(each.text))) for each in called(known.values())}
        strangers = [one for number, one in enumerate(everybody) if number % 16 == position]
        for each in called(strangers):
            if each.by in ("key", "former-body") or tuple(sorted(words(each.text))) in there:
                continue
            for text in filter(None, (each.text, misspelt(each.text, chance))):
                asked += 1
                one = certain(names.candidates(text), known)
                taken += [(text, one)] if one else []
    report(f"\n{asked} names of bodies that were left out, {len(taken)} of them bound: {taken}")
    assert asked > 500
    assert len(taken) / asked <= 0.002


def test_alternative_names_that_no_register_told_are_mostly_left_to_a_person(real_data: Path, report: Report) -> None:
    """Only official names and abbreviations are known here; the other names of trusts and councils are asked for."""
    everybody = real_organisations(real_data)
    known = {one.id: one.model_copy(update={"other_names": ()}) for one in everybody}
    names = Names(called(known.values()))
    asked = [(one.id, name) for one in everybody for name in one.other_names]
    bound_to = [(id_, certain(found_, known), found_) for id_, text in asked for found_ in [names.candidates(text)]]
    right = sum(one is not None and one.organisation == id_ for id_, one, _ in bound_to)
    wrong = [one.text for id_, one, _ in bound_to if one is not None and one.organisation != id_]
    listed = sum(id_ in [each.organisation for each in found_[:5]] for id_, _, found_ in bound_to)
    report(
        f"\n{len(asked)} untold names: {right} bound rightly, {listed} among the first five; "
        f"taken for another body of that name: {', '.join(wrong)}"
    )
    assert listed / len(asked) >= 0.7
