"""Organisations: registered, imported, renamed, merged, split, closed, found and matched."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field, StringConstraints

from shared.contracts.message import AsOf, Command, Event, Id, Inbound, Line, Moment, Query, Role

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
