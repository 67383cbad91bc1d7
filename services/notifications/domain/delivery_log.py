"""Who was told what, when, by which channel: kept as long as is set (``CONCORD_DELIVERY_LOG_DAYS``)."""

from datetime import datetime

from pydantic import BaseModel

from shared.contracts.notifications import Channel, Topic


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
