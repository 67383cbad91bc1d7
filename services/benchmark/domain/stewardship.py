"""Data stewards: the principals that may hand in and see the scores of one organisation. Nobody else may."""

from pydantic import BaseModel

from services.benchmark.domain.organisation import unknown
from shared.contracts.benchmark import DataStewardNamed, DataStewardRemoved, NameDataSteward, RemoveDataSteward
from shared.contracts.message import Event
from shared.refusal import Refusal


class Steward(BaseModel, frozen=True):
    """A principal bound to an organisation; a principal is bound to one at most."""

    id: str
    organisation: str
    principal: str


def name(
    bound: Steward | None, command: NameDataSteward, *, organisation_known: bool, new_id: str
) -> list[Event] | Refusal:
    """Binds a principal; ``bound`` is what it is bound to already. Binding it there again changes nothing."""
    if not organisation_known:
        return unknown(command.organisation)
    if bound is None:
        return [DataStewardNamed(steward=new_id, organisation=command.organisation, principal=command.principal)]
    if bound.organisation != command.organisation:
        return Refusal(
            code="one-organisation-a-steward",
            sentence=f"{command.principal} is data steward of another organisation; whoever saw the scores of two "
            "could compare them. Remove it there first, or name another principal.",
            field="principal",
        )
    return []


def remove(bound: Steward | None, command: RemoveDataSteward) -> list[Event] | Refusal:
    """Takes the binding of a principal back."""
    if bound is None:
        return Refusal(
            code="no-data-steward",
            sentence=f"{command.principal} is data steward of no organisation.",
            field="principal",
        )
    return [DataStewardRemoved(steward=bound.id, organisation=bound.organisation, principal=bound.principal)]


def may_speak_for(bound: Steward | None, principal: str, organisation: str) -> Refusal | None:
    """Whether a principal may hand in or see an organisation's scores.

    The refusal is the same for every organisation, so that it does not tell which ones there are or took part.
    """
    if bound is not None and bound.principal == principal and bound.organisation == organisation:
        return None
    return Refusal(
        code="not-a-data-steward",
        sentence=f"{principal} is not a data steward of this organisation, and its scores are for its stewards alone. "
        "An operator names stewards with name-data-steward; show-distribution shows everyone the groups.",
        field="organisation",
    )


def evolve(steward: Steward | None, event: Event) -> Steward:
    """Applies one event."""
    match event:
        case DataStewardNamed() | DataStewardRemoved():
            return Steward(id=event.steward, organisation=event.organisation, principal=event.principal)
    raise TypeError(f"{type(event).__name__} does not happen to a data steward: {steward}")
