"""Organisations: what a register's rows and changes of the public bodies need, and what is asked about them."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import ColumnElement, Engine, Row, Text, cast, func, or_, select

from services.membership import tables
from services.membership.domain.organisation import Organisation
from services.membership.domain.organisation_name import Names, called
from services.membership.store.aggregates import ORGANISATIONS
from services.membership.store.pages import page
from shared.contracts.membership import (
    FindOrganisation,
    ListOrganisations,
    OrganisationMatch,
    OrganisationMatches,
    OrganisationPage,
    OrganisationRow,
    OrganisationStep,
    OrganisationStory,
    OrganisationView,
)
from shared.database import lots
from shared.unit_of_work import Reader, Work


def concerned_by(work: Work, rows: Collection[OrganisationRow]) -> Collection[Organisation]:
    """The organisations that rows of a register name, as themselves or as parents, and all these belong to; locked.

    Whoever closes a circle of parents is among them.
    """
    c = tables.organisations.c
    keys = lots(key.strip() for row in rows for key in (row.key, *row.parents))
    ids = {row.id for lot in keys for row in work.select(select(c.id).where(c.key.in_(lot)))}
    found: dict[str, Organisation] = {}
    while ids:
        loaded = work.load_all(ORGANISATIONS, sorted(ids))
        found |= loaded
        ids = {parent for organisation in loaded.values() for parent in organisation.parents} - found.keys()
    return found.values()


def with_key(work: Work, key: str) -> str | None:
    """The id of the organisation that has a key."""
    found = work.select(select(tables.organisations.c.id).where(tables.organisations.c.key == key))
    return found[0].id if found else None


def organisation_page(reader: Reader, query: ListOrganisations) -> OrganisationPage:
    """Organisations by key."""
    c = tables.organisations.c
    statement = select(tables.organisations)
    for column, wanted in ((c.type, query.type), (c.nation, query.nation), (c.region, query.region)):
        if wanted is not None:
            statement = statement.where(column == wanted)
    if query.parent is not None:
        statement = statement.where(_names(c.parents, query.parent))
    if query.with_unknown_parents:
        statement = statement.where(cast(c.unknown_parents, Text) != "[]")
    if query.without_network:
        homes = select(tables.networks.c.organisation).where(tables.networks.c.organisation.is_not(None))
        statement = statement.where(c.closed_at.is_(None), c.id.not_in(homes))
    rows, total, more = page(reader, statement, c.key, query.after, query.limit)
    views = tuple(_organisation_view(row) for row in rows)
    return OrganisationPage(organisations=views, total=total, next=views[-1].key if more else None)


def organisations_called(reader: Reader, query: FindOrganisation) -> OrganisationMatches:
    """Organisations that the words fit exactly, upper and lower case alike, the surest match first."""
    c, words = tables.organisations.c, query.words.casefold()
    lowered = query.words.lower()
    fits = or_(
        c.key == words,
        c.name == query.words,
        func.lower(c.name) == lowered,
        c.abbreviation == query.words,
        func.lower(c.abbreviation) == lowered,
        _names(c.supersedes, words),
    )
    matches = []
    for view in map(_organisation_view, reader.select(select(tables.organisations).where(fits).order_by(c.key))):
        if view.key == words:
            matches.append(OrganisationMatch(by="key", organisation=view))
        elif view.name.casefold() == words:
            matches.append(OrganisationMatch(by="name", organisation=view))
        elif (view.abbreviation or "").casefold() == words:
            matches.append(OrganisationMatch(by="abbreviation", organisation=view))
        elif words in view.supersedes:
            matches.append(OrganisationMatch(by="former-key", organisation=view))
    surest_first = ("key", "name", "abbreviation", "former-key")
    return OrganisationMatches(matches=tuple(sorted(matches, key=lambda match: surest_first.index(match.by))))


class Register(NamedTuple):
    """All organisations by id, and everything they are called."""

    version: int
    organisations: Mapping[str, Organisation]
    names: Names


_registers: WeakKeyDictionary[Engine, Register] = WeakKeyDictionary()


def register(reader: Reader) -> Register:
    """Every organisation there is; read and laid out anew (a second for 26,000) only after one has changed."""
    c, engine = tables.organisations.c, reader.connection.engine
    # None is ever deleted, and each change moves a sequence on: the sum is never twice the same.
    version = int(reader.select(select(func.coalesce(func.sum(c.sequence), 0)))[0][0])
    if (kept := _registers.get(engine)) is not None and kept.version == version:
        return kept
    rows = reader.select(select(tables.organisations).order_by(c.key))
    known = {row.id: Organisation.model_validate(row._mapping) for row in rows}
    _registers[engine] = Register(version, known, Names(called(known.values())))
    return _registers[engine]


def organisation_story(reader: Reader, organisation: str) -> OrganisationStory | None:
    """One organisation with all that came before and after it, however many changes away."""
    found = reader.load(ORGANISATIONS, organisation)
    if found is None:
        return None
    networks = tables.networks.c
    at_home = reader.select(select(networks.id).where(networks.organisation == organisation).order_by(networks.id))
    return OrganisationStory(
        organisation=OrganisationView.model_validate(found.model_dump()),
        predecessors=_steps(reader, found, lambda one: one.predecessors),
        successors=_steps(reader, found, lambda one: one.successors),
        networks=tuple(row.id for row in at_home),
    )


def _steps(
    reader: Reader, start: Organisation, way: Callable[[Organisation], Collection[str]]
) -> tuple[OrganisationStep, ...]:
    steps: list[OrganisationStep] = []
    seen, next_, count = {start.id}, set(way(start)), 0
    while next_ := next_ - seen:
        count += 1
        reached = reader.load_all(ORGANISATIONS, sorted(next_))
        seen |= next_
        for one in sorted(reached.values(), key=lambda one: one.key):
            steps.append(OrganisationStep(steps=count, name=one.name, key=one.key, closed_at=one.closed_at, id=one.id))
        next_ = {id_ for one in reached.values() for id_ in way(one)}
    return tuple(steps)


def _names(column: ColumnElement[Any], key: str) -> ColumnElement[bool]:
    # A list of keys or ids lies in its column as JSON, where each stands between quotation marks.
    return cast(column, Text).contains(f'"{key}"', autoescape=True)


def _organisation_view(row: Row[Any]) -> OrganisationView:
    return OrganisationView.model_validate(row._mapping)
