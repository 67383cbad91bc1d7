"""The tables of notifications: subscriptions, the delivery log, and the copies of what the other services said."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.schema import SchemaItem

from shared.database import Document, Key, Moment

metadata = MetaData()


def _aggregate(name: str, *columns: SchemaItem) -> Table:
    return Table(
        name, metadata, Column("id", Key, primary_key=True), Column("sequence", Integer, nullable=False), *columns
    )


def _part(name: str, whole: Table, *columns: SchemaItem) -> Table:
    owner = Column("owner", Key, ForeignKey(whole.c.id, ondelete="CASCADE"), primary_key=True)
    return Table(name, metadata, owner, Column("key", Key, primary_key=True), *columns)


# Who wants to hear what ---------------------------------------------------------------------------------------------

subscribers = _aggregate("subscribers")
subscriptions = _part(
    "subscriptions",
    subscribers,
    Column("topic", Key, nullable=False, index=True),  # unused since level 0005: a later step may take this index away
    Column("network", Key),
    Column("region", Key),
    Column("role", Key),
    Column("channel", Key, nullable=False),
    Column("since", Moment, nullable=False),
)
Index("subscriptions_of_network", subscriptions.c.topic, subscriptions.c.network)
mutes = _part("mutes", subscribers, Column("since", Moment, nullable=False))
Index("mutes_of_topic", mutes.c.key)  # unused since level 0005 too


def _progress(name: str, *columns: SchemaItem) -> Table:
    """How far somebody is with what it is told."""
    return _aggregate(
        name,
        Column("since", Moment, nullable=False),
        Column("last", BigInteger, nullable=False),
        Column("after", BigInteger, nullable=False),
        Column("under_way", Boolean, nullable=False),
        Column("missed", BigInteger, nullable=False),
        Column("status", Integer),
        Column("trouble", Text),
        Column("answered_at", Moment),
        Column("failures", Integer, nullable=False),
        Column("failing_since", Moment),
        Column("next_attempt_at", Moment),
        Column("stopped", Key),
        CheckConstraint('0 <= "after" AND "after" <= last', name="after_is_not_beyond_the_last"),
        CheckConstraint("NOT under_way OR (next_attempt_at IS NULL AND stopped IS NULL)", name="under_way_is_neither"),
        CheckConstraint("next_attempt_at IS NULL OR stopped IS NULL", name="stopped_waits_for_nothing"),
        *columns,
    )


webhooks = _progress(
    "webhooks",
    Column("subscriber", Key, nullable=False, index=True),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("resume_at", BigInteger),
    UniqueConstraint("subscriber", "url"),
)
mailboxes = _progress(
    "mailboxes",
    Column("subscriber", Key, nullable=False, unique=True),
    Column("address", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("rhythm", Key, nullable=False),
    Column("quiet_from", Key, nullable=False),
    Column("quiet_until", Key, nullable=False),
    Column("time_zone", Key, nullable=False),
    Column("code", Text),
    Column("code_until", Moment),
    Column("codes", Integer, nullable=False),
    Column("codes_since", Moment),
    Column("confirmed_at", Moment),
    Column("turn", BigInteger, nullable=False),
    Column("up_to", BigInteger),
    Column("due_at", Moment),
    CheckConstraint("stopped IS NULL OR stopped <> 'ended' OR address = ''", name="an_end_forgets_the_address"),
    CheckConstraint("confirmed_at IS NULL OR code IS NULL", name="confirmed_has_no_code"),
    CheckConstraint('up_to IS NULL OR ("after" <= up_to AND up_to <= last)', name="a_mail_is_of_what_waits"),
)

# Who was told what --------------------------------------------------------------------------------------------------

announcements = _aggregate(
    "announcements",
    Column("told_at", Moment, nullable=False, index=True),
    Column("topic", Key, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("event", Key, nullable=False),
    # One event is told once, whatever a handler may believe.
    Column("event_id", Key, nullable=False, unique=True),
    Column("about", Key, nullable=False),
    Column("network", Key),
)
tellings = _part(
    "tellings",
    announcements,
    Column("position", BigInteger, nullable=False),
    Column("channel", Key, nullable=False),
    Column("why", Document, nullable=False),
    CheckConstraint("position >= 1", name="position_counts_from_one"),
)
Index("tellings_of_subscriber", tellings.c.key, tellings.c.owner)

# What the others said -----------------------------------------------------------------------------------------------

networks = _aggregate(
    "networks", Column("name", Text, nullable=False), Column("region", Key), Column("steward", Key, index=True)
)
representatives = _part("representatives", networks, Column("principal", Key, nullable=False, index=True))
member_networks = _aggregate(
    "member_networks",
    Column("umbrella", Key, nullable=False, index=True),
    Column("network", Key, nullable=False, index=True),
)
steering_groups = _aggregate("steering_groups", Column("network", Key, nullable=False, index=True))
seats = _part("seats", steering_groups, Column("principal", Key, nullable=False, index=True))
data_stewards = _aggregate("data_stewards", Column("principal", Key, nullable=False, index=True))
proposals = _aggregate("proposals", Column("author", Key), Column("electorate", Document, nullable=False))
meetings = _aggregate(
    "meetings",
    Column("date", Date, nullable=False),
    Column("place", Text, nullable=False),
    Column("invited", Document, nullable=False),
)
