"""Taking in a register of organisations: all of it or nothing, and a second time without effect."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any, Final, TypeVar, get_args

from services.membership.domain.organisation import Organisation, changed, misplaced, renamed, stated
from shared.contracts.membership import (
    ImportOrganisations,
    Nation,
    OrganisationChanged,
    OrganisationRegistered,
    OrganisationRow,
    OrganisationType,
    Region,
    nation_of,
)
from shared.refusal import Refusal

MAX_LENGTH = 200
"""Characters of a key, a name, an abbreviation or a place."""
MAX_PROBLEMS_TOLD = 1_000
"""Of a file with more problems the rest are counted: the refusal has to fit in one message."""
LATITUDES = (49.0, 61.5)
LONGITUDES = (-9.0, 2.5)

TYPE_OF_FORMAT: Final[Mapping[str, OrganisationType]] = {
    "Ministerial department": "ministerial-department",
    "Non-ministerial department": "non-ministerial-department",
    "Executive agency": "executive-agency",
    "Executive non-departmental public body": "executive-non-departmental-public-body",
    "Advisory non-departmental public body": "advisory-non-departmental-public-body",
    "Devolved government": "devolved-government",
    "Special health authority": "nhs-body",
    # A part of a department, a court or a broadcaster is none of the kinds the network has a word for.
    "Ad-hoc advisory group": "other-public-body",
    "Civil service": "other-public-body",
    "Court": "other-public-body",
    "Executive office": "other-public-body",
    "Independent monitoring body": "other-public-body",
    "Other": "other-public-body",
    "Public corporation": "other-public-body",
    "Sub organisation": "other-public-body",
    "Tribunal": "other-public-body",
}
"""The formats of the GOV.UK register (its organisations API, 2026) and the type of ours that each one is."""

TYPE_OF_AUTHORITY: Final[Mapping[str, OrganisationType]] = {
    # A combined authority is made of councils, and is nearer to them than to anything else there is a word for.
    "City corporation": "council",
    "Combined authority": "council",
    "County": "council",
    "London borough": "council",
    "Metropolitan district": "council",
    "NI district": "council",
    "Non-metropolitan district": "council",
    "Scottish unitary authority": "council",
    "Strategic Regional Authority": "council",
    "Unitary authority": "council",
    "Welsh unitary authority": "council",
}
"""The same of local authorities, as mySociety lists them (2025)."""

TYPE_OF_TRUST: Final[Mapping[str, OrganisationType]] = {
    "Acute and Acute & Community Trusts": "nhs-body",
    "Acute Specialist Trusts": "nhs-body",
    "Ambulance Trusts": "nhs-body",
    "Community Trusts": "nhs-body",
    "Mental Health & Learning Disability and Mental Health, Learning Disability & Community Trusts": "nhs-body",
    "Online / Digital": "nhs-body",
}
"""The same of NHS trusts (2026)."""

TYPE_OF_BOARD: Final[Mapping[str, OrganisationType]] = {"Integrated care board": "nhs-body"}
"""The same of the boards that plan the NHS in an area (2026)."""

_FORMATS: Final = {**TYPE_OF_FORMAT, **TYPE_OF_AUTHORITY, **TYPE_OF_TRUST, **TYPE_OF_BOARD}

_TYPES: Final[Mapping[str, OrganisationType]] = {
    **{form.casefold(): kind for form, kind in _FORMATS.items()},
    **{kind: kind for kind in get_args(OrganisationType)},
}
_NATIONS: Final[Mapping[str, Nation]] = {nation.casefold(): nation for nation in get_args(Nation)}
_REGIONS: Final[Mapping[str, Region]] = {region.casefold(): region for region in get_args(Region)}
_has_form_of_key = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*").fullmatch
_KEY_IS = f"a key is lower-case words and figures joined by hyphens, at most {MAX_LENGTH} characters (hm-treasury)"
_WHEREABOUTS = ("nation", "region", "place", "latitude", "longitude")
_NOT_IN_A_ROW = ("former_names", "listed_name", "predecessors", "successors", "closed_at")

T = TypeVar("T")


@dataclass(frozen=True)
class Intake:
    """What an import comes to: one event for each organisation that is new or different, parents before children."""

    events: Sequence[OrganisationRegistered]
    unchanged: int

    @property
    def counts(self) -> dict[str, int]:
        """How many organisations were registered, changed, and left as they were."""
        changed = sum(isinstance(event, OrganisationChanged) for event in self.events)
        return {"registered": len(self.events) - changed, "changed": changed, "unchanged": self.unchanged}


def take_in(command: ImportOrganisations, known: Iterable[Organisation], new_ids: Sequence[str]) -> Intake | Refusal:
    """Compares the rows with what is ``known``: at least every organisation they name, and all that these belong to.

    ``new_ids`` holds one unused id for each row.

    A key that is named as a parent and that nobody has is kept as unknown, since registers name former bodies too; it
    is found when a later import names it again after its organisation has come. A row that states no place leaves
    what is known of the place; everything else is as the row says.
    """
    before = {organisation.key: organisation for organisation in known}
    reading = _Reading(command, before, new_ids)
    if reading.problems:
        return _refused(reading.problems, len(command.rows))
    found = [_event(before.get(key), reading.organisations[key]) for key in reading.parents_first]
    events = [event for event in found if event is not None]
    return Intake(events=events, unchanged=len(found) - len(events))


def _event(before: Organisation | None, now: Organisation) -> OrganisationRegistered | None:
    if before is None:
        return OrganisationRegistered(**stated(now))
    return next(iter(changed(before, now)), None)


def _after(before: Organisation, listed: Organisation) -> Organisation:
    """What is known of an organisation once its register lists it so.

    A register does not undo a renaming of ours by saying again what it said before, and opens nothing that is closed.
    """
    kept = {name: getattr(before, name) for name in _NOT_IN_A_ROW}
    if listed.name == (before.listed_name or before.name):
        return listed.model_copy(update={**kept, "name": before.name})
    named = renamed(before, listed.name)
    return listed.model_copy(update={**kept, "former_names": named.former_names, "listed_name": None})


def _refused(problems: Sequence[Refusal], rows: int) -> Refusal:
    told = sorted(problems, key=lambda problem: problem.data["row"])[:MAX_PROBLEMS_TOLD]
    concerned = len({problem.data["row"] for problem in problems})
    return Refusal(
        code="organisations-not-imported",
        sentence=f"Nothing was taken in: {concerned} of {rows} rows have a problem, {len(problems)} in all. "
        f"The first: {told[0].sentence}",
        field=told[0].field,
        data={
            "rows": rows,
            "rows_with_problems": concerned,
            "problem_count": len(problems),
            "by_code": dict(sorted(Counter(problem.code for problem in problems).items())),
            "problems": [problem.model_dump() for problem in told],
        },
    )


class _Reading:
    """The rows as organisations by key, and everything that is wrong with them."""

    def __init__(
        self, command: ImportOrganisations, before: Mapping[str, Organisation], new_ids: Sequence[str]
    ) -> None:
        self.rows = command.rows
        self.register = command.register_name
        self.before = before
        self.problems: list[Refusal] = []
        self.organisations: dict[str, Organisation] = {}
        self._row_of: dict[str, int] = {}
        for number, row in enumerate(self.rows):
            self._take_key(number, row.key.strip())
        # Parents are looked up only now, since they may come later in the file than their children.
        self._ids = {key: organisation.id for key, organisation in before.items()}
        self._ids |= {key: new_ids[number] for key, number in self._row_of.items() if key not in before}
        for number, row in enumerate(self.rows):
            self._take_row(number, row)
        self.parents_first = self._in_order()

    def _problem(self, number: int, field: str, code: str, what: str) -> None:
        row = self.rows[number]
        named = f" ({row.key.strip()})" if _is_key(row.key.strip()) else ""
        self.problems.append(
            Refusal(
                code=code,
                sentence=f"{self._place(number)}{named} {what}.",
                field=f"rows.{number}.{field}",
                data={"row": number + 1, "line": row.line},
            )
        )

    def _place(self, number: int) -> str:
        line = self.rows[number].line
        return f"Row {number + 1}" if line is None else f"Line {line}"

    def _take_key(self, number: int, key: str) -> None:
        if not key:
            self._problem(number, "key", "key-missing", f"has no key; {_KEY_IS}")
        elif not _is_key(key):
            self._problem(number, "key", "key-malformed", f"has the key {_shown(key)}; {_KEY_IS}")
        elif key in self._row_of:
            first = self._place(self._row_of[key]).lower()
            self._problem(number, "key", "key-twice", f"has the key of {first}; a body has one row")
        else:
            self._row_of[key] = number
            other = self.before[key].register_name if key in self.before else None
            if other not in (None, self.register):
                what = f"is a body of the register {other}; an import from {other} alone may change it"
                self._problem(number, "key", "key-of-another-register", what)

    def _take_row(self, number: int, row: OrganisationRow) -> None:
        key = row.key.strip()
        if not row.name.strip():
            self._problem(number, "name", "name-missing", "has no name")
        name = self._line(number, "name", row.name)
        abbreviation = self._line(number, "abbreviation", row.abbreviation)
        kind = self._one_of(number, "format", row.format, _TYPES, [*_FORMATS, *get_args(OrganisationType)])
        if not row.format.strip():
            self._problem(number, "format", "format-missing", "has no format; give what kind of body it is")
        parents = self._keys(number, "parents", row.parents)
        supersedes = self._keys(number, "supersedes", row.supersedes)
        whereabouts = self._whereabouts(number, row)
        if not (name and kind and self._row_of.get(key) == number):
            return
        before = self.before.get(key)
        other_names = tuple(filter(None, (self._line(number, "other_names", each) for each in row.other_names)))
        organisation = Organisation(
            id=self._ids[key],
            key=key,
            name=name,
            type=kind,
            format=row.format.strip(),
            abbreviation=abbreviation,
            parents=tuple(self._ids[parent] for parent in parents if parent in self._ids),
            unknown_parents=tuple(parent for parent in parents if parent not in self._ids),
            supersedes=supersedes,
            register_name=self.register,
            other_names=tuple(dict.fromkeys(other_names)) or getattr(before, "other_names", ()),
            **(whereabouts or {name: getattr(before, name, None) for name in _WHEREABOUTS}),
        )
        if before is not None:
            organisation = _after(before, organisation)
        for problem in misplaced(organisation):
            self._problem(number, problem.field or "place", problem.code, f"is misplaced: {problem.sentence[:-1]}")
        self.organisations[key] = organisation

    def _whereabouts(self, number: int, row: OrganisationRow) -> dict[str, Any]:
        region = self._one_of(number, "region", row.region, _REGIONS, get_args(Region))
        nation = self._one_of(number, "nation", row.nation, _NATIONS, get_args(Nation))
        place = self._line(number, "place", row.place)
        for field, degrees, (least, most) in (
            ("latitude", row.latitude, LATITUDES),
            ("longitude", row.longitude, LONGITUDES),
        ):
            if degrees is not None and not least <= degrees <= most:
                what = f"has the {field} {degrees}; in the United Kingdom it lies between {least} and {most}"
                self._problem(number, field, f"{field}-out-of-range", what)
        said = (nation or (nation_of(region) if region else None), region, place, row.latitude, row.longitude)
        return dict(zip(_WHEREABOUTS, said, strict=True)) if any(value is not None for value in said) else {}

    def _line(self, number: int, field: str, text: str) -> str | None:
        text = " ".join(text.split())
        if len(text) > MAX_LENGTH:
            what = f"has {len(text)} characters as its {field}; at most {MAX_LENGTH} are taken"
            self._problem(number, field, f"{field}-too-long", what)
        elif not text.isprintable():
            self._problem(
                number, field, f"{field}-unprintable", f"has a control character in its {field}; leave it out"
            )
        return text or None

    def _one_of(self, number: int, field: str, text: str, known: Mapping[str, T], allowed: Iterable[str]) -> T | None:
        found = known.get(text.strip().casefold())
        if found is None and text.strip():
            what = f"has the {field} {_shown(text.strip())}; allowed are {', '.join(allowed)}"
            self._problem(number, field, f"{field}-unknown", what)
        return found

    def _keys(self, number: int, field: str, keys: Sequence[str]) -> tuple[str, ...]:
        stripped = [key.strip() for key in keys]
        for position, key in enumerate(stripped):
            if not _is_key(key):
                what = f"names {_shown(key)} among its {field}; {_KEY_IS}"
                self._problem(number, f"{field}.{position}", "key-malformed", what)
            elif key == self.rows[number].key.strip():
                self._problem(number, f"{field}.{position}", "names-itself", f"names itself among its {field}")
        return tuple(sorted(set(stripped)))

    def _in_order(self) -> list[str]:
        """The keys of the rows, parents before children; a circle of parents is a problem, told once."""
        everyone = {**self.before, **self.organisations}
        key_of = {organisation.id: key for key, organisation in everyone.items()}
        parents = {
            key: {key_of[parent] for parent in organisation.parents if parent in key_of and key_of[parent] != key}
            for key, organisation in everyone.items()
        }
        while True:
            try:
                return [key for key in TopologicalSorter(parents).static_order() if key in self.organisations]
            except CycleError as error:
                # graphlib lists a circle from parent to child. What was known has none, so a row of ours closes it.
                circle: list[str] = error.args[1]
                parent, child = next(pair for pair in pairwise(circle) if pair[1] in self.organisations)
                parents[child].remove(parent)
                shown = " belongs to ".join(reversed(circle))
                what = f"closes a circle: {shown}; a body cannot belong to itself"
                self._problem(self._row_of[child], "parents", "parents-in-a-circle", what)


def _is_key(text: str) -> bool:
    return len(text) <= MAX_LENGTH and _has_form_of_key(text) is not None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
