"""The tables of membership. Their constraints are the second wall behind the rules of the domain."""

from typing import get_args

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.schema import SchemaItem

from services.membership.domain.steering_group import HUNDREDTHS, MAX_FTE, MAX_PERSON_FTE
from shared.contracts.membership import (
    ConcernOutcome,
    ConcernState,
    MembershipState,
    ProposalState,
    Reach,
    SteeringRole,
)
from shared.database import Document, Key, Moment

metadata = MetaData()


def _aggregate(name: str, *columns: SchemaItem) -> Table:
    return Table(
        name, metadata, Column("id", Key, primary_key=True), Column("sequence", Integer, nullable=False), *columns
    )


def _part(name: str, whole: Table, *columns: SchemaItem) -> Table:
    owner = Column("owner", Key, ForeignKey(whole.c.id, ondelete="CASCADE"), primary_key=True)
    return Table(name, metadata, owner, Column("key", Key, primary_key=True), *columns)


def _one_of(column: str, words: object) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(word) for word in get_args(words))})", name=f"known_{column}")


organisations = _aggregate(
    "organisations",
    Column("key", Key, nullable=False, unique=True),
    Column("name", Key, nullable=False, index=True),
    Column("type", Key, nullable=False, index=True),
    Column("format", Key),
    Column("abbreviation", Key, index=True),
    Column("nation", Key),
    Column("region", Key),
    Column("place", Key),
    Column("latitude", Float),
    Column("longitude", Float),
    Column("parents", Document, nullable=False),
    Column("unknown_parents", Document, nullable=False),
    Column("supersedes", Document, nullable=False),
    Column("register_name", Key),
    CheckConstraint("(latitude IS NULL) = (longitude IS NULL)", name="whole_coordinate"),
)

networks = _aggregate(
    "networks",
    Column("name", Key, nullable=False),
    Column("reach", Key, nullable=False),
    Column("organisation", Key, ForeignKey("organisations.id"), index=True),
    Column("parent", Key, ForeignKey("networks.id"), index=True),
    Column("office", Document),
    Column("umbrella", Document),
    Column("steering_group", Key, unique=True),
    Column("steward", Key, nullable=False),
    _one_of("reach", Reach),
    CheckConstraint("organisation IS NOT NULL OR parent IS NOT NULL", name="has_a_home"),
    CheckConstraint("(umbrella IS NULL) = (steering_group IS NULL)", name="umbrella_has_a_steering_group"),
)
representatives = _part(
    "representatives",
    networks,
    Column("principal", Key, nullable=False, index=True),
    Column("office", Document),
    UniqueConstraint("owner", "principal", name="credentials_of_their_own"),
)

memberships = _aggregate(
    "memberships",
    Column("umbrella", Key, ForeignKey("networks.id"), nullable=False),
    Column("network", Key, ForeignKey("networks.id"), nullable=False, index=True),
    Column("state", Key, nullable=False),
    _one_of("state", MembershipState),
    UniqueConstraint("umbrella", "network", name="one_voice"),
    CheckConstraint("umbrella <> network", name="not_its_own_member"),
)

steering_groups = _aggregate(
    "steering_groups",
    Column("network", Key, ForeignKey("networks.id"), nullable=False, unique=True),
    Column("total_hundredths", Integer, nullable=False),
    CheckConstraint(f"total_hundredths BETWEEN 0 AND {MAX_FTE * HUNDREDTHS}", name="six_fte"),
)
seats = _part(
    "seats",
    steering_groups,
    Column("role", Key, nullable=False),
    Column("work_stream", Key),
    Column("person", Key, nullable=False),
    Column("principal", Key, nullable=False),
    Column("hundredths", Integer, nullable=False),
    _one_of("role", SteeringRole),
    CheckConstraint(f"hundredths BETWEEN 1 AND {MAX_PERSON_FTE * HUNDREDTHS}", name="one_person"),
    UniqueConstraint("owner", "work_stream", name="one_lead_for_each_work_stream"),
)
work_streams = _part(
    "work_streams", steering_groups, Column("name", Key, nullable=False), Column("ongoing", Boolean, nullable=False)
)

proposals = _aggregate(
    "proposals",
    Column("umbrella", Key, ForeignKey("networks.id"), nullable=False),
    Column("author", Key, nullable=False),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("state", Key, nullable=False),
    Column("opened_at", Moment),
    Column("deadline", Moment),
    Column("quorum", Integer, nullable=False),
    Column("stand_aside_limit", Key, nullable=False),
    Column("decision", Document),
    Column("withdrawn_because", Text),
    _one_of("state", ProposalState),
    CheckConstraint("(state = 'closed') = (decision IS NOT NULL)", name="closed_with_an_outcome"),
    CheckConstraint("state <> 'open' OR deadline IS NOT NULL", name="open_until_a_deadline"),
    Index("proposals_of_umbrella", "umbrella", "id"),
)
# The primary key of a part, here proposal and network, is what gives a network one position on a proposal.
voices = _part(
    "voices",
    proposals,
    Column("stance", Document),
    Column("earlier", Document, nullable=False),
)

concerns = _aggregate(
    "concerns",
    Column("umbrella", Key, ForeignKey("networks.id"), nullable=False),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("suggestion", Text, nullable=False),
    Column("raised_by", Key),
    Column("raised_at", Moment, nullable=False),
    Column("state", Key, nullable=False),
    Column("addressee", Text),
    Column("submitted_at", Moment),
    Column("reply_by", Moment),
    Column("reminders", Integer, nullable=False),
    Column("reminded_at", Moment),
    Column("response", Text),
    Column("answered_at", Moment),
    Column("outcome", Key),
    Column("reason", Text),
    Column("ended_at", Moment),
    _one_of("state", ConcernState),
    _one_of("outcome", ConcernOutcome),
    CheckConstraint("(state = 'closed') = (outcome IS NOT NULL)", name="closed_with_what_became_of_it"),
    CheckConstraint("(reply_by IS NULL) = (addressee IS NULL)", name="somebody_owes_the_reply"),
    CheckConstraint("state NOT IN ('submitted', 'answered') OR reply_by IS NOT NULL", name="submitted_with_a_date"),
    CheckConstraint("(response IS NULL) = (answered_at IS NULL)", name="answered_once"),
    Index("concerns_of_umbrella", "umbrella", "id"),
    Index("concerns_to_be_answered", "state", "reply_by"),
)
# The primary key of a part, here concern and network, is what gives a network one voice behind a concern.
endorsements = _part("endorsements", concerns, Column("since", Moment, nullable=False))
# Of a concern without a name: the digest of a phrase, which belongs to nobody here. No table says who raised it.
withdrawal_keys = _aggregate(
    "withdrawal_keys", Column("concern", Key, ForeignKey("concerns.id"), nullable=False, unique=True)
)
