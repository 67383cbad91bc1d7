"""What every service says and hears alike: the reply to a command or query, refusals of inbound messages, dead letters."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from shared.contracts.message import Moment
from shared.refusal import Refusal


class Done(BaseModel, frozen=True):
    """A command was carried out and is durable: the aggregate it concerned and the names of the events it caused."""

    id: str | None = None
    events: tuple[str, ...] = ()


class Failure(BaseModel, frozen=True):
    """Something technical went wrong, which is our fault: what is kept, and where an operator finds it."""

    sentence: str
    dead_letter: str | None = None


class Reply(BaseModel, frozen=True):
    """The answer to every command and query: exactly one of ``done``, ``answer``, ``refusal``, ``failure`` is set."""

    outcome: Literal["done", "answered", "refused", "failed"]
    done: Done | None = None
    answer: Any = None
    refusal: Refusal | None = None
    failure: Failure | None = None


class InboundRefused(BaseModel, frozen=True):
    """An inbound message that a rule refused or that could not be read, told to its publisher.

    Published on ``inbound-refused.v1.<publisher>``.
    """

    publisher: str
    name: str = Field(description="the name in the subject it was published on")
    message: str | None = Field(description="its CloudEvents id, where it could be read")
    refusal: Refusal
    refused_at: Moment
