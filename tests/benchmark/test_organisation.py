"""Which organisation a row of a survey file is: only where it is certain."""

import pytest

from services.benchmark.domain import organisation
from services.benchmark.domain.disclosure import Place
from services.benchmark.domain.organisation import Organisation, Row, plain_name
from services.benchmark.domain.scores import Submission
from shared.contracts.membership import OrganisationChanged


def known(id_: str, name: str, abbreviation: str | None = None, first_name: str | None = None) -> Organisation:
    return Organisation(
        id=id_,
        slug=id_,
        name=name,
        first_name=first_name or name,
        abbreviation=abbreviation,
        type="executive-agency",
        region="Scotland",
    )


def row(id_: str, name: str, to: str | None = None) -> Row:
    return Row(id=id_, respondent=id_, name=name, organisation=to)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Foreign, Commonwealth and Development Office", "The Foreign, Commonwealth & Development Office"),
        ("HM Treasury", "hm treasury"),
        ("Attorney General's Office", "Attorney General’s Office"),
        ("Welsh Revenue Authority ", "Welsh  Revenue-Authority"),
    ],
)
def test_a_name_is_the_same_however_it_is_punctuated(one: str, other: str) -> None:
    assert plain_name(one) == plain_name(other)


def test_a_row_is_linked_to_the_one_organisation_of_its_name() -> None:
    assert organisation.links([row("r", "HM Treasury")], [known("hmt", "HM Treasury")]) == {"r": "hmt"}


def test_an_organisation_that_took_another_name_does_not_take_the_row_of_that_name() -> None:
    renamed = known("acme", "Acas", first_name="Acme Charity")
    assert organisation.links([row("r", "Acas")], [renamed]) == {}


def test_a_change_that_is_the_first_word_of_an_organisation_does_not_take_the_row_of_its_later_name_either() -> None:
    told = {"organisation": "acme", "slug": "acme", "name": "Acas", "format": None, "abbreviation": None}
    changed = OrganisationChanged.model_construct(**told, type="charity", region=None, former_names=("Acme Charity",))
    renamed = organisation.as_told(changed, None)
    assert renamed.first_name == "Acme Charity"
    assert organisation.links([row("r", "Acas")], [renamed]) == {}


def test_an_abbreviation_alone_proves_nothing() -> None:
    rows = [row("NRS", "National Records of Scotland")]
    assert organisation.links(rows, [known("n", "Nuclear Restoration Services", "NRS")]) == {}


@pytest.mark.parametrize(
    ("rows", "organisations"),
    [
        ([row("r", "Crown Office")], [known("a", "Crown Office"), known("b", "The Crown Office")]),
        ([row("r", "Crown Office"), row("s", "Crown Office")], [known("a", "Crown Office")]),
        ([row("r", "Crown Office"), row("s", "Other", "a")], [known("a", "Crown Office")]),
        ([row("r", "")], [known("a", "–")]),
        ([row("r", "—?")], [known("a", "中")]),
    ],
    ids=["two bear the name", "two rows bear it", "it has a row already", "no name at all", "no Latin letter"],
)
def test_what_is_not_certain_is_left_to_an_operator(rows: list[Row], organisations: list[Organisation]) -> None:
    assert organisation.links(rows, organisations) == {}


def test_a_link_once_made_is_not_made_again() -> None:
    assert organisation.links([row("r", "HM Treasury", "x")], [known("hmt", "HM Treasury")]) == {}


def test_the_peer_groups_of_a_respondent_are_those_of_its_organisation_and_none_where_that_is_not_known() -> None:
    submissions = [
        Submission(id=r, round="r", respondent=r, organisation=o, scores={}) for r, o in (("A", "hmt"), ("B", None))
    ]
    assert organisation.places(submissions, [known("hmt", "HM Treasury")]) == {
        "A": Place(type="executive-agency", region="Scotland"),
        "B": Place(),
    }
