"""Who was told what, when, by which channel: kept for a year and a month, so that a year can be looked back on."""

from datetime import datetime, time, timedelta

from pydantic import BaseModel

from shared.contracts.notifications import Channel, Topic

LOG_KEPT = timedelta(days=396)


class Telling(BaseModel, frozen=True):
    """That one subscriber was told; ``position`` is the place of it among everything the subscriber was sent."""

    position: int
    channel: Channel
    why: tuple[str, ...]


class Announcement(BaseModel, frozen=True):
    """One event, told to its audience; ``told`` by the handle of the subscriber."""

    id: str
    told_at: datetime
    topic: Topic
    sentence: str
    event: str
    event_id: str
    about: str
    network: str | None
    told: dict[str, Telling] = {}


def forgotten_at(told_at: datetime) -> datetime:
    """When everything told on the same day is forgotten: at the end of that day, once it has been kept long enough."""
    return datetime.combine(told_at.date() + timedelta(days=1), time.min, told_at.tzinfo) + LOG_KEPT
