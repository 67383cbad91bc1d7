"""The tables of events: venues and what else plans are made from, plans, meetings, the ledger, the copy of networks."""

from sqlalchemy import Boolean, CheckConstraint, Column, Date, Float, ForeignKey, Index, Integer, MetaData, Table, Text
from sqlalchemy.schema import SchemaItem

from shared.database import Document, Key, Moment

metadata = MetaData()


def _aggregate(name: str, *columns: SchemaItem) -> Table:
    return Table(
        name, metadata, Column("id", Key, primary_key=True), Column("sequence", Integer, nullable=False), *columns
    )


# What plans are made from -------------------------------------------------------------------------------------------

venues = _aggregate(
    "venues",
    Column("name", Key, nullable=False),
    Column("place", Key, nullable=False),
    Column("region", Key, nullable=False),
    Column("nation", Key, nullable=False),
    Column("latitude", Float, nullable=False),
    Column("longitude", Float, nullable=False),
    Column("host", Key, nullable=False),
    Column("capacity", Integer, nullable=False),
    Column("step_free", Boolean, nullable=False),
    CheckConstraint("capacity >= 1", name="venue_holds_somebody"),
)
Index("one_venue_of_a_name", venues.c.place, venues.c.name, unique=True)

blackouts = _aggregate(
    "blackouts",
    Column("name", Text, nullable=False),
    Column("first", Date, nullable=False),
    Column("last", Date, nullable=False),
    Column("umbrella", Key),
    Column("lifted", Boolean, nullable=False),
    CheckConstraint("first <= last", name="blackout_has_days"),
)
travel_tables = _aggregate(
    "travel_tables", Column("source", Text, nullable=False), Column("journeys", Document, nullable=False)
)

# Plans and meetings -------------------------------------------------------------------------------------------------

plans = _aggregate(
    "plans",
    Column("umbrella", Key, nullable=False, index=True),
    Column("state", Key, nullable=False),
    Column("asked_at", Moment, nullable=False),
    Column("follows", Document, nullable=False),
    Column("meetings", Document, nullable=False),
    Column("certificate", Document),
    Column("code", Key),
    Column("sentence", Text),
    Column("conflicting", Document, nullable=False),
)
worked_from = _aggregate(
    "worked_from",
    Column("plan", Key, nullable=False, unique=True),
    Column("digest", Key, nullable=False),
    Column("inputs", Document, nullable=False),
)
meetings = _aggregate(
    "meetings",
    Column("umbrella", Key, nullable=False, index=True),
    Column("plan", Key, nullable=False),
    Column("number", Integer, nullable=False),
    Column("date", Date, nullable=False),
    Column("starts_at", Moment, nullable=False),
    Column("ends_at", Moment, nullable=False),
    Column("venue", Key, nullable=False),
    Column("venue_name", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("region", Key, nullable=False),
    Column("host", Key, nullable=False),
    Column("invited", Document, nullable=False),
    Column("state", Key, nullable=False),
    Column("reason", Text),
    Column("revision", Integer, nullable=False),
    Column("revised_at", Moment, nullable=False),
    CheckConstraint("starts_at < ends_at", name="meeting_takes_time"),
)
# A cancelled meeting gives its place free; two that stand never share one.
_stands = meetings.c.state == "booked"
Index(
    "one_meeting_a_place_in_a_plan",
    meetings.c.plan,
    meetings.c.number,
    unique=True,
    sqlite_where=_stands,
    postgresql_where=_stands,
)
Index(
    "one_meeting_a_day",
    meetings.c.umbrella,
    meetings.c.date,
    unique=True,
    sqlite_where=_stands,
    postgresql_where=_stands,
)

# The ledger: lines are added, none is changed -----------------------------------------------------------------------

ledger = _aggregate(
    "ledger",
    Column("umbrella", Key, nullable=False),
    Column("network", Key, nullable=False),
    Column("meeting", Key),
    Column("held_on", Date, nullable=False),
    Column("travelled", Integer, nullable=False),
    Column("forgone", Integer, nullable=False),
    Column("in_person", Integer, nullable=False),
    Column("remote", Integer, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("correction", Text),
    Column("written_at", Moment, nullable=False),
    CheckConstraint("travelled >= 0 AND forgone >= 0", name="nobody_travels_backwards"),
)
Index("ledger_of_umbrella", ledger.c.umbrella, ledger.c.written_at)
Index("ledger_of_meeting", ledger.c.meeting, ledger.c.network)

# What membership said -----------------------------------------------------------------------------------------------

networks = _aggregate(
    "networks", Column("name", Text), Column("office", Document), Column("umbrella", Boolean, nullable=False)
)
representatives = Table(
    "representatives",
    metadata,
    Column("owner", Key, ForeignKey(networks.c.id, ondelete="CASCADE"), primary_key=True),
    Column("key", Key, primary_key=True),
    Column("office", Document),
    Column("stood_down", Boolean, nullable=False),
)
member_networks = _aggregate(
    "member_networks",
    Column("umbrella", Key, nullable=False, index=True),
    Column("network", Key, nullable=False),
    Column("admitted", Boolean, nullable=False),
)
Index("member_networks_of_network", member_networks.c.network, member_networks.c.umbrella)
