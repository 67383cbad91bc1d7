"""How a notice is worded, and the lint that keeps it thin: no reason, no figure, nothing that somebody wrote freely.

A template is a sentence with the names of facts in braces. A fact is a field of the event message, or of what is kept
of the thing it happened to. The lint looks at what a field is declared as, so that a new field is refused until it is
plainly harmless.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from string import Formatter
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AwareDatetime, BaseModel

from services.notifications.domain.known import Meeting
from shared.contracts import benchmark, events, membership
from shared.refusal import Refusal

MAX_LENGTH = 200  # of a template: room for one sentence

NETWORK_FACTS = frozenset({"network", "umbrella"})
"""Ids of networks, which are worded as the network's registered name."""

NAMING_FACTS = frozenset(
    {
        (membership.NetworkRegistered, "name"),
        (membership.MemberNetworkAdmitted, "name"),
        (events.MeetingBooked, "place"),
        (Meeting, "place"),
        (benchmark.RoundOpened, "instrument_name"),
        (benchmark.RoundOpened, "label"),
        (benchmark.RoundReleased, "instrument_name"),
        (benchmark.RoundReleased, "label"),
    }
)
"""Text that may be told because it names a registered thing: a network, a town, an instrument, a round."""

UNKNOWN_NETWORK = "a network"

_NAMES = frozenset(fact for _, fact in NAMING_FACTS)


def lint(template: str, sources: Iterable[type[BaseModel]]) -> list[Refusal]:
    """Why a template must not be used; nothing if it may. ``sources`` are the models its facts come from."""
    declared = {fact: (source, field.annotation) for source in sources for fact, field in source.model_fields.items()}
    problems = []
    for _, fact, format_spec, conversion in Formatter().parse(template):
        if fact is None:
            continue
        if format_spec or conversion or not fact.isidentifier():
            problems.append(_refused(fact, "is not the plain name of a fact"))
        elif fact not in declared:
            problems.append(_refused(fact, f"is not known; there are {', '.join(sorted(declared))}"))
        elif why := _why_sensitive(fact, *declared[fact]):
            problems.append(_refused(fact, why))
    if any(character.isdigit() for character in template):
        problems.append(Refusal(code="figure-in-template", sentence="The template holds a figure; notices carry none."))
    if len(template) > MAX_LENGTH:
        problems.append(
            Refusal(
                code="template-too-long",
                sentence=f"The template has {len(template)} characters; a notice is one sentence of {MAX_LENGTH}.",
            )
        )
    return problems


def word(template: str, facts: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """The sentence of a notice. ``names`` are those of the networks its facts may speak of."""
    named = {fact for _, fact, _, _ in Formatter().parse(template) if fact is not None}
    worded = template.format_map({fact: _said(fact, facts[fact], names) for fact in named})
    return f"A{worded[1:]}" if worded.startswith(UNKNOWN_NETWORK) else worded


def day(moment: date) -> str:
    """A day in words."""
    return f"{moment.day} {moment:%B %Y}"


def _said(fact: str, value: Any, names: Mapping[str, str]) -> str:
    if fact in NETWORK_FACTS:
        return names.get(value, UNKNOWN_NETWORK)
    if isinstance(value, datetime):
        utc = value.astimezone(UTC)
        return f"{day(utc)}, {utc:%H:%M} UTC"
    if isinstance(value, date):
        return day(value)
    return str(value) if fact in _NAMES else str(value).replace("-", " ")


def _why_sensitive(fact: str, source: type[BaseModel], annotation: Any) -> str | None:
    """Why a fact stays where it is; ``None`` for a registered name, a moment, a day or a word from a closed list."""
    if fact in NETWORK_FACTS or (source, fact) in NAMING_FACTS:
        return None
    if annotation in _TOLD_AS_THEY_ARE or get_origin(annotation) is Literal:
        return None
    if get_origin(annotation) in (Union, UnionType, Annotated):
        parts = get_args(annotation)[: 1 if get_origin(annotation) is Annotated else None]
        return next((why for part in parts if (why := _why_sensitive(fact, source, part))), None)
    return _REFUSED_TYPES.get(annotation, "holds other things within; a notice carries single facts")


_TOLD_AS_THEY_ARE = (NoneType, date, datetime, AwareDatetime)
_REFUSED_TYPES = {
    int: "is a figure; figures leave through the service that answers for them",
    float: "is a figure; figures leave through the service that answers for them",
    str: "is text or an id; only names of registered things may be told",
    bool: "is a yes or no; say in the template what happened",
}


def _refused(fact: str, why: str) -> Refusal:
    return Refusal(
        code="sensitive-template",
        sentence=f"The template would carry {fact or 'an unnamed fact'}, which {why}; "
        "moments, days, words of a closed list and the names of registered things may be told.",
        field=fact,
    )
