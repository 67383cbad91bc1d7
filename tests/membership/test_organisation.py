"""An organisation registered by hand."""

from services.membership.domain.organisation import Organisation, evolve, register
from shared.contracts.membership import OrganisationRegistered, RegisterOrganisation
from shared.refusal import Refusal

COUNCIL = RegisterOrganisation(key="leeds-city-council", name="Leeds City Council", type="council")
ID, OTHER = "00000000-0000-7000-8000-000000000001", "00000000-0000-7000-8000-000000000002"


def test_an_organisation_is_registered_as_it_was_stated() -> None:
    [event] = register(COUNCIL.model_copy(update={"region": "Yorkshire and The Humber"}), ID, {})
    assert isinstance(event, OrganisationRegistered)
    after = evolve(None, event)
    assert (after.id, after.key, after.type, after.nation) == (ID, "leeds-city-council", "council", "England")


def test_a_key_has_one_organisation() -> None:
    known = {OTHER: Organisation(id=OTHER, key=COUNCIL.key, name="Leeds", type="council")}
    refusal = register(COUNCIL, ID, known)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.field, refusal.data) == ("key-taken", "key", {"organisation": OTHER})


def test_a_parent_is_registered_before_its_children() -> None:
    refusal = register(COUNCIL.model_copy(update={"parents": (OTHER,)}), ID, {})
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.field) == ("parent-unknown", "parents.0")


def test_a_region_lies_in_its_nation() -> None:
    refusal = register(COUNCIL.model_copy(update={"region": "Wales", "nation": "Scotland"}), ID, {})
    assert isinstance(refusal, Refusal)
    assert refusal.code == "region-outside-nation"
