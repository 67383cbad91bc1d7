"""The tables of benchmark: instruments, rounds and what was handed in, what was released, and who may see their own."""

from sqlalchemy import CheckConstraint, Column, Float, ForeignKey, Integer, MetaData, Table, Text, UniqueConstraint
from sqlalchemy.schema import SchemaItem

from shared.database import Document, Key, Moment

metadata = MetaData()


def _aggregate(name: str, *columns: SchemaItem) -> Table:
    return Table(
        name, metadata, Column("id", Key, primary_key=True), Column("sequence", Integer, nullable=False), *columns
    )


instruments = _aggregate(
    "instruments",
    Column("name", Key, nullable=False),
    Column("version", Key, nullable=False),
    Column("title", Text, nullable=False),
    Column("measures", Document, nullable=False),
    UniqueConstraint("name", "version", name="one_content_a_version"),
)

rounds = _aggregate(
    "rounds",
    Column("instrument", Key, ForeignKey("instruments.id"), nullable=False),
    Column("instrument_name", Key, nullable=False),
    Column("label", Key, nullable=False),
    Column("state", Key, nullable=False),
    Column("respondents", Integer, nullable=False),
    Column("source", Text),
    Column("content", Key),
    Column("published", Document, nullable=False),
    Column("opened_at", Moment, nullable=False),
    Column("closed_at", Moment),
    Column("release_asked_at", Moment),
    Column("release_failed_at", Moment),
    Column("released_at", Moment),
    Column("release", Key),
    UniqueConstraint("instrument_name", "label", name="one_round_a_label"),
    CheckConstraint("state IN ('open', 'closed', 'released')", name="state_of_a_round"),
    CheckConstraint("(state = 'released') = (release IS NOT NULL)", name="released_with_a_release"),
)

submissions = _aggregate(
    "submissions",
    Column("round", Key, ForeignKey("rounds.id"), nullable=False),
    Column("respondent", Key, nullable=False),
    Column("name", Text),
    Column("organisation", Key),
    Column("scores", Document, nullable=False),
    Column("answers", Document, nullable=False),
    UniqueConstraint("round", "respondent", name="one_submission_a_respondent"),
    UniqueConstraint("round", "organisation", name="one_submission_an_organisation"),
)

releases = _aggregate(
    "releases",
    Column("round", Key, ForeignKey("rounds.id"), nullable=False, unique=True),
    Column("places", Document, nullable=False),
)

figures = Table(
    "figures",
    metadata,
    Column("owner", Key, ForeignKey("releases.id"), primary_key=True),
    Column("key", Key, primary_key=True),
    Column("measure", Key, nullable=False),
    Column("by", Key, nullable=False),
    Column("group", Key),
    Column("organisations", Integer),
    Column("median", Float),
    Column("lower_quartile", Float),
    Column("upper_quartile", Float),
    Column("withheld", Key),
    Column("quartiles_withheld", Key),
    CheckConstraint("organisations >= 5", name="five_organisations"),
    CheckConstraint("lower_quartile IS NULL OR organisations >= 20", name="twenty_for_quartiles"),
    # A figure is shown or withheld with a reason, never both and never neither.
    CheckConstraint("(median IS NULL) = (withheld IS NOT NULL)", name="median_or_reason"),
    CheckConstraint("(organisations IS NULL) = (median IS NULL)", name="median_of_organisations"),
    CheckConstraint("(lower_quartile IS NULL) = (quartiles_withheld IS NOT NULL)", name="quartiles_or_reason"),
    CheckConstraint("(lower_quartile IS NULL) = (upper_quartile IS NULL)", name="both_quartiles_or_none"),
    CheckConstraint("median IS NOT NULL OR lower_quartile IS NULL", name="no_quartiles_of_a_withheld_figure"),
)

stewards = _aggregate(
    "stewards",
    Column("organisation", Key, nullable=False),
    Column("principal", Key, nullable=False, unique=True),
)

# What membership said -----------------------------------------------------------------------------------------------

organisations = _aggregate(
    "organisations",
    Column("slug", Key, nullable=False),
    Column("name", Text, nullable=False),
    Column("first_name", Text, nullable=False),
    Column("plain_name", Key, index=True),
    Column("plain_name_of", Text),
    Column("abbreviation", Text),
    Column("type", Key, nullable=False),
    Column("region", Key),
)
