"""What benchmark says and hears: instruments, rounds, the scores organisations hand in, and the figures that leave.

No event carries a score, nor says which organisation took part. Figures of groups are in answers to queries, each one
after the disclosure gate; an organisation's own scores are answered to its data stewards alone.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field, FiniteFloat, StringConstraints

from shared.contracts.membership import OrganisationType, Region
from shared.contracts.message import Command, Event, Id, Line, Moment, Principal, Query, Role

RoundState = Literal["open", "closed", "released"]
Grouping = Literal["all", "type", "region"]
Position = Literal[
    "below-lower-quartile",
    "between-lower-quartile-and-median",
    "below-median",
    "at-median",
    "above-median",
    "between-median-and-upper-quartile",
    "above-upper-quartile",
]
WithheldCode = Literal[
    "fewer-than-five-organisations",
    "fewer-than-twenty-organisations",
    "gives-back-a-withheld-group",
    "too-close-to-another-figure",
    "fewer-than-ten-answers",
    "no-score",
    "gives-back-a-withheld-answer",
]

InstrumentName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=100),
    Field(description="lower-case words joined by hyphens (people-survey); the same in every version"),
]
Label = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}$"),
    Field(description="a short name, such as 2023"),
]
MeasureCode = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}$"),
    Field(description="what stays the same from round to round (B01, W09, HSE_index)"),
]
RespondentCode = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_&.-]{0,39}$"),
    Field(description="the code a survey file gives an organisation (ACAS)"),
]
Wording = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class Measure(BaseModel, frozen=True, extra="forbid"):
    """One thing an instrument measures."""

    code: MeasureCode
    wording: Wording
    unit: Line = Field(description="what a score of it counts (% selecting 'Yes')")
    lowest: FiniteFloat | None = Field(default=0, description="the lowest score there can be, where there is a lowest")
    highest: FiniteFloat | None = Field(
        default=100, description="the highest score there can be, where there is a highest"
    )
    question: MeasureCode | None = Field(
        default=None, description="the question it is one answer to; the answers to one question add up to 100"
    )
    decimals: int = Field(default=1, ge=0, le=3, description="to how many decimals a figure of it leaves the service")


Measures = Annotated[tuple[Measure, ...], Field(min_length=1, max_length=500)]


class Score(BaseModel, frozen=True, extra="forbid"):
    """An organisation's score on one measure."""

    value: FiniteFloat | None = Field(description="none where it is not known or was suppressed; never zero for that")
    answers: int | None = Field(default=None, ge=0, description="how many people's answers it comes from, where known")


# Instruments and rounds ---------------------------------------------------------------------------------------------


class LoadInstrument(Command):
    """Takes in one version of a questionnaire. The same version loaded again must say the same."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    name: InstrumentName
    version: Label
    title: Line
    measures: Measures


class InstrumentLoaded(Event):
    """A version of a questionnaire can be used in rounds."""

    key = "instrument"
    instrument: Id
    name: InstrumentName
    version: Label
    title: Line
    measures: tuple[Measure, ...]


class OpenRound(Command):
    """Opens a round: organisations may hand in their scores from now on."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    instrument: Id
    label: Label


class SubmitScores(Command):
    """Hands in an organisation's scores, all of them; once more before the close replaces what was handed in.

    Sent by a data steward of the organisation.
    """

    round: Id
    organisation: Id
    scores: dict[MeasureCode, Score] = Field(min_length=1, max_length=500)


class CloseRound(Command):
    """Closes a round: nothing is handed in or changed any more."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    round: Id


class ReleaseRound(Command):
    """Has a closed round put through the disclosure gate, once. What may leave is kept, and changes no more.

    Answered at once: the audit is done beside the service, and until it is through no figure can be seen.
    ``round-released`` tells that it is, ``round-release-failed`` that it could not be finished and may be asked for
    again; ``list-rounds`` shows the same. The peer groups are by type and region of the organisations as they are known
    when the audit begins.
    """

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    round: Id


class RoundOpened(Event):
    """A round is open: organisations may hand in their scores, unless these come from a file."""

    key = "round"
    round: Id
    instrument: Id
    instrument_name: InstrumentName
    label: Label
    opened_at: Moment
    source: Line | None = Field(
        default=None, description="who publishes the file all its scores come from; nothing is handed in then"
    )


class ScoresSubmitted(Event):
    """One more organisation handed in its scores, or one changed them; which one is not said."""

    key = "round"
    round: Id
    respondents: int = Field(description="how many organisations have handed in so far")
    amended: bool


class ScoresImported(Event):
    """The scores of a round came from a file."""

    key = "round"
    round: Id
    source: Line
    respondents: int
    content: str = Field(description="a digest of what the file said, by which the same file is known again")
    published: dict[MeasureCode, FiniteFloat] = Field(
        description="the medians of all organisations that the publisher states, for comparison only"
    )


class RoundClosed(Event):
    """Nothing is handed in any more."""

    key = "round"
    round: Id
    respondents: int
    closed_at: Moment
    source: Line | None = Field(default=None, description="who published the file its scores came from, if they did")


class RoundReleaseStarted(Event):
    """The figures of a round are being audited; none of them can be seen yet."""

    key = "round"
    round: Id
    asked_at: Moment


class RoundReleaseFailed(Event):
    """The audit of a round could not be finished for a technical reason; nothing left. It may be asked for again."""

    key = "round"
    round: Id
    failed_at: Moment


class RoundReleased(Event):
    """The figures of a round can be asked for."""

    key = "round"
    round: Id
    instrument_name: InstrumentName
    label: Label
    release: Id
    respondents: int
    shown: int = Field(description="figures of groups that may be seen, over all measures")
    withheld: dict[WithheldCode, int] = Field(description="how many are withheld, for which reason")
    released_at: Moment


# The People Survey file ---------------------------------------------------------------------------------------------


class SurveyRow(BaseModel, frozen=True, extra="forbid"):
    """One row of a People Survey file. Taken in as it stands: the rules of the import answer for every row at once."""

    line: int | None = Field(default=None, ge=1, description="its line in the file, so that a problem can name it")
    code: str = Field(default="", max_length=1_000, description="the survey's code of the organisation (ACAS)")
    name: str = Field(default="", max_length=1_000)
    scores: tuple[FiniteFloat | None, ...] = Field(
        max_length=500, description="one for each measure, in their order; none where the file says [c]"
    )


class ImportPeopleSurvey(Command):
    """Takes in a whole People Survey round from its organisation file, all or nothing, and closes it.

    Rows of medians, means and groups are kept apart: they are not organisations. The same file a second time changes
    nothing. Refused as a whole if anything in it is wrong; the refusal lists every problem with its line and field.
    """

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    label: Label = Field(description="the round, usually its year (2023)")
    source: Line = Field(description="who publishes the file; the pages made from the round name it")
    measures: Measures
    rows: tuple[SurveyRow, ...] = Field(min_length=1, max_length=1_000)


class LinkRespondent(Command):
    """Says which organisation a row of a survey file is, where the name alone did not tell."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    round: Id
    respondent: RespondentCode
    organisation: Id


class RespondentLinked(Event):
    """One more row of a survey file is known to be an organisation; which one is not said."""

    key = "round"
    round: Id


# Who may see an organisation's own standing -------------------------------------------------------------------------


class NameDataSteward(Command):
    """Lets a principal hand in and see the scores of one organisation."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    organisation: Id
    principal: Principal


class RemoveDataSteward(Command):
    """Takes that back."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    principal: Principal


class DataStewardNamed(Event):
    """A principal may hand in and see the scores of an organisation."""

    key = "steward"
    steward: Id
    organisation: Id
    principal: Principal


class DataStewardRemoved(Event):
    """A principal may no longer do so."""

    key = "steward"
    steward: Id
    organisation: Id
    principal: Principal


# Questions ----------------------------------------------------------------------------------------------------------


class RoundSummary(BaseModel, frozen=True):
    """A round in one line."""

    id: Id
    instrument: Id
    instrument_name: str
    label: str
    state: RoundState
    respondents: int
    source: str | None = Field(description="who published the file it came from, if it did")
    opened_at: Moment
    closed_at: Moment | None
    release_asked_at: Moment | None = Field(
        description="since when a closed round is being released; none before it is asked for and after it failed"
    )
    release_failed_at: Moment | None = Field(
        description="when the release could not be finished; none once it is asked for again"
    )
    released_at: Moment | None


class RoundPage(BaseModel, frozen=True):
    """Rounds, the latest first."""

    rounds: tuple[RoundSummary, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListRounds(Query[RoundPage]):
    """Lists rounds, the latest first."""

    instrument_name: InstrumentName | None = None
    label: Label | None = None
    limit: int = Field(default=50, ge=1, le=500)
    after: Id | None = Field(default=None, description="`next` of the page before")


class InstrumentView(BaseModel, frozen=True):
    """One version of a questionnaire."""

    id: Id
    name: str
    version: str
    title: str
    measures: tuple[Measure, ...]


class ShowInstrument(Query[InstrumentView]):
    """Shows what an instrument measures."""

    instrument: Id


class Respondent(BaseModel, frozen=True):
    """A row of a survey file and the organisation it is known to be."""

    code: str
    name: str
    organisation: Id | None


class RespondentPage(BaseModel, frozen=True):
    """Rows of a survey file, by code."""

    respondents: tuple[Respondent, ...]
    total: int
    unlinked: int = Field(description="how many of them are not known to be any organisation")


class ListRespondents(Query[RespondentPage]):
    """Lists the rows an imported round came from, and which organisation each is known to be. It shows no score."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    round: Id
    unlinked_only: bool = False


class Withheld(BaseModel, frozen=True):
    """Why a figure is not shown."""

    code: WithheldCode
    sentence: str


class Distribution(BaseModel, frozen=True):
    """How the organisations of one group lie on one measure, each counting once. A withheld figure is none, never 0."""

    by: Grouping
    group: str | None = Field(description="the type or region; none for all organisations")
    organisations: int | None = Field(description="how many of them have a score; none where the figure is withheld")
    median: float | None
    lower_quartile: float | None
    upper_quartile: float | None
    withheld: Withheld | None = Field(description="why there is no median, if there is none")
    quartiles_withheld: Withheld | None = Field(description="why there are no quartiles, if there are none")


class DistributionPage(BaseModel, frozen=True):
    """The groups of one grouping on one measure."""

    round: Id
    label: str
    measure: Measure
    distributions: tuple[Distribution, ...]


class ShowDistribution(Query[DistributionPage]):
    """Shows how organisations lie on one measure of a released round: all of them, by type or by region."""

    round: Id
    measure: MeasureCode
    by: Grouping = "all"


class Against(BaseModel, frozen=True):
    """A group to compare with, and where the organisation's own score lies in it."""

    distribution: Distribution
    position: Position | None = Field(description="none where the score or the figures of the group are withheld")


class OwnScore(BaseModel, frozen=True):
    """An organisation's own score on one measure against the distributions."""

    measure: Measure
    value: float | None
    withheld: Withheld | None = Field(description="why the score is not shown, if it is not")
    everyone: Against
    same_type: Against | None = Field(description="none where the type was not known at the release")
    same_region: Against | None = Field(description="none where the region was not known at the release")


class Standing(BaseModel, frozen=True):
    """Where one organisation stands in a released round, measure by measure."""

    round: Id
    instrument_name: str
    label: str
    source: str | None
    released_at: Moment
    organisation: Id
    name: str
    type: OrganisationType | None
    region: Region | None
    scores: tuple[OwnScore, ...]


class ShowStanding(Query[Standing]):
    """Shows where an organisation stands. Answered to a data steward of that organisation and to nobody else."""

    round: Id
    organisation: Id


class MeasureComparison(BaseModel, frozen=True):
    """Our median of all organisations beside the one the publisher states."""

    code: str
    wording: str
    unit: str
    organisations: int = Field(description="how many of them have a score")
    median: float | None
    published: float | None
    agrees: bool = Field(description="to three decimals")
    suppressed: tuple[str, ...] = Field(description="codes of organisations whose score the file suppresses")
    not_asked: tuple[str, ...] = Field(description="codes of organisations in which nobody was asked the question")
    reason: str | None = Field(description="what the file shows about why they differ, if they do")


class PublishedComparison(BaseModel, frozen=True):
    """Every median of a round beside the published one."""

    round: Id
    label: str
    source: str
    respondents: int
    reproduced: int = Field(description="measures whose published median we come to, to three decimals")
    compared: int = Field(description="measures that have a published median")
    measures: tuple[MeasureComparison, ...]


class CompareWithPublished(Query[PublishedComparison]):
    """Compares the medians of an imported round with those its publisher states. For whoever holds the file."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    round: Id
