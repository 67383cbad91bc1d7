"""Whether the contracts of today only add to those of the last release: what breaks somebody, in sentences.

Within a major version a reader of yesterday must understand what is written today, and a writer of yesterday must be
understood today. So each message is compared in the directions it travels: what Concord *reads* (commands, queries,
inbound messages, events) must still take all it took; what it *writes* (events, deliveries, answers, replies) must
still be what it was, except that readers pass over fields they do not know. An event is both: it lies in a stream.

The comparison is cautious: what it cannot show to be an addition, it calls a break.
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from deploy import schemas
from deploy.schemas import Schema
from shared.contracts.message import MAJOR
from shared.contracts.platform import Reply

RELEASED = schemas.DIRECTORY / "released" / f"{MAJOR}.json"
READ = ("command", "query", "inbound", "event")
WRITTEN = ("event", "delivery", "inbound-refused")
REFERENCE = "x-came-from"  # left behind where a reference was followed
ANNOTATIONS = {
    REFERENCE,
    "$schema",
    "$id",
    "$anchor",
    "$defs",
    "title",
    "description",
    "default",
    "examples",
    "discriminator",
}
COMPARED = {
    "type", "enum", "const", "anyOf", "oneOf", "properties", "required", "additionalProperties", "patternProperties",
    "items", "prefixItems", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum",
    "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
}  # fmt: skip
LENGTHS = (("minLength", "maxLength"), ("minItems", "maxItems"), ("minProperties", "maxProperties"))
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}

Snapshot = dict[str, Any]
"""Contract → ``kind``, ``roles``, and the schema of what is ``read`` and of what is ``written``, or null."""


def snapshot() -> Snapshot:
    """The contracts of today as a release would keep them."""
    kept: Snapshot = {
        "cloudevent": _entry("envelope", read=schemas.envelope_schema()),
        "reply": _entry("reply", written=TypeAdapter(Reply).json_schema(mode="serialization")),
    }
    for contract in schemas.all_contracts():
        data = schemas.data_schema(contract)
        kept[contract.wire.type] = _entry(
            contract.wire.kind,
            roles=getattr(contract, "roles", ()),
            read=data if contract.wire.kind in READ else None,
            written=data if contract.wire.kind in WRITTEN else schemas.answer_schema(contract),
        )
    return kept


def _entry(
    kind: str, roles: tuple[str, ...] = (), read: Schema | None = None, written: Schema | None = None
) -> dict[str, Any]:
    return {"kind": kind, "roles": list(roles), "read": read, "written": written}


def released(file: Path = RELEASED) -> Snapshot:
    """The contracts of the last release."""
    return dict(json.loads(file.read_text(encoding="utf-8")))


def release(file: Path = RELEASED) -> None:
    """Makes the contracts of today those of the last release."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(snapshot(), indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def unguarded(old: Snapshot, new: Snapshot) -> list[str]:
    """What ``old`` does not say as it is now: until it does, nobody would notice that it is taken away again."""
    return sorted(name for name, entry in new.items() if json.loads(json.dumps(entry)) != old.get(name))


def breaks(old: Snapshot, new: Snapshot) -> list[str]:
    """What in ``new`` breaks those who rely on ``old``, a sentence each; empty where everything was only added to."""
    found = []
    for name, before in sorted(old.items()):
        after = new.get(name)
        if after is None:
            found.append(f"{name} is gone.")
            continue
        if before["kind"] != after["kind"]:
            found.append(f"{name} was of the kind {before['kind']}, and is {after['kind']}.")
        if lost := sorted(set(before["roles"]) - set(after["roles"])):
            found.append(f"{name} may no longer be sent by {' and '.join(lost)}.")
        for direction in ("read", "written"):
            found += [f"{name}, {problem}" for problem in _changes(before[direction], after[direction], direction)]
    return list(dict.fromkeys(found))


def _changes(old: Schema | None, new: Schema | None, direction: str) -> list[str]:
    if old is None:
        return []
    if new is None:
        return [f"as {direction}: it was there, and is gone."]
    if direction == "read":
        found = Comparison(old, new, old_is="given").misfits()
    else:
        turned = Comparison(new, old, old_is="taken").misfits()
        found = [(where, what, was, now) for where, what, now, was in turned]
    return [
        f"as {direction}: {where}: {what} was {_short(was)}, and is {_short(now)}." for where, what, was, now in found
    ]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:119] + "…"


Misfit = tuple[str, str, Any, Any]
"""Where, what about it, as given, as taken."""
Seen = frozenset[tuple[str, str]]
"""Models being compared, by their references in ``given`` and ``taken``."""


@dataclass(frozen=True)
class Comparison:
    """Looks for a value that the schema ``given`` allows and the schema ``taken`` does not."""

    given: Schema
    taken: Schema
    old_is: Literal["given", "taken"]

    def misfits(self) -> list[Misfit]:
        return self._compare(self.given, self.taken, "")

    def _compare(self, given: Schema, taken: Schema, path: str, seen: Seen = frozenset()) -> list[Misfit]:
        found: list[Misfit] = []
        for this in _alternatives(given, self.given):
            tries = (self._plain(this, that, path, seen) for that in _alternatives(taken, self.taken))
            found += sorted(tries, key=len)[0]  # told against the alternative that comes closest
        return found

    def _plain(  # noqa: PLR0911  each return is one kind of schema
        self, given: Schema, taken: Schema, path: str, seen: Seen
    ) -> list[Misfit]:
        where = path or "the message"
        if REFERENCE in given and REFERENCE in taken:
            if (pair := (given[REFERENCE], taken[REFERENCE])) in seen:
                return []  # a model within itself: being compared further up
            seen |= {pair}
        if not taken.keys() - ANNOTATIONS:
            return []
        wanted, choices = _choices(taken), _choices(given)
        if choices is not None:
            if wanted is not None:
                return [] if _within(choices, wanted) else [(where, "the choice", choices, wanted)]
            return [m for choice in choices for m in self._plain(_exactly(choice, taken), taken, path, seen)]
        if wanted is not None:
            return [(where, "the choice", given.get("type", "anything"), wanted)]
        kind, kind_taken = given.get("type", "anything"), taken.get("type", "anything")
        if kind_taken not in ("anything", kind) and (kind, kind_taken) != ("integer", "number"):
            return [(where, "the type", kind, kind_taken)]
        found = [(where, *limit) for limit in _tighter(given, taken)]
        for keyword in sorted(taken.keys() - ANNOTATIONS - COMPARED):
            if given.get(keyword) != taken[keyword]:
                found.append((where, keyword, given.get(keyword), taken[keyword]))
        return found + self._fields(given, taken, path, seen) + self._entries(given, taken, path, seen)

    def _fields(self, given: Schema, taken: Schema, path: str, seen: Seen) -> list[Misfit]:
        theirs, ours = given.get("properties", {}), taken.get("properties", {})
        found: list[Misfit] = []
        if self.old_is == "given":
            found += [(_join(path, name), "the field", "there", "gone") for name in theirs.keys() - ours.keys()]
        else:
            found += [(_join(path, name), "the field", "gone", "there") for name in ours.keys() - theirs.keys()]
        for name in set(taken.get("required", ())) - set(given.get("required", ())):
            if name in theirs:
                found.append((_join(path, name), "the field", "optional", "required"))
            elif self.old_is == "given":
                found.append((_join(path, name), "the field", "unknown", "required"))
        for name in theirs.keys() & ours.keys():
            found += self._compare(theirs[name], ours[name], _join(path, name), seen)
        found += self._mappings(given, taken, path, seen)
        return sorted(found, key=lambda misfit: misfit[:2])

    def _mappings(self, given: Schema, taken: Schema, path: str, seen: Seen) -> list[Misfit]:
        """A ``dict`` has its part in ``additionalProperties``, names of one form in ``patternProperties``."""
        theirs, ours = given.get("properties", {}), taken.get("properties", {})
        part, place = _part(given), _part(taken)
        patterns, slots = given.get("patternProperties", {}), taken.get("patternProperties", {})
        where = _join(path, "*")
        pairs = [(patterns[form], slots[form], where) for form in patterns.keys() & slots.keys()]
        found: list[Misfit] = []
        if patterns.keys() != slots.keys():
            found.append((where, "the form of names", sorted(patterns), sorted(slots)))
        if part is not None:
            if place is None and taken.get("additionalProperties") is False:
                found.append((where, "any other field", "taken", "refused"))
            pairs += [(part, ours[name], _join(path, name)) for name in ours.keys() - theirs.keys()]
        if place is not None:
            pairs += [(part, place, where)] if part is not None else []
            pairs += [(theirs[name], place, _join(path, name)) for name in theirs.keys() - ours.keys()]
        return found + [misfit for these, those, at in pairs for misfit in self._compare(these, those, at, seen)]

    def _entries(self, given: Schema, taken: Schema, path: str, seen: Seen) -> list[Misfit]:
        firsts, places = given.get("prefixItems", []), taken.get("prefixItems", [])
        if len(firsts) != len(places):
            return [(_join(path, "*"), "the number of entries", len(firsts), len(places))]
        pairs = [(first, place, str(i)) for i, (first, place) in enumerate(zip(firsts, places, strict=True))]
        if "items" in taken:
            pairs.append((given.get("items", {}), taken["items"], "*"))
        return [misfit for a, b, name in pairs for misfit in self._compare(a, b, _join(path, name), seen)]


def _part(schema: Schema) -> Schema | None:
    """What a mapping may hold under any name; ``None`` for a model, which has fields of its own."""
    extra = schema.get("additionalProperties")
    if extra is True:
        return {}
    return extra if isinstance(extra, dict) else None


def _alternatives(schema: Schema, root: Schema) -> list[Schema]:
    """A schema without references as the list of plain ones it chooses from."""
    reference = schema.get("$ref")
    if reference is not None:
        rest = {name: part for name, part in schema.items() if name != "$ref"}
        return _alternatives({**_target(reference, root), **rest, REFERENCE: reference}, root)
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            return [plain for part in schema[keyword] for plain in _alternatives(part, root)]
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": kind} for kind in schema["type"]]
    return [schema]


def _target(reference: str, root: Schema) -> Schema:
    if reference == "#":
        return root
    return dict(root["$defs"][reference.removeprefix("#/$defs/")])


def _choices(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    return list(schema["enum"]) if "enum" in schema else None


def _within(choices: list[Any], wanted: list[Any]) -> bool:
    return {json.dumps(choice) for choice in choices} <= {json.dumps(choice) for choice in wanted}


def _exactly(value: Any, taken: Schema) -> Schema:
    """A schema of one value, without naming it, so that it can be held against limits."""
    schema: Schema = {"type": TYPES.get(type(value), "null")}
    if isinstance(value, str):
        schema |= {"minLength": len(value), "maxLength": len(value)}
        if re.search(taken.get("pattern", ""), value):
            schema["pattern"] = taken.get("pattern")
    elif isinstance(value, int | float):
        schema |= {"minimum": value, "maximum": value}
    return schema


def _tighter(given: Schema, taken: Schema) -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = []
    if (low := _least(given)) < (low_taken := _least(taken)):
        found.append(("the least", _bound(low[0], low[1]), _bound(low_taken[0], low_taken[1])))
    if (high := _most(given)) > (high_taken := _most(taken)):
        found.append(("the most", _bound(high[0], not high[1]), _bound(high_taken[0], not high_taken[1])))
    for shortest, longest in LENGTHS:
        if given.get(shortest, 0) < taken.get(shortest, 0):
            found.append((shortest, given.get(shortest, 0), taken[shortest]))
        if given.get(longest, math.inf) > taken.get(longest, math.inf):
            found.append((longest, given.get(longest, "without limit"), taken[longest]))
    return found


def _least(schema: Schema) -> tuple[float, bool]:
    """The lower limit, and whether it is excluded: the larger pair is the tighter one."""
    return max((schema.get("minimum", -math.inf), False), (schema.get("exclusiveMinimum", -math.inf), True))


def _most(schema: Schema) -> tuple[float, bool]:
    """The upper limit, and whether it is included: the smaller pair is the tighter one."""
    return min((schema.get("maximum", math.inf), True), (schema.get("exclusiveMaximum", math.inf), False))


def _bound(limit: float, excluded: bool) -> str:
    return "without limit" if math.isinf(limit) else f"{limit:g}{' excluded' if excluded else ''}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
