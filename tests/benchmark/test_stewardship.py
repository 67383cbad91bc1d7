"""An organisation's scores are for its data stewards, and a steward is of one organisation."""

from services.benchmark.domain import stewardship
from services.benchmark.domain.stewardship import Steward
from shared.contracts.benchmark import DataStewardNamed, DataStewardRemoved, NameDataSteward, RemoveDataSteward
from shared.refusal import Refusal

STEWARD, ACAS, ONS = (f"00000000-0000-7000-8000-{n:012}" for n in (1, 2, 3))
BOUND = Steward(id=STEWARD, organisation=ACAS, principal="kestrel")
NAME = NameDataSteward(organisation=ACAS, principal="kestrel")


def code(decision: object) -> str:
    assert isinstance(decision, Refusal)
    return decision.code


def test_an_operator_binds_a_principal_to_an_organisation() -> None:
    decision = stewardship.name(None, NAME, organisation_known=True, new_id=STEWARD)
    assert decision == [DataStewardNamed(steward=STEWARD, organisation=ACAS, principal="kestrel")]
    assert stewardship.evolve(None, decision[0]) == BOUND


def test_binding_it_again_changes_nothing() -> None:
    assert stewardship.name(BOUND, NAME, organisation_known=True, new_id=STEWARD) == []


def test_a_principal_is_not_bound_to_two_organisations() -> None:
    command = NameDataSteward(organisation=ONS, principal="kestrel")
    assert code(stewardship.name(BOUND, command, organisation_known=True, new_id=STEWARD)) == (
        "one-organisation-a-steward"
    )


def test_an_organisation_nobody_knows_has_no_steward() -> None:
    assert code(stewardship.name(None, NAME, organisation_known=False, new_id=STEWARD)) == "unknown-organisation"


def test_a_binding_is_taken_back_and_what_was_never_bound_cannot_be() -> None:
    assert stewardship.remove(BOUND, RemoveDataSteward(principal="kestrel")) == [
        DataStewardRemoved(steward=STEWARD, organisation=ACAS, principal="kestrel")
    ]
    assert code(stewardship.remove(None, RemoveDataSteward(principal="kestrel"))) == "no-data-steward"


def test_a_steward_speaks_for_its_own_organisation() -> None:
    assert stewardship.may_speak_for(BOUND, "kestrel", ACAS) is None


def test_a_steward_of_another_organisation_is_refused_as_is_whoever_is_no_steward() -> None:
    assert code(stewardship.may_speak_for(BOUND, "kestrel", ONS)) == "not-a-data-steward"
    assert code(stewardship.may_speak_for(None, "operator", ACAS)) == "not-a-data-steward"


def test_the_refusal_does_not_tell_whether_an_organisation_exists_or_took_part() -> None:
    assert stewardship.may_speak_for(BOUND, "kestrel", ONS) == stewardship.may_speak_for(None, "kestrel", STEWARD)
