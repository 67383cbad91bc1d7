"""What the platform was given and what it answered: the checker's only memory, kept where nothing is ever killed."""

from dataclasses import dataclass, field

from shared.contracts.message import Command, Event, Inbound
from shared.contracts.platform import Reply


@dataclass
class Asked:
    """One command, under one id, sent until it was answered; ``replies`` has one for each time it was answered."""

    id: str
    principal: str
    command: Command
    must_be_done: bool
    attempts: int = 0
    replies: list[Reply] = field(default_factory=list)

    @property
    def reply(self) -> Reply | None:
        """The first answer."""
        return self.replies[0] if self.replies else None

    def __str__(self) -> str:
        return f"{self.command.wire.owner}'s {self.command.wire.name} {self.id}"


@dataclass
class Handed:
    """One inbound message the stream confirmed, once or twice; ``becomes`` names the events it is to cause."""

    id: str
    message: Inbound
    becomes: tuple[str, ...]

    def __str__(self) -> str:
        return f"the inbound {self.message.wire.name} {self.id}"


@dataclass
class Ledger:
    """Everything that was accepted, by id.

    ``poison``: broken events put into membership's stream, by event id. ``unstorable``: the keys of inbound messages
    that keep to every rule and that membership's store will not have.
    """

    asked: dict[str, Asked] = field(default_factory=dict)
    handed: dict[str, Handed] = field(default_factory=dict)
    poison: dict[str, type[Event]] = field(default_factory=dict)
    unstorable: list[str] = field(default_factory=list)
