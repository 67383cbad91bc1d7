"""What membership says and hears: organisations, networks and their members, steering groups, proposals.

A person appears as an opaque id with the principal that speaks for them; a principal is a handle an operator gave out,
so give out handles that name nobody. Grade, headcount and job titles are in no message: they must not matter.
"""

from datetime import date
from fractions import Fraction
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, model_validator

from shared.contracts.message import AsOf, Command, Event, Id, Inbound, Line, Moment, Principal, Query, Role, Text

OrganisationType = Literal[
    "ministerial-department",
    "non-ministerial-department",
    "executive-agency",
    "executive-non-departmental-public-body",
    "advisory-non-departmental-public-body",
    "devolved-government",
    "parliament-or-assembly",
    "council",
    "nhs-body",
    "charity",
    "employer",
    "other-public-body",
]
Nation = Literal["England", "Northern Ireland", "Scotland", "Wales"]
Region = Literal[
    "East Midlands",
    "East of England",
    "London",
    "North East",
    "North West",
    "South East",
    "South West",
    "West Midlands",
    "Yorkshire and The Humber",
    "Northern Ireland",
    "Scotland",
    "Wales",
]
"""The twelve regions and nations of the UK's international territorial level 1 (ONS)."""

Reach = Literal["local", "regional", "national"]
Position = Literal["consent", "reservations", "stand-aside", "block"]
Outcome = Literal["agreed", "blocked", "no-quorum", "no-consensus"]
ProposalState = Literal["draft", "open", "closed", "withdrawn"]
MembershipState = Literal["applied", "admitted", "declined", "withdrawn", "lapsed"]
SteeringRole = Literal["lead", "work-stream-lead"]
VacantBecause = Literal["stood-down", "work-stream-closed", "term-ended", "network-left"]

CalledBy = Literal["name", "other-name", "former-name", "abbreviation", "key", "predecessor", "former-body", "initials"]
OrganisationKey = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=200),
    Field(description="its name in a register: lower-case words joined by hyphens (hm-treasury)"),
]
Latitude = Annotated[float, Field(ge=49, le=61.5, description="degrees north, within the United Kingdom")]
Longitude = Annotated[float, Field(ge=-9, le=2.5, description="degrees east, within the United Kingdom")]


def nation_of(region: Region) -> Nation:
    """The nation a region lies in."""
    return region if region in ("Northern Ireland", "Scotland", "Wales") else "England"


def _at_most_whole(share: str) -> str:
    if Fraction(share) > 1:
        raise ValueError(f"a share is at most the whole: {share} is more than 1/1")
    return share


Share = Annotated[
    str,
    StringConstraints(pattern=r"^[1-9][0-9]?/[1-9][0-9]?$"),
    AfterValidator(_at_most_whole),
    Field(description="an exact share as a fraction, such as 1/3"),
]


# A reader of events passes over a field it does not know yet; only what a command gives is held to the letter. Put into
# an event, a given office is an office again.
class Office(BaseModel, frozen=True, revalidate_instances="subclass-instances"):
    """Where people set out from to a meeting: the place of an office, never of a home."""

    place: Line = Field(description="town or city")
    region: Region
    nation: Nation
    latitude: Latitude
    longitude: Longitude

    @model_validator(mode="after")
    def _region_lies_in_nation(self) -> "Office":
        if nation_of(self.region) != self.nation:
            raise ValueError(f"the region {self.region} lies in {nation_of(self.region)}, not in {self.nation}")
        return self


class GivenOffice(Office, frozen=True, extra="forbid"):
    """An office as a command gives it: a field nobody knows is an error there."""


# Organisations ------------------------------------------------------------------------------------------------------


class RegisterOrganisation(Command):
    """Registers one public body or partner that no register file brings."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    key: OrganisationKey
    name: Line
    type: OrganisationType
    abbreviation: Line | None = None
    nation: Nation | None = None
    region: Region | None = None
    place: Line | None = None
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    parents: tuple[Id, ...] = Field(default=(), max_length=20, description="organisations it belongs to")
    other_names: tuple[Line, ...] = Field(
        default=(), max_length=20, description="what else it is called, in any tongue"
    )


class OrganisationRow(BaseModel, frozen=True, extra="forbid"):
    """One row of a register. Taken in as it stands: the rules of the import answer for every row at once."""

    line: int | None = Field(default=None, ge=1, description="its line in the file, so that a problem can name it")
    key: str = Field(default="", max_length=1_000, description="lower-case words joined by hyphens (hm-treasury)")
    name: str = Field(default="", max_length=1_000)
    format: str = Field(
        default="", max_length=1_000, description="a type of ours or a format of the GOV.UK register (Executive agency)"
    )
    abbreviation: str = Field(default="", max_length=1_000)
    parents: tuple[str, ...] = Field(
        default=(), max_length=100, description="keys of the bodies it belongs to, in this import or known already"
    )
    supersedes: tuple[str, ...] = Field(
        default=(), max_length=1_000, description="keys of the former bodies whose work it took over"
    )
    nation: str = Field(default="", max_length=1_000)
    region: str = Field(default="", max_length=1_000)
    place: str = Field(default="", max_length=1_000, description="town or city")
    latitude: float | None = Field(default=None, description="degrees north")
    longitude: float | None = Field(default=None, description="degrees east")
    other_names: tuple[str, ...] = Field(default=(), max_length=100, description="what else the register calls it")


class ImportOrganisations(Command):
    """Takes in a register of organisations, all or nothing: new ones are registered, changed ones changed.

    A row that says what is already known changes nothing. Refused as a whole if any row has a problem; the refusal
    lists every problem with its row, its field and what would be right.
    """

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    register_name: Line = Field(description="the register the rows come from (GOV.UK); it alone changes its rows later")
    rows: tuple[OrganisationRow, ...] = Field(min_length=1, max_length=5_000)


class OrganisationListed(Inbound):
    """A register says that an organisation is as stated here. Its publisher is the register that speaks for it.

    The same rules as for a row of a register file: one it says for the first time is registered, a changed one changed.
    """

    organisation: OrganisationRow


class OrganisationRegistered(Event):
    """An organisation is known from now on."""

    key = "organisation"
    organisation: Id
    slug: OrganisationKey = Field(description="its key in the register")
    name: Line
    type: OrganisationType
    format: str | None = Field(description="what the register calls its kind, in the register's words")
    abbreviation: str | None
    nation: Nation | None
    region: Region | None
    place: str | None
    latitude: float | None
    longitude: float | None
    parents: tuple[Id, ...]
    unknown_parents: tuple[OrganisationKey, ...] = Field(
        description="keys the register names as parents and nobody has"
    )
    supersedes: tuple[OrganisationKey, ...] = Field(description="keys of former bodies whose work it took over")
    register_name: str | None = Field(description="the register that speaks for it, if one does")
    other_names: tuple[str, ...] = Field(default=(), description="what else it is called")
    former_names: tuple[str, ...] = Field(default=(), description="what it was called before, oldest first")
    listed_name: str | None = Field(default=None, description="what its register still calls it after a renaming")
    predecessors: tuple[Id, ...] = Field(default=(), description="organisations whose work it took over")
    successors: tuple[Id, ...] = Field(default=(), description="organisations that took over work of it")
    closed_at: Moment | None = None


class OrganisationChanged(OrganisationRegistered):
    """An organisation is now as stated here; ``changed`` names the fields that differ from before."""

    changed: tuple[str, ...]


# Machinery of government: organisations change ----------------------------------------------------------------------


class RenameOrganisation(Command):
    """Gives an organisation a new name. The old one is kept and still finds it."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    organisation: Id
    name: Line
    abbreviation: Line | None = Field(default=None, description="left out, the abbreviation stays")


HomesOfNetworks = Annotated[
    dict[Id, Id],
    Field(max_length=500, description="network → organisation: the new home of each network, where there is a choice"),
]


class CloseOrganisation(Command):
    """Closes an organisation. Its networks go to its successor; with several, ``networks`` says which goes where.

    Without successors its networks stay as they are until they leave. Successors can be named later, once.
    """

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    organisation: Id
    successors: tuple[Id, ...] = Field(default=(), max_length=20)
    networks: HomesOfNetworks = Field(default_factory=dict)


class MergeOrganisations(Command):
    """Merges organisations into another, registered before: they close, and their networks find a home there."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    organisations: tuple[Id, ...] = Field(min_length=1, max_length=20, description="those that are no more afterwards")
    into: Id


class SplitOrganisation(Command):
    """Splits an organisation into several, registered before. It closes, unless it goes on beside them."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    organisation: Id
    into: tuple[Id, ...] = Field(min_length=1, max_length=20)
    goes_on: bool = Field(default=False, description="it stays, and so do those of its networks that are not named")
    networks: HomesOfNetworks = Field(default_factory=dict)


class OrganisationClosed(Event):
    """An organisation is no more, or what became of a closed one is known now."""

    key = "organisation"
    organisation: Id
    successors: tuple[Id, ...]
    closed_at: Moment


class NetworkCarriedOver(Event):
    """A network has a new home organisation, because its former one was closed, merged or split."""

    key = "network"
    network: Id
    organisation: Id
    predecessor: Id = Field(description="its home organisation until now")


# Networks and their members -----------------------------------------------------------------------------------------


class UmbrellaRules(BaseModel, frozen=True, revalidate_instances="subclass-instances"):
    """What makes a network an umbrella: who may become a member, and how its members decide."""

    eligible: tuple[OrganisationType, ...] = Field(
        default=(), max_length=12, description="types of home organisation that may join; none named means every type"
    )
    open: bool = Field(
        default=False, description="an eligible network whose home is confirmed is a member as soon as it applies"
    )
    quorum: Share = Field(default="1/2", description="the share of the electorate that must speak")
    stand_aside_limit: Share = Field(
        default="1/3", description="more than this share of those who spoke standing aside is no consensus"
    )


class GivenUmbrellaRules(UmbrellaRules, frozen=True, extra="forbid"):
    """Umbrella rules as a command gives them: a field nobody knows is an error there."""


class RegisterNetwork(Command):
    """Registers a staff network, or with ``umbrella`` a network of networks. Whoever sends it is its steward."""

    name: Line
    reach: Reach
    organisation: Id | None = Field(default=None, description="its home organisation")
    parent: Id | None = Field(default=None, description="the network it stands under, which must reach further")
    office: GivenOffice | None = Field(
        default=None, description="where its people set out from; left out, the place of its home organisation"
    )
    umbrella: GivenUmbrellaRules | None = None
    forming: bool = Field(
        default=False,
        description="it is only coming about: it gets a starter path, and an experienced peer is looked for, who hears "
        "of it once its steward accepts them",
    )
    person: Id | None = Field(
        default=None, description="opaque id of whoever sends it; with it the stewardship ends when they leave"
    )


class NetworkRegistered(Event):
    """A network is known from now on."""

    key = "network"
    network: Id
    name: Line
    reach: Reach
    organisation: Id | None
    parent: Id | None
    office: Office | None
    umbrella: UmbrellaRules | None
    steering_group: Id | None = Field(description="the id its steering group has; umbrella networks alone have one")
    steward: Principal
    forming: bool = Field(default=False, description="it is only coming about, and has a starter path")
    steward_person: Id | None = Field(default=None, description="the steward's opaque id, where it was given")


class HandOverStewardship(Command):
    """Makes somebody else the steward of a network. Sent by its steward."""

    network: Id
    principal: Principal = Field(description="the credentials of the new steward")
    person: Id | None = Field(default=None, description="opaque id of the new steward")


class AppointSteward(Command):
    """Makes somebody the steward of a network whose steward is gone, as an operator judges."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)
    network: Id
    principal: Principal = Field(description="the credentials of the new steward")
    person: Id | None = Field(default=None, description="opaque id of the new steward")


class ConfirmNetworkHome(Command):
    """Confirms that a network speaks for its home organisation, after that organisation has been asked."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)
    network: Id


class AppointRepresentative(Command):
    """Lets one more person speak for a network. It keeps its one voice. Sent by its steward or a representative."""

    network: Id
    person: Id = Field(description="opaque id of the person")
    principal: Principal = Field(description="the credentials the person will speak with")
    office: GivenOffice | None = Field(
        default=None, description="the office the person sets out from; left out, the network's own"
    )


class StandDownRepresentative(Command):
    """A person no longer speaks for a network. Sent by that person or the network's steward."""

    network: Id
    person: Id


class StewardshipHandedOver(Event):
    """A network has another steward."""

    key = "network"
    network: Id
    steward: Principal = Field(description="who is its steward now")
    before: Principal = Field(description="who was its steward until now")
    person: Id | None = Field(default=None, description="the new steward's opaque id, where it was given")


class NetworkHomeConfirmed(Event):
    """An operator confirmed that a network speaks for its home organisation. Another home is not confirmed by it."""

    key = "network"
    network: Id
    organisation: Id = Field(description="the home organisation it speaks for")


class RepresentativeAppointed(Event):
    """A person may speak for a network."""

    key = "network"
    network: Id
    person: Id
    principal: Principal
    office: Office | None = Field(description="where the person sets out from to meetings, where that is known")


class RepresentativeStoodDown(Event):
    """A person no longer speaks for a network."""

    key = "network"
    network: Id
    person: Id
    principal: Principal


class ApplyForMembership(Command):
    """Applies to an umbrella for a network. Sent by its steward or a representative.

    An open umbrella admits at once a network whose home an operator has confirmed; others it admits by hand.
    """

    umbrella: Id
    network: Id


class AdmitMemberNetwork(Command):
    """Admits a network that has applied. Sent by the umbrella's steward or one of its steering group."""

    umbrella: Id
    network: Id


class DeclineMemberNetwork(Command):
    """Declines an application, with the reason. Sent by the umbrella's steward or one of its steering group."""

    umbrella: Id
    network: Id
    reason: Text


class WithdrawMemberNetwork(Command):
    """Takes a network, or its application, out of an umbrella. Sent by the network's steward or a representative."""

    umbrella: Id
    network: Id


class MembershipAppliedFor(Event):
    """A network asks to become a member of an umbrella network."""

    key = "membership"
    membership: Id
    umbrella: Id
    network: Id


class MemberNetworkAdmitted(Event):
    """A network is a member of an umbrella network, with one voice there. Carries what others need to know of it."""

    key = "membership"
    membership: Id
    umbrella: Id
    network: Id
    name: Line
    reach: Reach
    organisation: Id | None
    office: Office | None


class MemberNetworkDeclined(Event):
    """An application was declined; the network may apply again."""

    key = "membership"
    membership: Id
    umbrella: Id
    network: Id
    reason: Text


class MemberNetworkWithdrawn(Event):
    """A network left an umbrella network, or took its application back."""

    key = "membership"
    membership: Id
    umbrella: Id
    network: Id


class MemberNetworkLapsed(Event):
    """A network is no longer a member: nobody is left to speak for it."""

    key = "membership"
    membership: Id
    umbrella: Id
    network: Id


# Deputies, and people who leave --------------------------------------------------------------------------------------


class NameDeputy(Command):
    """Names who may give the network's voice besides a representative: take positions, endorse, raise, comment.

    Sent by the representative, who has one deputy at a time. A deputy appoints and names nobody.
    """

    network: Id
    person: Id = Field(description="opaque id of the deputy")
    principal: Principal = Field(description="the credentials the deputy will speak with")


class WithdrawDeputy(Command):
    """Ends a deputy's part. Sent by the representative who named them, the deputy or the network's steward."""

    network: Id
    person: Id = Field(description="opaque id of the deputy")


class DeputyNamed(Event):
    """A person may give a network's voice for as long as somebody represents it who named them."""

    key = "network"
    network: Id
    representative: Id = Field(description="opaque id of the representative who named them")
    person: Id
    principal: Principal


class DeputyWithdrawn(Event):
    """A person is no deputy any more: withdrawn, gone with their representative, or a representative from now on."""

    key = "network"
    network: Id
    representative: Id = Field(description="opaque id of the representative who had named them")
    person: Id
    principal: Principal


class GiveUpStewardship(Command):
    """Leaves a network without a steward, where nobody is there to hand it over to. Sent by its steward."""

    network: Id


class LinkPublisher(Command):
    """Lets a publisher, such as an HR system, say who left an organisation. The organisation has been asked before."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)
    publisher: Principal
    organisation: Id


class UnlinkPublisher(Command):
    """Ends that a publisher says who left its organisation."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)
    publisher: Principal


class PersonLeft(Inbound):
    """Somebody left the organisation that the publisher is linked with. It says whom, by an opaque id, and no more.

    Whatever the person holds in the networks at home there ends. Nothing is answered, whether they are known or not.
    """

    person: Id = Field(description="opaque id of the person, as the networks know them")


class PublisherLinked(Event):
    """A publisher says from now on who left an organisation."""

    key = "link"
    link: Id
    publisher: Principal
    organisation: Id


class PublisherUnlinked(Event):
    """A publisher no longer says who left an organisation."""

    key = "link"
    link: Id
    publisher: Principal
    organisation: Id


class StewardshipEnded(Event):
    """A network has no steward: the last one stood down or left. An operator appoints the next."""

    key = "network"
    network: Id
    before: Principal = Field(description="who was its steward until now")


class PublisherLinkView(BaseModel, frozen=True):
    """Who says of which organisation that somebody left it."""

    publisher: Principal
    organisation: Id
    name: str = Field(description="of the organisation")


class PublisherLinkPage(BaseModel, frozen=True):
    """Links in the order of the publishers' names."""

    links: tuple[PublisherLinkView, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListPublisherLinks(Query[PublisherLinkPage]):
    """Lists which publishers say who left which organisations."""

    organisation: Id | None = None
    limit: int = Field(default=50, ge=1, le=500)
    after: str | None = Field(default=None, max_length=63, description="`next` of the page before")


# Steering groups ----------------------------------------------------------------------------------------------------


class OpenWorkStream(Command):
    """Opens a work stream of an umbrella network. Sent by its steward or one of its steering group."""

    network: Id = Field(description="the umbrella network")
    name: Line


class CloseWorkStream(Command):
    """Closes a work stream; the seat of its lead is vacated."""

    network: Id = Field(description="the umbrella network")
    work_stream: Id


class AppointSteeringMember(Command):
    """Seats a person in a steering group: as lead (two co-leads share at most 1.0 FTE) or to lead a work stream."""

    network: Id = Field(description="the umbrella network whose steering group it is")
    person: Id = Field(description="opaque id of the person")
    principal: Principal = Field(description="the credentials the person acts with")
    role: SteeringRole
    work_stream: Id | None = Field(default=None, description="the work stream a work-stream lead leads")
    fte: float = Field(
        gt=0, le=1, description="full-time equivalents: a share of a full post, 0.01 to 1, at most two decimals"
    )
    until: Moment | None = Field(
        default=None, description="end of the term, when the seat falls vacant; without it the seat has no end"
    )


class StandDownSteeringMember(Command):
    """A person leaves a seat. Sent by that person, the umbrella's steward or another of its steering group."""

    network: Id = Field(description="the umbrella network whose steering group it is")
    person: Id
    role: SteeringRole
    work_stream: Id | None = Field(default=None, description="the work stream, for a work-stream lead")


class WorkStreamOpened(Event):
    """An umbrella network has a new work stream, which has no lead yet."""

    key = "group"
    group: Id
    network: Id
    work_stream: Id
    name: Line


class WorkStreamClosed(Event):
    """A work stream is at its end."""

    key = "group"
    group: Id
    network: Id
    work_stream: Id
    name: Line


class SteeringMemberAppointed(Event):
    """A person took a seat in a steering group."""

    key = "group"
    group: Id
    network: Id = Field(description="the umbrella network")
    person: Id
    principal: Principal
    role: SteeringRole
    work_stream: Id | None
    fte: float
    until: Moment | None = Field(default=None, description="end of the term")
    networks: tuple[Id, ...] = Field(
        default=(), description="the member networks the person spoke for then; the seat ends with the last of them"
    )


class SteeringMemberStoodDown(Event):
    """A seat in a steering group is free again. ``stood-down`` is whoever stood down or left."""

    key = "group"
    group: Id
    network: Id = Field(description="the umbrella network")
    person: Id
    principal: Principal
    role: SteeringRole
    work_stream: Id | None
    because: Literal["stood-down", "work-stream-closed", "term-ended"]
    left_with: Id | None = Field(
        default=None, description="the member network that left, where the seat ended because it did"
    )


# Proposals ----------------------------------------------------------------------------------------------------------


class DraftProposal(Command):
    """Writes down a proposal to the members of an umbrella network.

    Sent by a representative of a member network, the umbrella's steward or one of its steering group.
    """

    umbrella: Id
    title: Line
    text: Text


class OpenProposal(Command):
    """Puts a draft to all who are member networks at this moment. Sent by its author or the steering group."""

    proposal: Id
    deadline: Moment = Field(description="when it closes by itself")


class TakePosition(Command):
    """Says where a network stands. Any of its representatives may; the latest before the close is what counts."""

    proposal: Id
    network: Id = Field(description="the network whose one voice this is")
    position: Position
    reason: Text | None = Field(
        default=None,
        description="required for every position but consent; the more networks are asked, the shorter it must be, "
        "since the outcome carries every reason",
    )


class AmendProposal(Command):
    """Changes a proposal's wording. If it is open, every network is asked again, and has seven days at the least."""

    proposal: Id
    title: Line | None = Field(default=None, description="left out, as it was")
    text: Text
    deadline: Moment | None = Field(
        default=None,
        description="a later deadline for an open proposal, at least seven days away; left out, it stays as it was, or "
        "is seven days away if that is later",
    )


class CloseProposal(Command):
    """Closes an open proposal before its deadline, once every network has spoken and no block stands."""

    proposal: Id


class WithdrawProposal(Command):
    """Takes a proposal back, for a reason that stays on record."""

    proposal: Id
    reason: Text


class Stance(BaseModel, frozen=True):
    """What one network said on a proposal, and when."""

    network: Id
    version: int = Field(description="the wording it was said of: 1, then one more with each amendment")
    position: Position
    reason: str | None
    person: Id = Field(description="opaque id of the representative who said it")
    taken_at: Moment


class ProposalDrafted(Event):
    """A proposal is written down and not yet open."""

    key = "proposal"
    proposal: Id
    umbrella: Id
    title: Line
    text: Text
    author: Principal


class ProposalOpened(Event):
    """Networks are asked for their positions. The electorate is who were members at that moment, and stays so."""

    key = "proposal"
    proposal: Id
    umbrella: Id
    title: Line
    version: int
    electorate: tuple[Id, ...]
    quorum: int = Field(description="how many networks must speak")
    stand_aside_limit: Share
    opened_at: Moment
    deadline: Moment


class PositionTaken(Event):
    """A network said where it stands, or changed its mind."""

    key = "proposal"
    proposal: Id
    umbrella: Id
    stance: Stance


class ProposalAmended(Event):
    """The wording changed; if the proposal is open, every network is asked again."""

    key = "proposal"
    proposal: Id
    umbrella: Id
    title: Line
    text: Text
    version: int
    deadline: Moment | None = Field(description="when it closes by itself from now on; none while it is a draft")


class ProposalDecided(Event):
    """A proposal is closed. The outcome states itself, with every reason given, and does not change any more."""

    key = "proposal"
    proposal: Id
    umbrella: Id
    title: Line
    version: int
    outcome: Outcome
    sentence: str = Field(description="the outcome and the rule that made it, in words")
    asked: int
    spoke: int
    counts: dict[Position, int]
    stances: tuple[Stance, ...] = Field(description="where each network that spoke stood at the close, by network id")
    closed_at: Moment


class ProposalWithdrawn(Event):
    """A proposal was taken back before it was decided."""

    key = "proposal"
    proposal: Id
    umbrella: Id
    title: Line
    reason: Text


# Questions ----------------------------------------------------------------------------------------------------------


class OrganisationView(BaseModel, frozen=True):
    """One organisation as it is known now."""

    id: Id
    key: OrganisationKey
    name: str
    type: OrganisationType
    format: str | None
    abbreviation: str | None
    nation: Nation | None
    region: Region | None
    place: str | None
    latitude: float | None
    longitude: float | None
    parents: tuple[Id, ...]
    unknown_parents: tuple[str, ...]
    supersedes: tuple[str, ...]
    register_name: str | None
    other_names: tuple[str, ...] = ()
    former_names: tuple[str, ...] = ()
    listed_name: str | None = None
    predecessors: tuple[Id, ...] = ()
    successors: tuple[Id, ...] = ()
    closed_at: Moment | None = None


class OrganisationPage(BaseModel, frozen=True):
    """Organisations by key."""

    organisations: tuple[OrganisationView, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListOrganisations(Query[OrganisationPage]):
    """Lists organisations by key, all or those that fit every filter given."""

    type: OrganisationType | None = None
    nation: Nation | None = None
    region: Region | None = None
    parent: Id | None = Field(default=None, description="those that belong to this organisation")
    with_unknown_parents: bool = Field(default=False, description="only those whose register names a parent nobody has")
    without_network: bool = Field(default=False, description="only open ones where no network is at home")
    limit: int = Field(default=50, ge=1, le=500)
    after: str | None = Field(default=None, max_length=200, description="`next` of the page before")
    as_of: AsOf = None


class OrganisationMatch(BaseModel, frozen=True):
    """An organisation that was found, and by what."""

    by: Literal["key", "name", "abbreviation", "former-key"]
    organisation: OrganisationView


class OrganisationMatches(BaseModel, frozen=True):
    """Every organisation the words fit exactly; several if they fit several."""

    matches: tuple[OrganisationMatch, ...]


class FindOrganisation(Query[OrganisationMatches]):
    """Finds organisations by key, name, abbreviation, or the key of a former body whose work they took over."""

    words: Line


class OrganisationCandidate(BaseModel, frozen=True):
    """An organisation that a text may mean."""

    score: float = Field(description="1 is its name word for word, 0 nothing in common")
    by: CalledBy
    matched: str = Field(description="what it is called that fits, as a register or an operator wrote it")
    name: str
    key: OrganisationKey
    closed_at: Moment | None
    id: Id


class OrganisationCandidates(BaseModel, frozen=True):
    """Which organisation a text means."""

    answer: str = Field(description="the outcome and its reason in words")
    certain: Id | None = Field(description="the organisation that is meant, where there is no doubt; else none")
    candidates: tuple[OrganisationCandidate, ...] = Field(description="the likeliest first")


class MatchOrganisation(Query[OrganisationCandidates]):
    """Finds the organisation that any text means: a name, a former one, an abbreviation, also misspelt.

    One is certain only if it scores at least 0.85, is at least 0.03 ahead of every other, has every word of the text,
    and is not closed. Whatever binds a text to an organisation without asking somebody binds it to a certain one only.
    """

    text: Line


class OrganisationStep(BaseModel, frozen=True):
    """An organisation that came before or after another."""

    steps: int = Field(description="how many changes lie between")
    name: str
    key: OrganisationKey
    closed_at: Moment | None
    id: Id


class OrganisationStory(BaseModel, frozen=True):
    """One organisation, where it came from and what became of it."""

    organisation: OrganisationView
    predecessors: tuple[OrganisationStep, ...] = Field(description="the nearest first")
    successors: tuple[OrganisationStep, ...] = Field(description="the nearest first")
    networks: tuple[Id, ...] = Field(description="networks at home in it")


class ShowOrganisation(Query[OrganisationStory]):
    """Shows one organisation with every organisation it came from and every one it went into."""

    organisation: Id


class NetworkSummary(BaseModel, frozen=True):
    """One network in a list."""

    id: Id
    name: str
    reach: Reach
    organisation: Id | None
    parent: Id | None
    umbrella: bool
    representatives: int
    without_steward: bool = False


class NetworkPage(BaseModel, frozen=True):
    """Networks in the order they were registered."""

    networks: tuple[NetworkSummary, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListNetworks(Query[NetworkPage]):
    """Lists networks in the order they were registered, all or those that fit every filter given."""

    member_of: Id | None = Field(default=None, description="member networks of this umbrella")
    organisation: Id | None = None
    reach: Reach | None = None
    umbrellas: bool | None = Field(default=None, description="only umbrella networks, or only others")
    without_steward: bool = Field(default=False, description="only those whose steward is gone: an operator appoints")
    organisation_type: OrganisationType | None = Field(default=None, description="of its home organisation")
    nation: Nation | None = Field(default=None, description="where its office is")
    region: Region | None = Field(default=None, description="where its office is")
    limit: int = Field(default=50, ge=1, le=500)
    after: Id | None = Field(default=None, description="`next` of the page before")
    as_of: AsOf = None


class RepresentativeView(BaseModel, frozen=True):
    """Who may speak for a network."""

    person: Id
    principal: Principal
    office: Office | None
    deputy: Id | None = Field(default=None, description="opaque id of the deputy they named")
    deputy_principal: Principal | None = None


class MembershipView(BaseModel, frozen=True):
    """A network in an umbrella: seen from the umbrella the member, seen from the member the umbrella."""

    network: Id
    name: str
    state: MembershipState


class SeatView(BaseModel, frozen=True):
    """A seat in a steering group; without a person it is vacant."""

    role: SteeringRole
    work_stream: Id | None
    name: str | None = Field(description="the work stream's name")
    person: Id | None
    principal: Principal | None
    fte: float
    until: Moment | None = Field(default=None, description="end of the term")
    networks: tuple[Id, ...] = Field(default=(), description="the member networks it is held for, and ends with")
    vacant_because: VacantBecause | None = Field(
        default=None, description="of a vacant seat: how the last one in it went; none where nobody was"
    )


class SteeringGroupView(BaseModel, frozen=True):
    """Who steers an umbrella network, vacancies included."""

    id: Id
    total_fte: float
    free_fte: float
    seats: tuple[SeatView, ...]


class NetworkView(BaseModel, frozen=True):
    """One network whole."""

    id: Id
    name: str
    reach: Reach
    organisation: Id | None
    parent: Id | None
    office: Office | None
    steward: Principal = Field(description="the last one, if it is without")
    umbrella: UmbrellaRules | None
    representatives: tuple[RepresentativeView, ...]
    members: tuple[MembershipView, ...] = Field(description="applied and admitted networks, if this is an umbrella")
    member_of: tuple[MembershipView, ...] = Field(description="umbrellas it has applied to or is a member of")
    steering_group: SteeringGroupView | None
    home_confirmed: bool = Field(
        default=False, description="an operator confirmed that it speaks for its home organisation"
    )
    without_steward: bool = Field(default=False, description="its steward is gone, and nobody has taken over")


class ShowNetwork(Query[NetworkView]):
    """Shows one network with its representatives, members and steering group."""

    network: Id


class SteeringGroupLine(BaseModel, frozen=True):
    """The steering group of one umbrella network in a list.

    Of the past: a seat whose holder has left it since shows its FTE and term, and no person.
    """

    network: Id = Field(description="the umbrella network")
    name: str = Field(description="the umbrella network's name")
    steering_group: SteeringGroupView


class SteeringGroupPage(BaseModel, frozen=True):
    """Steering groups in the order their networks were registered."""

    steering_groups: tuple[SteeringGroupLine, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListSteeringGroups(Query[SteeringGroupPage]):
    """Lists who holds which seat and until when, and which seats are vacant, an umbrella network after another."""

    network: Id | None = Field(default=None, description="that of this umbrella network")
    ends_by: Moment | None = Field(default=None, description="only groups in which a term ends by then")
    limit: int = Field(default=50, ge=1, le=100)
    after: Id | None = Field(default=None, description="`next` of the page before")
    as_of: AsOf = None


class ProposalSummary(BaseModel, frozen=True):
    """One proposal in a list."""

    id: Id
    umbrella: Id
    title: str
    state: ProposalState
    outcome: Outcome | None
    deadline: Moment | None
    asked: int
    spoke: int


class ProposalPage(BaseModel, frozen=True):
    """Proposals in the order they were drafted."""

    proposals: tuple[ProposalSummary, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListProposals(Query[ProposalPage]):
    """Lists proposals in the order they were drafted, all or those that fit every filter given."""

    umbrella: Id | None = None
    state: ProposalState | None = None
    awaits: Id | None = Field(default=None, description="open ones on which this network has not said where it stands")
    limit: int = Field(default=50, ge=1, le=500)
    after: Id | None = Field(default=None, description="`next` of the page before")
    as_of: AsOf = None


class VoiceView(BaseModel, frozen=True):
    """One network's voice on a proposal."""

    network: Id
    name: str
    stance: Stance | None = Field(description="none while it has not spoken on the present wording")
    earlier: int = Field(description="how many times it spoke before, on this wording or others")


class Decision(BaseModel, frozen=True):
    """The outcome of a proposal."""

    outcome: Outcome
    sentence: str
    asked: int
    spoke: int
    counts: dict[Position, int]
    closed_at: Moment


class ProposalView(BaseModel, frozen=True):
    """One proposal whole."""

    id: Id
    umbrella: Id
    author: Principal
    title: str
    text: str
    version: int
    state: ProposalState
    opened_at: Moment | None
    deadline: Moment | None
    quorum: int
    stand_aside_limit: Share
    voices: tuple[VoiceView, ...]
    decision: Decision | None
    withdrawn_because: str | None


class ShowProposal(Query[ProposalView]):
    """Shows one proposal with every network's position and, once decided, the outcome."""

    proposal: Id
    as_of: AsOf = None


class VoiceHistory(BaseModel, frozen=True):
    """Everything one network said on a proposal, oldest first."""

    stances: tuple[Stance, ...]


class ShowVoice(Query[VoiceHistory]):
    """Shows everything a network said on a proposal, with the reasons it gave at the time."""

    proposal: Id
    network: Id


# Statements ---------------------------------------------------------------------------------------------------------

StatementKind = Literal["consensus-statement", "report", "manifesto"]
StatementState = Literal["draft", "consultation", "issued"]
RecommendationStatus = Literal["open", "under-way", "done", "declined"]

StatementText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50_000)]
Passage = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]


class GivenRecommendation(BaseModel, frozen=True, extra="forbid"):
    """What a statement recommends, to whom, and by when an answer is due."""

    text: Passage
    addressee: Line = Field(description="whom it is addressed to, in words: a body, an office, everybody of a kind")
    organisation: Id | None = Field(default=None, description="the addressee, if it is one registered organisation")
    due: Moment = Field(description="until when it is to be acted on or declined")


class Recommendation(BaseModel, frozen=True):
    """A recommendation as the statement words it."""

    id: Id
    text: str
    addressee: str
    organisation: Id | None
    due: Moment


class DraftStatement(Command):
    """Writes down what an umbrella network is to say.

    Sent by a representative of a member network, the umbrella's steward or one of its steering group.
    """

    umbrella: Id
    kind: StatementKind
    title: Line
    text: StatementText
    recommendations: tuple[GivenRecommendation, ...] = Field(default=(), max_length=30)


class ReviseStatement(Command):
    """Words a statement anew, before or after it was consulted on; its recommendations are given whole again.

    Sent by its author, the umbrella's steward or one of its steering group.
    """

    statement: Id
    title: Line | None = Field(default=None, description="left out, as it was")
    text: StatementText
    recommendations: tuple[GivenRecommendation, ...] = Field(default=(), max_length=30)


class ConsultOnStatement(Command):
    """Asks all who are member networks at this moment what they think of the wording. Sent by whoever may revise it."""

    statement: Id
    until: Moment = Field(description="until when they may comment: seven days away at the least")


class CommentOnStatement(Command):
    """Says what a member network thinks of the wording. Any of its representatives may; the latest counts."""

    statement: Id
    network: Id = Field(description="the network whose comment it is")
    text: Passage


class IssueStatement(Command):
    """Issues a statement, which from then on stays as it is. Sent by the umbrella's steward or its steering group.

    Its present wording was consulted on until the date given, or until every network asked had commented.
    """

    statement: Id
    version: int = Field(ge=1, description="the wording that is issued: the present one, as show-statement tells it")
    proposal: Id | None = Field(
        default=None,
        description="for a consensus statement: the proposal of the same title that was agreed on its last wording and "
        "holds the digest of that in its text",
    )


class SignStatement(Command):
    """Signs an issued statement for the home organisation of a member network. Sent by one of its representatives.

    An operator has confirmed that the network speaks for that organisation.
    """

    statement: Id
    network: Id = Field(description="the member network whose home organisation signs")


class WithdrawSignature(Command):
    """Takes the signature of a member network's home organisation back. Sent by one of its representatives."""

    statement: Id
    network: Id = Field(description="the member network whose home organisation signed")


class RecordSignature(Command):
    """Notes that an organisation signed an issued statement, as its letter in hand says."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    statement: Id
    organisation: Id


class RecordSignatureWithdrawal(Command):
    """Notes that an organisation took its signature back, as its letter in hand says."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    statement: Id
    organisation: Id


class AnswerRecommendation(Command):
    """Says what became of a recommendation of an issued statement.

    Sent by the statement's author, the umbrella's steward or one of its steering group, unless it is addressed to an
    organisation that is registered. That one answers itself: with ``network``, sent by a representative of that member
    network, whose home organisation it is, as an operator has confirmed.
    """

    statement: Id
    recommendation: Id
    status: RecommendationStatus
    reason: Passage | None = Field(
        default=None, description="required to decline, and to go back on what was done or declined"
    )
    network: Id | None = Field(default=None, description="the member network whose home organisation answers")


class RecordRecommendationAnswer(Command):
    """Notes what an organisation says became of a recommendation addressed to it, as its letter in hand says."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    statement: Id
    recommendation: Id
    status: RecommendationStatus
    reason: Passage | None = Field(
        default=None, description="required to decline, and to go back on what was done or declined"
    )


class StatementDrafted(Event):
    """A statement is written down, and nobody has been asked about it yet."""

    key = "statement"
    statement: Id
    umbrella: Id
    kind: StatementKind
    title: str
    text: str
    recommendations: tuple[Recommendation, ...]
    author: Principal
    drafted_at: Moment


class StatementRevised(Event):
    """A statement that is not issued yet has another wording."""

    key = "statement"
    statement: Id
    umbrella: Id
    title: str
    text: str
    recommendations: tuple[Recommendation, ...]
    version: int = Field(description="2 for the first revision, then one more with each")
    revised_at: Moment


class StatementConsultedOn(Event):
    """Member networks are asked what they think of the wording."""

    key = "statement"
    statement: Id
    umbrella: Id
    consulted: tuple[Id, ...] = Field(description="the networks asked: who were members at that moment")
    opened_at: Moment
    until: Moment


class StatementCommented(Event):
    """A network said what it thinks of the wording."""

    key = "statement"
    statement: Id
    umbrella: Id
    network: Id
    version: int = Field(description="the wording it was said of")
    text: str
    person: Id = Field(description="opaque id of the representative who said it")
    made_at: Moment


class StatementIssued(Event):
    """An umbrella network has said this. Neither the text nor what it recommends changes any more."""

    key = "statement"
    statement: Id
    umbrella: Id
    kind: StatementKind
    title: str
    text: str
    recommendations: tuple[Recommendation, ...]
    version: int
    proposal: Id | None = Field(description="the proposal by which a consensus statement was agreed")
    issued_at: Moment


class StatementSigned(Event):
    """An organisation has signed an issued statement."""

    key = "statement"
    statement: Id
    umbrella: Id
    organisation: Id
    network: Id | None = Field(description="the member network that signed for it; none if an operator noted it")
    person: Id | None = Field(description="opaque id of the representative who signed")
    signed_at: Moment


class SignatureWithdrawn(Event):
    """An organisation has taken its signature back."""

    key = "statement"
    statement: Id
    umbrella: Id
    organisation: Id
    network: Id | None = Field(description="the member network that said so for it; none if an operator noted it")
    person: Id | None = Field(description="opaque id of the representative who said so")
    withdrawn_at: Moment


class RecommendationAnswered(Event):
    """A recommendation has another status than before."""

    key = "statement"
    statement: Id
    umbrella: Id
    recommendation: Id
    status: RecommendationStatus
    reason: str | None
    network: Id | None = Field(description="the member network that answered for its home organisation, if one did")
    answered_at: Moment


class RecommendationFellDue(Event):
    """A recommendation that nobody has answered was due. Said once."""

    key = "statement"
    statement: Id
    umbrella: Id
    recommendation: Id
    due: Moment


class StatementSummary(BaseModel, frozen=True):
    """One statement in a list."""

    id: Id
    umbrella: Id
    kind: StatementKind
    title: str
    state: StatementState
    version: int
    consulted_until: Moment | None
    issued_at: Moment | None
    signatures: int = Field(description="signatures that stand")


class StatementPage(BaseModel, frozen=True):
    """Statements in the order they were drafted."""

    statements: tuple[StatementSummary, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListStatements(Query[StatementPage]):
    """Lists statements in the order they were drafted, all or those that fit every filter given."""

    umbrella: Id | None = None
    kind: StatementKind | None = None
    state: StatementState | None = None
    signed_by: Id | None = Field(
        default=None,
        description="issued ones that bear the signature of this organisation, or of one it took over from",
    )
    limit: int = Field(default=50, ge=1, le=500)
    after: Id | None = Field(default=None, description="`next` of the page before")
    as_of: AsOf = None


class RecommendationView(Recommendation, frozen=True):
    """A recommendation and what became of it."""

    status: RecommendationStatus
    reason: str | None
    answered_at: Moment | None
    late: bool = Field(description="it is due, and neither done nor declined")


class StatementView(BaseModel, frozen=True):
    """One statement whole, but for comments and signatures, which are lists of their own."""

    id: Id
    umbrella: Id
    kind: StatementKind
    author: Principal
    title: str
    text: str
    version: int
    state: StatementState
    consulted_until: Moment | None
    commented: tuple[Id, ...] = Field(description="networks that have commented")
    silent: tuple[Id, ...] = Field(description="networks asked in the last consultation that said nothing in it")
    proposal: Id | None
    issued_at: Moment | None
    recommendations: tuple[RecommendationView, ...]
    digest: str = Field(
        default="", description="SHA-256 of the wording; a proposal to agree on a consensus statement holds it"
    )


class ShowStatement(Query[StatementView]):
    """Shows one statement with its recommendations and what became of them."""

    statement: Id


class CommentView(BaseModel, frozen=True):
    """What one network said on a statement, last."""

    network: Id
    name: str
    version: int = Field(description="the wording it was said of")
    text: str
    made_at: Moment


class CommentPage(BaseModel, frozen=True):
    """Comments by the id of their network."""

    comments: tuple[CommentView, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListComments(Query[CommentPage]):
    """Lists what networks said on a statement."""

    statement: Id
    limit: int = Field(default=50, ge=1, le=50)
    after: Id | None = Field(default=None, description="`next` of the page before")


class SignatureView(BaseModel, frozen=True):
    """One organisation's signature."""

    organisation: Id
    name: str
    network: Id | None = Field(description="the member network that signed for it; none if an operator noted it")
    signed_at: Moment
    withdrawn_at: Moment | None = Field(description="when it was taken back, if it was")
    successors: tuple[Id, ...] = Field(
        default=(), description="organisations that took over from this one since, and the signature with it"
    )


class SignaturePage(BaseModel, frozen=True):
    """Signatures by the id of their organisation."""

    signatures: tuple[SignatureView, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListSignatures(Query[SignaturePage]):
    """Lists who signed a statement; those who took it back only if asked for."""

    statement: Id
    with_withdrawn: bool = False
    limit: int = Field(default=50, ge=1, le=500)
    after: Id | None = Field(default=None, description="`next` of the page before")
    as_of: AsOf = None


class RecommendationLine(RecommendationView, frozen=True):
    """One recommendation in a list over all statements."""

    statement: Id
    umbrella: Id
    title: str = Field(description="the title of the statement")


class RecommendationPage(BaseModel, frozen=True):
    """Recommendations of issued statements, in the order they were written."""

    recommendations: tuple[RecommendationLine, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListRecommendations(Query[RecommendationPage]):
    """Lists recommendations of issued statements, all or those that fit every filter given; ``late`` for the late."""

    umbrella: Id | None = None
    organisation: Id | None = Field(default=None, description="addressed to this organisation")
    status: RecommendationStatus | None = None
    late: bool = Field(default=False, description="only those that are due and neither done nor declined")
    limit: int = Field(default=50, ge=1, le=100)
    after: Id | None = Field(default=None, description="`next` of the page before")
    as_of: AsOf = None


# Peer support -------------------------------------------------------------------------------------------------------

PeerTopic = Literal[
    "after-a-suicide",
    "campaigns-and-events",
    "funding",
    "measuring-wellbeing",
    "mental-health-first-aid",
    "remote-and-shift-workers",
    "senior-leaders",
    "starting-a-network",
    "steering-and-governance",
    "support-for-network-leads",
    "training-managers",
]
SizeBand = Literal["under-50", "50-to-249", "250-to-999", "1000-to-4999", "5000-or-more"]
"""How many people an organisation employs, as whoever asks or offers says it; membership keeps no headcount."""
HelpState = Literal["waiting", "proposed", "asked", "matched", "ended", "closed"]
"""``waiting`` for a peer; one is ``proposed`` to the asker; the peer is ``asked``; both accepted (``matched``); over,
without a word on whether it helped (``ended``) or with one (``closed``)."""
Helped = Literal["yes", "partly", "no"]


class OfferExperience(Command):
    """Offers to help peers on some topics. Sent by a representative of a network that is a member of an umbrella."""

    network: Id
    topics: tuple[PeerTopic, ...] = Field(min_length=1, max_length=20)
    size: SizeBand = Field(description="of the organisation the experience comes from")
    at_once: int = Field(default=2, ge=1, le=3, description="how many peers to have in hand at once, at the most")


class EndOffer(Command):
    """Takes the offer of whoever sends it back. Peers already accepted stay until they or the mentor end it."""


class AskForHelp(Command):
    """Asks for a peer who knows a topic. Sent by the steward or a representative of a network, for themselves.

    Nobody hears who asked but the one peer who accepted, after the asker did: no event message, notice or list says it.
    """

    sealed: ClassVar[bool] = True
    network: Id
    topic: PeerTopic
    size: SizeBand = Field(description="of the organisation the network is at home in")
    words: Passage | None = Field(default=None, description="what it is about; read by the peer who accepted alone")


class AcceptPeer(Command):
    """The asker takes the peer proposed, or the peer takes the request that is asked of them.

    If whoever made the offer can no longer help, nobody is told anything: the request waits, and another peer is found.
    """

    sealed: ClassVar[bool] = True
    request: Id = Field(
        description="as `show-my-peer-support` shows it: the peer knows it by another id than the asker"
    )
    offer: Id = Field(description="the offer that is proposed or asked, as shown: the answer is to that one alone")


class DeclinePeer(Command):
    """The asker wants another peer, or the peer cannot help, or can no longer. Nobody needs to say why."""

    sealed: ClassVar[bool] = True
    request: Id = Field(
        description="as `show-my-peer-support` shows it: the peer knows it by another id than the asker"
    )
    offer: Id = Field(description="the offer that is proposed or asked, as shown: the answer is to that one alone")


class WithdrawHelpRequest(Command):
    """Takes a request back; nothing is kept of it. Sent by the asker."""

    sealed: ClassVar[bool] = True
    request: Id


class RecordWhetherItHelped(Command):
    """Says whether the peer helped, and ends the request. Who asked, and whom, is forgotten. Sent by the asker."""

    sealed: ClassVar[bool] = True
    request: Id
    helped: Helped


class ExperienceOffered(Event):
    """Somebody offers to help peers."""

    key = "offer"
    offer: Id
    mentor: Principal
    network: Id
    organisation: Id | None
    type: OrganisationType | None
    region: Region | None
    topics: tuple[PeerTopic, ...]
    size: SizeBand
    at_once: int


class ExperienceOfferEnded(Event):
    """An offer is taken back."""

    key = "offer"
    offer: Id


class MentorAsked(Event):
    """Somebody who offered help is asked for it. By whom is not said, here or anywhere an event message goes."""

    key = "offer"
    offer: Id
    mentor: Principal


class OfferView(BaseModel, frozen=True):
    """What whoever asks offers."""

    id: Id
    network: Id
    topics: tuple[PeerTopic, ...]
    size: SizeBand
    at_once: int


class HelpRequestView(BaseModel, frozen=True):
    """A request as its asker sees it."""

    id: Id
    topic: PeerTopic
    state: HelpState
    offer: Id | None = Field(description="the offer of the peer proposed; an answer names it")
    peer_network: str | None = Field(description="the name of the network of the peer proposed")
    peer: Principal | None = Field(description="the peer, once both have accepted")
    why: tuple[str, ...] = Field(description="why this peer, a reason a line")
    score: int | None = Field(description="how near the peer's experience is: 0 to 6")
    answer_by: Moment | None = Field(description="until when the asker or the peer is to answer, where one is")


class AskedOfMeView(BaseModel, frozen=True):
    """A request as the peer sees it: its topic alone, and once both have accepted who asked."""

    id: Id = Field(description="made when the peer was asked, for the peer alone; nothing can be told from it")
    offer: Id = Field(description="the peer's own offer that was taken; an answer names it")
    topic: PeerTopic
    state: HelpState
    answer_by: Moment | None
    asker: Principal | None
    network: Id | None
    words: str | None


class MyPeerSupport(BaseModel, frozen=True):
    """Everything about peer support that is for whoever asks."""

    offer: OfferView | None
    requests: tuple[HelpRequestView, ...]
    asked_of_me: tuple[AskedOfMeView, ...]


class ShowMyPeerSupport(Query[MyPeerSupport]):
    """Shows whoever asks their offer, their requests, and what is asked of them. Nobody else's."""


class PeerSupportFigures(BaseModel, frozen=True):
    """How often help helped. All figures are none while they are too few."""

    closed: int | None = Field(description="how many are counted here: always whole tens, the first that were closed")
    helped: dict[Helped, int] | None
    withheld: str | None = Field(description="why nothing is shown, if so")


class ShowPeerSupportFigures(Query[PeerSupportFigures]):
    """Shows how often help helped, over all requests there were."""


# Partners -----------------------------------------------------------------------------------------------------------

PartnerType = Literal["charity", "nhs-body", "coalition", "policy-group"]


class RegisterPartner(Command):
    """Notes that an umbrella network has a partner. Sent by its steward or one of its steering group."""

    umbrella: Id
    name: Line
    type: PartnerType
    organisation: Id | None = Field(default=None, description="the partner, if it is a registered organisation")


class LinkPartner(Command):
    """Links a partner to an ongoing work stream of its umbrella. Sent by its steward or one of its steering group."""

    partner: Id
    work_stream: Id


class UnlinkPartner(Command):
    """Takes a partner out of a work stream. Sent by the umbrella's steward or one of its steering group."""

    partner: Id
    work_stream: Id


class EndPartnership(Command):
    """Ends a partnership, with all its links. Sent by the umbrella's steward or one of its steering group."""

    partner: Id


class PartnerRegistered(Event):
    """An umbrella network has a partner."""

    key = "partner"
    partner: Id
    umbrella: Id
    name: str
    type: PartnerType
    organisation: Id | None
    since: Moment


class PartnerLinked(Event):
    """A partner takes part in a work stream."""

    key = "partner"
    partner: Id
    umbrella: Id
    work_stream: Id
    since: Moment


class PartnerUnlinked(Event):
    """A partner no longer takes part in a work stream."""

    key = "partner"
    partner: Id
    umbrella: Id
    work_stream: Id


class PartnershipEnded(Event):
    """A partner is one no longer, and takes part in no work stream."""

    key = "partner"
    partner: Id
    umbrella: Id
    ended_at: Moment


class PartnerLinkView(BaseModel, frozen=True):
    """A work stream that a partner takes part in."""

    work_stream: Id
    name: str
    ongoing: bool
    since: Moment


class PartnerView(BaseModel, frozen=True):
    """One partner of an umbrella network."""

    id: Id
    umbrella: Id
    name: str
    type: PartnerType
    organisation: Id | None
    since: Moment
    ended_at: Moment | None
    work_streams: tuple[PartnerLinkView, ...]


class PartnerPage(BaseModel, frozen=True):
    """Partners in the order they were registered."""

    partners: tuple[PartnerView, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListPartners(Query[PartnerPage]):
    """Lists partners, all or those that fit every filter given; of a work stream with ``work_stream``."""

    umbrella: Id | None = None
    work_stream: Id | None = None
    type: PartnerType | None = None
    with_ended: bool = False
    limit: int = Field(default=50, ge=1, le=500)
    after: Id | None = Field(default=None, description="`next` of the page before")
    as_of: AsOf = None


# Collective voice ---------------------------------------------------------------------------------------------------

ConcernState = Literal["open", "submitted", "answered", "closed", "withdrawn"]
ConcernOutcome = Literal["resolved", "partly-resolved", "unresolved", "unanswered", "not-submitted"]
ConcernStep = Literal["raised", "endorsed", "submitted", "fell-due", "chased", "answered", "closed", "withdrawn"]

WithdrawalPhrase = Annotated[
    str,
    StringConstraints(min_length=16, max_length=200),
    Field(description="words that the raiser alone knows, to take a concern back by that was raised without a name"),
]


class RaiseConcern(Command):
    """Raises a concern with a suggested solution in an umbrella network, for a member network's representative.

    With ``anonymous`` nobody is shown who raised it, and nothing by which they could be found is kept: not even to take
    it back, for which there is the phrase. The words of the concern are shown as they are written: name nobody in them.
    """

    sealed: ClassVar[bool] = True
    umbrella: Id
    title: Line
    text: Text = Field(description="what is wrong")
    suggestion: Text = Field(description="what would help")
    anonymous: bool = False
    withdrawal_phrase: WithdrawalPhrase | None = Field(
        default=None, description="with anonymous; without a phrase nobody can take it back"
    )


class WithdrawConcern(Command):
    """Takes an open concern back, for a reason that stays on record."""

    sealed: ClassVar[bool] = True
    concern: Id
    reason: Text
    withdrawal_phrase: WithdrawalPhrase | None = Field(default=None, description="if it was raised without a name")


class EndorseConcern(Command):
    """Puts a member network's one voice behind an open concern; any of its representatives may."""

    concern: Id
    network: Id


class TakeBackEndorsement(Command):
    """Takes a network's voice back while the concern is open; any of its representatives may."""

    concern: Id
    network: Id


class SubmitConcern(Command):
    """Puts an open concern before HR, who shall reply by a moment. From then on it is chased."""

    concern: Id
    addressee: Line = Field(description="whom it is put before, in words: a department, not a person")
    reply_by: Moment


class RecordConcernResponse(Command):
    """Writes down what the addressee replied."""

    concern: Id
    response: Text


class CloseConcern(Command):
    """Says what became of a concern, for a reason that stays on record.

    ``not-submitted`` for an open one; ``unanswered`` for one whose reply is overdue; the others for one with a reply.
    """

    concern: Id
    outcome: ConcernOutcome
    reason: Text


class ConcernRaised(Event):
    """A concern is put to the member networks of an umbrella."""

    key = "concern"
    concern: Id
    umbrella: Id
    title: Line
    text: Text
    suggestion: Text
    raised_by: Principal | None = Field(description="none if whoever raised it is not to be shown")
    raised_at: Moment


class ConcernEndorsed(Event):
    """A member network stands behind a concern."""

    key = "concern"
    concern: Id
    umbrella: Id
    network: Id
    endorsed_at: Moment


class EndorsementTakenBack(Event):
    """A network no longer stands behind a concern."""

    key = "concern"
    concern: Id
    umbrella: Id
    network: Id


class ConcernSubmitted(Event):
    """A concern lies before its addressee, with the networks that stand behind it; these stay as they are."""

    key = "concern"
    concern: Id
    umbrella: Id
    addressee: Line
    endorsed_by: tuple[Id, ...]
    submitted_at: Moment
    reply_by: Moment


class ConcernReplyOverdue(Event):
    """The reply to a concern has not come. Said when it fell due, and again and again until it comes."""

    key = "concern"
    concern: Id
    umbrella: Id
    addressee: Line
    overdue_since: Moment
    reminder: int = Field(description="1 when it fell due, then one more each time")
    reminded_at: Moment


class ConcernAnswered(Event):
    """The addressee of a concern replied."""

    key = "concern"
    concern: Id
    umbrella: Id
    response: Text
    answered_at: Moment
    raised_by: Principal | None
    endorsed_by: tuple[Id, ...]


class ConcernClosed(Event):
    """What became of a concern. It does not change any more."""

    key = "concern"
    concern: Id
    umbrella: Id
    outcome: ConcernOutcome
    reason: Text
    closed_at: Moment
    raised_by: Principal | None
    endorsed_by: tuple[Id, ...]


class ConcernWithdrawn(Event):
    """Whoever raised a concern took it back."""

    key = "concern"
    concern: Id
    umbrella: Id
    reason: Text
    withdrawn_at: Moment
    raised_by: Principal | None
    endorsed_by: tuple[Id, ...]


class ConcernSummary(BaseModel, frozen=True):
    """One concern in a list."""

    id: Id
    umbrella: Id
    title: str
    state: ConcernState
    endorsements: int = Field(description="how many networks stand behind it; of an open one, member networks")
    addressee: str | None
    reply_by: Moment | None
    overdue_since: Moment | None = Field(description="since when its addressee owes a reply; none if it owes none")
    outcome: ConcernOutcome | None


class ConcernPage(BaseModel, frozen=True):
    """Concerns in the order they were raised."""

    concerns: tuple[ConcernSummary, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListConcerns(Query[ConcernPage]):
    """Lists concerns in the order they were raised, all or those that fit every filter given."""

    umbrella: Id | None = None
    state: ConcernState | None = None
    overdue: bool = Field(default=False, description="only those whose addressee owes a reply")
    limit: int = Field(default=50, ge=1, le=500)
    after: Id | None = Field(default=None, description="`next` of the page before")
    as_of: AsOf = None


class EndorsementView(BaseModel, frozen=True):
    """A network that stands behind a concern."""

    network: Id
    name: str
    since: Moment


class ConcernStepView(BaseModel, frozen=True):
    """One step in the course of a concern."""

    step: ConcernStep
    at: Moment
    network: Id | None = Field(description="which network endorsed it; none of other steps")


class ConcernView(BaseModel, frozen=True):
    """One concern whole."""

    id: Id
    umbrella: Id
    title: str
    text: str
    suggestion: str
    raised_by: Principal | None = Field(description="none if whoever raised it is not to be shown")
    raised_at: Moment
    state: ConcernState
    endorsements: tuple[EndorsementView, ...] = Field(description="by name of the network")
    addressee: str | None
    submitted_at: Moment | None
    reply_by: Moment | None
    overdue_since: Moment | None
    reminders: int = Field(description="how often the reply was said to be overdue")
    response: str | None
    answered_at: Moment | None
    outcome: ConcernOutcome | None
    reason: str | None = Field(description="why it was closed or withdrawn")
    ended_at: Moment | None
    course: tuple[ConcernStepView, ...] = Field(description="from the first step to the last so far")


class ShowConcern(Query[ConcernView]):
    """Shows one concern with who stands behind it, its course and the response."""

    concern: Id


# Discussion on proposals --------------------------------------------------------------------------------------------


class ContributeToProposal(Command):
    """Says something on a draft or an open proposal for a network, under whose name it stands. It changes no outcome.

    Sent by a representative of a member network or of one that has a voice on the proposal.
    """

    proposal: Id
    network: Id
    text: Text


class WithdrawContribution(Command):
    """Takes back what a network said on a proposal; its words are deleted. Sent by its steward or a representative."""

    proposal: Id
    contribution: Id


class ContributionMade(Event):
    """A network said something on a proposal. What it said is in no message: `list-contributions` shows it."""

    key = "proposal"
    proposal: Id
    umbrella: Id
    contribution: Id
    network: Id
    version: int = Field(description="the wording it was said of")
    made_at: Moment
    first_of_day: bool = Field(
        description="nobody had contributed to this proposal before on that day, as London has it"
    )


class ContributionWithdrawn(Event):
    """A network took back what it said on a proposal."""

    key = "proposal"
    proposal: Id
    umbrella: Id
    contribution: Id
    network: Id
    withdrawn_at: Moment


class ContributionView(BaseModel, frozen=True):
    """What a network said on a proposal."""

    id: Id
    network: Id
    name: str
    version: int = Field(description="the wording it was said of")
    text: str | None = Field(description="none once it was taken back")
    made_at: Moment
    withdrawn_at: Moment | None


class ContributionPage(BaseModel, frozen=True):
    """Contributions in the order they were made."""

    contributions: tuple[ContributionView, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListContributions(Query[ContributionPage]):
    """Lists what networks said on a proposal, in the order they said it.

    For its author, those who steer the umbrella, and representatives of its member networks and of those asked.
    """

    proposal: Id
    network: Id | None = Field(default=None, description="only what this network said")
    limit: int = Field(default=20, ge=1, le=20)
    after: Id | None = Field(default=None, description="`next` of the page before")


# Starter paths of forming networks ----------------------------------------------------------------------------------

StarterStep = Literal[
    "find-a-sponsor",
    "gather-five-people",
    "agree-terms-of-reference",
    "hold-a-first-meeting",
    "apply-to-an-umbrella",
]


class RecordStarterStep(Command):
    """Says when a forming network took a step of its starter path, in any order. Sent by its steward.

    With the last of them the network is established.
    """

    network: Id
    step: StarterStep
    done_on: date = Field(description="the day it was done, today at the latest")


class TakeBackStarterStep(Command):
    """Says that a forming network has not taken a step after all. Sent by its steward."""

    network: Id
    step: StarterStep


class DeclareNetworkEstablished(Command):
    """Says that a forming network stands on its own, however many steps are done. Sent by its steward."""

    network: Id


class StarterPathBegun(Event):
    """A forming network has a starter path."""

    key = "path"
    path: Id
    network: Id
    begun_at: Moment


class StarterStepRecorded(Event):
    """A forming network took a step, on another day than was recorded, or has not taken it after all."""

    key = "path"
    path: Id
    network: Id
    step: StarterStep
    done_on: date | None = Field(description="none if it is not done after all")


class NetworkEstablished(Event):
    """A forming network is established. Its starter path does not change any more."""

    key = "path"
    path: Id
    network: Id
    established_at: Moment


class StarterStepView(BaseModel, frozen=True):
    """One step of a starter path."""

    step: StarterStep
    what: str = Field(description="what to do, in words")
    done_on: date | None


class StarterPathView(BaseModel, frozen=True):
    """The starter path of a network."""

    id: Id
    network: Id
    name: str
    begun_at: Moment
    steps: tuple[StarterStepView, ...]
    done: int = Field(description="how many of the steps are done")
    next: StarterStep | None = Field(description="the first step that is not done; none once established")
    established_at: Moment | None
    peer: HelpRequestView | None = Field(
        description="how far the search for an experienced peer is; shown to whoever it is made for, and none to others"
    )


class ShowStarterPath(Query[StarterPathView]):
    """Shows the starter path of a network: its steps, what is done, what is next, and to its steward a peer to ask."""

    network: Id


class StarterPathSummary(BaseModel, frozen=True):
    """One starter path in a list."""

    id: Id
    network: Id
    name: str
    begun_at: Moment
    done: int
    next: StarterStep | None
    established_at: Moment | None


class StarterPathPage(BaseModel, frozen=True):
    """Starter paths in the order they were begun."""

    paths: tuple[StarterPathSummary, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListStarterPaths(Query[StarterPathPage]):
    """Lists the networks that are forming, or those that were and are established."""

    established: bool = Field(default=False, description="those that are established instead of those still forming")
    limit: int = Field(default=50, ge=1, le=500)
    after: Id | None = Field(default=None, description="`next` of the page before")
