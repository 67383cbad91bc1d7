"""What is known of one organisation, and how one is registered by hand."""

from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from shared.contracts.membership import (
    Nation,
    OrganisationChanged,
    OrganisationRegistered,
    OrganisationType,
    Region,
    RegisterOrganisation,
    nation_of,
)
from shared.contracts.message import Event
from shared.refusal import Refusal


class Organisation(BaseModel, frozen=True):
    """One public body or partner. ``register_name`` is the register that speaks for it; none if it came by hand."""

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


def stated(organisation: Organisation) -> dict[str, object]:
    """The fields of an organisation as its event messages name them."""
    fields = organisation.model_dump()
    fields["organisation"] = fields.pop("id")
    fields["slug"] = fields.pop("key")
    return fields


def evolve(_organisation: Organisation | None, event: Event) -> Organisation:
    """Both events state the organisation whole."""
    if not isinstance(event, OrganisationRegistered | OrganisationChanged):
        raise TypeError(f"{event.wire.type} does not happen to an organisation")
    fields = event.model_dump(exclude={"changed"})
    return Organisation(
        id=fields.pop("organisation"),
        key=fields.pop("slug"),
        **fields,
    )
