"""What is known of one organisation, and how one is registered by hand."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from pydantic import BaseModel

from shared.contracts.membership import (
    Nation,
    OrganisationChanged,
    OrganisationClosed,
    OrganisationRegistered,
    OrganisationType,
    Region,
    RegisterOrganisation,
    nation_of,
)
from shared.contracts.message import Event
from shared.refusal import Refusal


class Organisation(BaseModel, frozen=True):
    """One public body or partner. ``register_name`` is the register that speaks for it; none if it came by hand.

    ``listed_name`` is what that register called it when it was renamed here; none once the register has followed.
    """

    id: str
    key: str
    name: str
    type: OrganisationType
    format: str | None = None
    abbreviation: str | None = None
    nation: Nation | None = None
    region: Region | None = None
    place: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    parents: tuple[str, ...] = ()
    unknown_parents: tuple[str, ...] = ()
    supersedes: tuple[str, ...] = ()
    register_name: str | None = None
    other_names: tuple[str, ...] = ()
    former_names: tuple[str, ...] = ()
    listed_name: str | None = None
    predecessors: tuple[str, ...] = ()
    successors: tuple[str, ...] = ()
    closed_at: datetime | None = None


def register(
    command: RegisterOrganisation, organisation_id: str, known: Mapping[str, Organisation]
) -> list[Event] | Refusal:
    """Registers one organisation. ``known`` holds, by id, its parents and whoever has its key, where they exist."""
    taken = next((other for other in known.values() if other.key == command.key), None)
    if taken:
        return Refusal(
            code="key-taken",
            sentence=f"{command.name} cannot be registered as {command.key}: "
            f"that is the key of {taken.name}. Choose a key nobody has.",
            field="key",
            data={"organisation": taken.id},
        )
    for position, parent in enumerate(command.parents):
        if parent not in known:
            return Refusal(
                code="parent-unknown",
                sentence=f"No organisation has the id {parent}; a parent is registered before its children.",
                field=f"parents.{position}",
            )
    organisation = Organisation(
        id=organisation_id,
        key=command.key,
        name=command.name,
        type=command.type,
        abbreviation=command.abbreviation,
        nation=command.nation or (nation_of(command.region) if command.region else None),
        region=command.region,
        place=command.place,
        latitude=command.latitude,
        longitude=command.longitude,
        parents=tuple(sorted(set(command.parents))),
        other_names=command.other_names,
    )
    for problem in misplaced(organisation):
        return problem
    return [OrganisationRegistered(**stated(organisation))]


def misplaced(organisation: Organisation) -> Iterator[Refusal]:
    """What is wrong with where an organisation is said to be."""
    region, nation = organisation.region, organisation.nation
    if region and nation and nation_of(region) != nation:
        yield Refusal(
            code="region-outside-nation",
            sentence=f"The region {region} lies in {nation_of(region)}, not in {nation}.",
            field="region",
        )
    if (organisation.latitude is None) != (organisation.longitude is None):
        missing = "latitude" if organisation.latitude is None else "longitude"
        yield Refusal(
            code="half-a-coordinate",
            sentence=f"The {missing} is missing; give both latitude and longitude, or neither.",
            field=missing,
        )


def changed(before: Organisation, now: Organisation) -> list[OrganisationChanged]:
    """The event that states what differs now; none if nothing does."""
    old, new = stated(before), stated(now)
    fields = tuple(name for name in new if new[name] != old[name])
    return [OrganisationChanged(**new, changed=fields)] if fields else []


def renamed(organisation: Organisation, name: str) -> Organisation:
    """The organisation under a new name; the old one becomes a former name."""
    if name == organisation.name:
        return organisation
    former = [each for each in (*organisation.former_names, organisation.name) if each != name]
    return organisation.model_copy(update={"name": name, "former_names": tuple(dict.fromkeys(former))})


def unknown(organisation: str, field: str) -> Refusal:
    """No organisation has this id."""
    return Refusal(
        code="organisation-unknown",
        sentence=f"No organisation has the id {organisation}; find its id with match-organisation.",
        field=field,
    )


def stated(organisation: Organisation) -> dict[str, object]:
    """The fields of an organisation as its event messages name them."""
    fields = organisation.model_dump()
    fields["organisation"] = fields.pop("id")
    fields["slug"] = fields.pop("key")
    return fields


def evolve(organisation: Organisation | None, event: Event) -> Organisation:
    """What is registered or changed is stated whole."""
    if isinstance(event, OrganisationClosed) and organisation is not None:
        return organisation.model_copy(update={"successors": event.successors, "closed_at": event.closed_at})
    if not isinstance(event, OrganisationRegistered | OrganisationChanged):
        raise TypeError(f"{event.wire.type} does not happen to an organisation")
    fields = event.model_dump(exclude={"changed"})
    return Organisation(
        id=fields.pop("organisation"),
        key=fields.pop("slug"),
        **fields,
    )
