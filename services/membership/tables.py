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
    false,
)
from sqlalchemy.schema import SchemaItem

from services.membership.domain.steering_group import HUNDREDTHS, MAX_FTE, MAX_PERSON_FTE
from shared.contracts.membership import (
    ConcernOutcome,
    ConcernState,
    HelpState,
    MembershipState,
    PartnerType,
    ProposalState,
    Reach,
    RecommendationStatus,
    SizeBand,
    StatementKind,
    StatementState,
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
    Column("other_names", Document, nullable=False, server_default="[]"),
    Column("former_names", Document, nullable=False, server_default="[]"),
    Column("listed_name", Key),
    Column("predecessors", Document, nullable=False, server_default="[]"),
    Column("successors", Document, nullable=False, server_default="[]"),
    Column("closed_at", Moment),
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
    Column("steward_left", Boolean, nullable=False, server_default=false()),
    Column("steward_person", Key),
    Column("home_confirmed", Boolean, nullable=False, server_default=false()),
    _one_of("reach", Reach),
    CheckConstraint("organisation IS NOT NULL OR parent IS NOT NULL", name="has_a_home"),
    CheckConstraint("(umbrella IS NULL) = (steering_group IS NULL)", name="umbrella_has_a_steering_group"),
)
representatives = _part(
    "representatives",
    networks,
    Column("principal", Key, nullable=False, index=True),
    Column("office", Document),
    Column("deputy", Key),
    Column("deputy_principal", Key, index=True),
    UniqueConstraint("owner", "principal", name="credentials_of_their_own"),
    UniqueConstraint("owner", "deputy", name="deputy_of_one"),
    UniqueConstraint("owner", "deputy_principal", name="deputy_with_credentials_of_their_own"),
    CheckConstraint("(deputy IS NULL) = (deputy_principal IS NULL)", name="deputy_with_credentials"),
)
# Which organisation a publisher may say of that somebody left it: one, and none once it was unlinked.
publisher_links = _aggregate(
    "publisher_links",
    Column("publisher", Key, nullable=False, unique=True),
    Column("organisation", Key, ForeignKey("organisations.id"), index=True),
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
    Column("lead_vacated", Key),
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
    Column("until", Moment),
    Column("networks", Document, nullable=False, server_default="[]"),
    _one_of("role", SteeringRole),
    CheckConstraint(f"hundredths BETWEEN 1 AND {MAX_PERSON_FTE * HUNDREDTHS}", name="one_person"),
    UniqueConstraint("owner", "work_stream", name="one_lead_for_each_work_stream"),
)
Index("seats_of_person", seats.c.person)
work_streams = _part(
    "work_streams",
    steering_groups,
    Column("name", Key, nullable=False),
    Column("ongoing", Boolean, nullable=False),
    Column("vacated", Key),
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

statements = _aggregate(
    "statements",
    Column("umbrella", Key, ForeignKey("networks.id"), nullable=False),
    Column("kind", Key, nullable=False),
    Column("author", Key, nullable=False),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("worded_at", Moment, nullable=False),
    Column("version", Integer, nullable=False),
    Column("state", Key, nullable=False),
    Column("consulted", Document, nullable=False),
    Column("consulted_from", Moment),
    Column("consulted_until", Moment),
    Column("proposal", Key, ForeignKey("proposals.id")),
    Column("issued_at", Moment),
    _one_of("kind", StatementKind),
    _one_of("state", StatementState),
    CheckConstraint("(state = 'issued') = (issued_at IS NOT NULL)", name="issued_at_some_time"),
    CheckConstraint("state = 'draft' OR consulted_until IS NOT NULL", name="consulted_on_first"),
    CheckConstraint(
        "kind <> 'consensus-statement' OR state <> 'issued' OR proposal IS NOT NULL", name="consensus_was_agreed"
    ),
    Index("statements_of_umbrella", "umbrella", "id"),
)
statement_comments = _part(
    "statement_comments",
    statements,
    Column("version", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("person", Key, nullable=False),
    Column("made_at", Moment, nullable=False),
)
# The primary key, statement and organisation, is what lets an organisation sign once.
signatures = _part(
    "signatures",
    statements,
    Column("network", Key, ForeignKey("networks.id")),
    Column("person", Key),
    Column("signed_at", Moment, nullable=False),
    Column("withdrawn_at", Moment),
    CheckConstraint("(network IS NULL) = (person IS NULL)", name="somebody_of_a_network_or_an_operator"),
)
Index("signatures_of_organisation", signatures.c.key)
recommendations = _part(
    "recommendations",
    statements,
    Column("text", Text, nullable=False),
    Column("addressee", Key, nullable=False),
    Column("organisation", Key, ForeignKey("organisations.id"), index=True),
    Column("due", Moment, nullable=False, index=True),
    Column("status", Key, nullable=False),
    Column("reason", Text),
    Column("answered_at", Moment),
    _one_of("status", RecommendationStatus),
    CheckConstraint("status <> 'declined' OR reason IS NOT NULL", name="declined_with_a_reason"),
)

peer_offers = _aggregate(
    "peer_offers",
    Column("mentor", Key, unique=True),  # one offer for each mentor; nobody's once it has ended
    Column("network", Key, ForeignKey("networks.id"), nullable=False),
    Column("organisation", Key, ForeignKey("organisations.id")),
    Column("type", Key),
    Column("region", Key),
    Column("topics", Document, nullable=False),
    Column("size", Key, nullable=False),
    Column("at_once", Integer, nullable=False),
    Column("asked", Integer, nullable=False),
    _one_of("size", SizeBand),
    CheckConstraint("at_once BETWEEN 1 AND 3", name="few_at_once"),
)
help_requests = _aggregate(
    "help_requests",
    Column("topic", Key, nullable=False),
    Column("asker", Key, index=True),
    Column("network", Key, ForeignKey("networks.id")),
    Column("organisation", Key, ForeignKey("organisations.id")),
    Column("type", Key),
    Column("region", Key),
    Column("size", Key),
    Column("words", Text),
    Column("state", Key, nullable=False, index=True),
    Column("offer", Key, ForeignKey("peer_offers.id")),
    Column("mentor", Key, index=True),
    Column("asked_as", Key, index=True, unique=True),
    Column("score", Integer),
    Column("why", Document, nullable=False),
    Column("tried", Document, nullable=False),
    Column("answer_by", Moment),
    Column("was_matched", Boolean, nullable=False),
    Column("helped", Key),
    Column("place", Integer, index=True, unique=True),
    Column("slot", Integer),
    _one_of("state", HelpState),
    UniqueConstraint("asker", "slot", name="so_many_at_a_time"),
    CheckConstraint("(slot IS NULL) = (state IN ('ended', 'closed'))", name="a_slot_until_the_end"),
    CheckConstraint("(state IN ('proposed', 'asked', 'matched')) = (mentor IS NOT NULL)", name="in_a_hand_or_not"),
    CheckConstraint("(state = 'closed') = (helped IS NOT NULL)", name="closed_with_an_answer"),
    CheckConstraint(
        "(state = 'closed') = (asker IS NULL) AND (state <> 'closed' OR (network IS NULL AND words IS NULL))",
        name="forgotten_once_closed",
    ),
)

partners = _aggregate(
    "partners",
    Column("umbrella", Key, ForeignKey("networks.id"), nullable=False),
    Column("name", Key, nullable=False),
    Column("type", Key, nullable=False),
    Column("organisation", Key, ForeignKey("organisations.id")),
    Column("since", Moment, nullable=False),
    Column("ended_at", Moment),
    _one_of("type", PartnerType),
    Index("partners_of_umbrella", "umbrella", "id"),
)
partner_links = _part("partner_links", partners, Column("since", Moment, nullable=False))
Index("partner_links_of_work_stream", partner_links.c.key)
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

# What networks say on a proposal. Their words are in this column and in no event; taken back, they are gone from it.
contributions = _aggregate(
    "contributions",
    Column("proposal", Key, ForeignKey("proposals.id"), nullable=False),
    Column("network", Key, ForeignKey("networks.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("text", Text),
    Column("made_at", Moment, nullable=False),
    Column("withdrawn_at", Moment),
    CheckConstraint("(text IS NULL) = (withdrawn_at IS NOT NULL)", name="no_words_once_taken_back"),
    Index("contributions_of_proposal", "proposal", "id"),
)

starter_paths = _aggregate(
    "starter_paths",
    Column("network", Key, ForeignKey("networks.id"), nullable=False, unique=True),
    Column("begun_at", Moment, nullable=False),
    Column("done", Document, nullable=False),
    Column("established_at", Moment),
)
