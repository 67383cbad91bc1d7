"""The kinds of message services exchange, and the register of all of them.

A contract is a pydantic class in the file of its owner (``shared/contracts/events.py``); its wire name, subject and
CloudEvents type follow from where it stands and what it is called, so nothing is written twice:

>>> class AppointSteeringMember(Command): ...          # in membership/steering_group.py
subject  membership.v1.command.appoint-steering-member.<principal>
type     concord.membership.appoint-steering-member.v1
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, TypeVar, get_args

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

MAJOR = "v1"
Kind = Literal["command", "query", "event", "inbound", "inbound-refused", "delivery"]
Role = Literal["operator", "member"]

# A principal is one token of a subject, so it cannot hold a dot, a space or a wildcard.
PRINCIPAL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
Principal = Annotated[str, StringConstraints(pattern=PRINCIPAL_PATTERN)]

Id = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"),
    Field(description="UUID in lower case"),
]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8_000)]


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


MAIL_ADDRESS_PATTERN = (
    # Of what RFC 5322 allows before the @, nothing that a mail server or a mail program takes apart once more.
    r"^[A-Za-z0-9#$&'*+/^_{|}~-]+(\.[A-Za-z0-9#$&'*+/^_{|}~-]+)*"
    r"@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+$"
)
MailAddress = Annotated[
    str, Field(max_length=254, pattern=MAIL_ADDRESS_PATTERN, description="an address such as name@example.gov.uk")
]
TIME_OF_DAY_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"

Moment = Annotated[AwareDatetime, AfterValidator(_in_utc), Field(description="RFC 3339 with an offset; kept in UTC")]

AsOf = Annotated[Moment | None, Field(description="how it stood at this moment, which has passed; now if left out")]

REGISTER: dict[str, type["Message"]] = {}
"""CloudEvents type → contract, for every contract whose module has been imported (``shared.contracts`` imports all)."""


class Wire(NamedTuple):
    """What a contract is called on the wire: ``owner``'s ``name``, of a kind, with its CloudEvents ``type``."""

    owner: str
    name: str
    kind: Kind
    type: str


class Message(BaseModel):
    """One message of the public language. Frozen; a field nobody knows is an error, not noise.

    What it is called on the wire stands in ``wire``, so that a field may be called ``name`` or ``type``.
    """

    # Each is built when it is first used: a process hears and says a few of some three hundred, and starts sooner.
    # A number such as 1e999 is infinite in memory, and no JSON any more when it is written.
    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", allow_inf_nan=False)

    of_kind: ClassVar[Kind]
    wire: ClassVar[Wire]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        generic = cls.__pydantic_generic_metadata__
        if cls.__module__ == __name__ or generic["origin"]:
            return  # one of the kinds below, or Query[Answer] itself
        owner = _owner(cls.__module__)
        name = re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()
        cls.wire = Wire(owner, name, cls.of_kind, f"concord.{owner}.{name}.{MAJOR}")
        if REGISTER.setdefault(cls.wire.type, cls) is not cls:
            raise TypeError(f"{cls.wire.type} is declared twice: {REGISTER[cls.wire.type]} and {cls}")


def _owner(module: str) -> str:
    """Who declares the contracts of a module: ``shared.contracts.events``, ``shared.contracts.membership.network``."""
    below = module.removeprefix(f"{__package__}.")
    return below.split(".", 1)[0] if below != module else module.rsplit(".", 1)[-1]


class Command(Message):
    """Asks a service to do something. Named in the imperative. ``roles`` may send it; the NATS server enforces that.

    Of a ``sealed`` command nothing is kept that tells who sent it. The rules see the principal; it is not in the inbox,
    nor in the causes of the events, nor in a dead letter, which keeps where the command failed and nothing else of it.
    """

    of_kind: ClassVar[Kind] = "command"
    roles: ClassVar[tuple[Role, ...]] = ("operator", "member")
    sealed: ClassVar[bool] = False


Result = TypeVar("Result", bound=BaseModel)


class Query(Message, Generic[Result]):
    """Asks a service a question: ``class ListNetworks(Query[NetworkPage])`` is answered with a ``NetworkPage``."""

    of_kind: ClassVar[Kind] = "query"
    roles: ClassVar[tuple[Role, ...]] = ("operator", "member")

    @classmethod
    def result(cls) -> type[BaseModel]:
        """The model of the answer."""
        for base in cls.__mro__:
            metadata = getattr(base, "__pydantic_generic_metadata__", None)
            if metadata and metadata["origin"] is Query:
                answer = get_args(base) or metadata["args"]
                return answer[0]  # type: ignore[no-any-return]
        raise TypeError(f"{cls.__name__} does not say what it is answered with: derive it from Query[Answer]")


class Event(Message):
    """Says that something happened. Named in the past tense. Opaque ids only, nothing personal.

    ``key`` names the field that holds the id of the aggregate it happened to; it becomes the last token of the subject
    and the CloudEvents ``subject``. Readers are tolerant: a field they do not know yet is passed over, so that a change
    within v1 can add one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)
    of_kind: ClassVar[Kind] = "event"
    key: ClassVar[str]

    @property
    def aggregate(self) -> str:
        """The id of the aggregate this happened to."""
        return str(getattr(self, self.key))


class Inbound(Message):
    """What another system publishes to Concord, on ``inbound.v1.<publisher>.<name>``; its owner is who handles it."""

    of_kind: ClassVar[Kind] = "inbound"


class Delivery(Message):
    """What a subscriber receives, on ``notifications.v1.delivery.<subscriber>.<topic>``."""

    of_kind: ClassVar[Kind] = "delivery"


def subject_of(contract: type[Message], key: str, service: str | None = None, *, topic: str = "*") -> str:
    """The NATS subject of a message: ``key`` is the principal, or for an event the id of its aggregate.

    Pass ``"*"`` for the subscription to all of them. Contracts of the owner ``platform`` are heard by every service:
    ``service`` says which one is meant. A delivery to the subscriber ``key`` ends in its ``topic``.
    """
    if contract.wire.kind == "inbound":
        return f"inbound.{MAJOR}.{key}.{contract.wire.name}"
    if contract.wire.kind == "inbound-refused":
        return f"inbound-refused.{MAJOR}.{key}"
    if contract.wire.kind == "delivery":
        return f"{contract.wire.owner}.{MAJOR}.delivery.{key}.{topic}"
    owner = service or ("*" if contract.wire.owner == "platform" else contract.wire.owner)
    return f"{owner}.{MAJOR}.{contract.wire.kind}.{contract.wire.name}.{key}"


def contracts(kind: Kind, owner: str | None = None) -> list[type[Message]]:
    """Every contract of one kind, by owner and name; of one owner when that is given."""
    found = [c for c in REGISTER.values() if c.wire.kind == kind and owner in (None, c.wire.owner)]
    return sorted(found, key=lambda c: (c.wire.owner, c.wire.name))
