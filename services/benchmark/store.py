"""Which state lies in which table, and the named reads that decisions and queries need."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Select, and_, func, or_, select

from services.benchmark import tables
from services.benchmark.domain import instrument, round, stewardship
from services.benchmark.domain.disclosure import Earlier, Figure, Place, Release, values_by_measure
from services.benchmark.domain.instrument import Instrument
from services.benchmark.domain.organisation import Organisation, Row
from services.benchmark.domain.round import Round
from services.benchmark.domain.scores import Submission
from services.benchmark.domain.stewardship import Steward
from shared.contracts.benchmark import Grouping, ListRounds
from shared.database import lots
from shared.tasks import TASKS
from shared.unit_of_work import Aggregate, Reader, Work

INSTRUMENTS = Aggregate(Instrument, tables.instruments, instrument.evolve)
ROUNDS = Aggregate(Round, tables.rounds, round.evolve)
SUBMISSIONS = Aggregate(Submission, tables.submissions)
RELEASES = Aggregate(Release, tables.releases, parts={"figures": tables.figures})
STEWARDS = Aggregate(Steward, tables.stewards, stewardship.evolve)
ORGANISATIONS = Aggregate(Organisation, tables.organisations)

# For decisions ------------------------------------------------------------------------------------------------------


def instrument_called(work: Work, name: str, version: str) -> Instrument | None:
    """The instrument of that name and version."""
    table = tables.instruments
    ids = work.select(select(table.c.id).where(table.c.name == name, table.c.version == version))
    return work.load(INSTRUMENTS, ids[0].id) if ids else None


def round_called(work: Work, instrument_name: str, label: str) -> Round | None:
    """The round of that instrument, in any version, with that label."""
    table = tables.rounds
    ids = work.select(select(table.c.id).where(table.c.instrument_name == instrument_name, table.c.label == label))
    return work.load(ROUNDS, ids[0].id) if ids else None


def submission_of(work: Work | Reader, round_: str, organisation: str) -> Submission | None:
    """What an organisation handed in, in one round, or the row of the survey file it is known to be."""
    table = tables.submissions
    ids = work.select(select(table.c.id).where(table.c.round == round_, table.c.organisation == organisation))
    return work.load(SUBMISSIONS, ids[0].id) if ids else None


def steward_called(work: Work | Reader, principal: str) -> Steward | None:
    """The data steward that a principal is."""
    table = tables.stewards
    ids = work.select(select(table.c.id).where(table.c.principal == principal))
    return work.load(STEWARDS, ids[0].id) if ids else None


def submissions(work: Work | Reader, round_: str) -> list[Submission]:
    """Everything handed in, in one round."""
    table = tables.submissions
    ids = [row.id for row in work.select(select(table.c.id).where(table.c.round == round_).order_by(table.c.id))]
    return list(work.load_all(SUBMISSIONS, ids).values())


def organisations_called(work: Work, plain_names: Iterable[str]) -> list[Organisation]:
    """The organisations whose plain name is one of these, and those whose plain name is not kept."""
    c = tables.organisations.c
    not_kept = c.plain_name_of.is_distinct_from(c.name)
    found = list(work.select(select(tables.organisations).where(not_kept)))
    for lot in lots(plain_names):
        found += work.select(select(tables.organisations).where(c.plain_name.in_(lot), ~not_kept).order_by(c.id))
    return [Organisation.model_validate(row._mapping) for row in found]


def rows(work: Work | Reader, round_: str) -> list[Row]:
    """Who handed in, in one round, by respondent."""
    table = tables.submissions
    statement = select(table.c.id, table.c.respondent, table.c.name, table.c.organisation)
    found = work.select(statement.where(table.c.round == round_).order_by(table.c.respondent))
    return [Row.model_validate(row._mapping) for row in found]


def rounds_with_unlinked_rows(work: Work) -> list[str]:
    """The rounds in which a row is not known to be any organisation."""
    table = tables.submissions
    found = work.select(select(table.c.round).where(table.c.organisation.is_(None)).distinct().order_by(table.c.round))
    return [row.round for row in found]


def lock_rounds_beside(work: Work, round_: str) -> None:
    """Lets no other round of the same instrument be released meanwhile: the gate looks at all earlier releases."""
    table = tables.rounds
    name = select(table.c.instrument_name).where(table.c.id == round_).scalar_subquery()
    work.load_all(ROUNDS, [row.id for row in work.select(select(table.c.id).where(table.c.instrument_name == name))])


def in_hand(work: Work, task: str, key: str) -> bool:
    """Whether a task of that name and key is still to be done, or its outcome to be handled."""
    return bool(work.select(select(TASKS.c.id).where(TASKS.c.name == task, TASKS.c.key == key)))


def releases(work: Work, instrument_name: str) -> tuple[str, ...]:
    """The ids of every release of an instrument so far, the oldest first."""
    return tuple(row.release for row in work.select(_releases(instrument_name)))


def earlier_releases(reader: Reader, instrument_name: str) -> list[Earlier]:
    """Every release of an instrument so far, with the scores it was made from, the oldest first."""
    found = reader.select(_releases(instrument_name))
    made = reader.load_all(RELEASES, [row.release for row in found])
    of = reader.load_all(INSTRUMENTS, {row.instrument for row in found})
    return [
        Earlier(made[row.release], values_by_measure(of[row.instrument].measures, submissions(reader, row.id)))
        for row in found
    ]


def _releases(instrument_name: str) -> Select[Any]:
    rounds, releases = tables.rounds, tables.releases
    return (
        select(rounds.c.id, rounds.c.instrument, releases.c.id.label("release"))
        .join_from(rounds, releases, releases.c.round == rounds.c.id)
        .where(rounds.c.instrument_name == instrument_name)
        .order_by(releases.c.id)
    )


# For queries --------------------------------------------------------------------------------------------------------


def page_of_rounds(reader: Reader, query: ListRounds) -> tuple[list[Round], int]:
    """A page of rounds and how many there are, the latest first; one more than asked for if there are more."""
    table = tables.rounds
    wanted = [
        column == value
        for column, value in ((table.c.instrument_name, query.instrument_name), (table.c.label, query.label))
        if value is not None
    ]
    total = reader.select(select(func.count()).select_from(table).where(*wanted))[0][0]
    if query.after is not None:
        wanted.append(table.c.id < query.after)
    ids = reader.select(select(table.c.id).where(*wanted).order_by(table.c.id.desc()).limit(query.limit + 1))
    found = reader.load_all(ROUNDS, [row.id for row in ids])
    return [found[row.id] for row in ids], total


def figures_of_measure(reader: Reader, release: str | None, measure: str, by: Grouping) -> list[Figure]:
    """The figures of one measure by one grouping, by group."""
    table = tables.figures
    found = reader.select(
        select(table)
        .where(table.c.owner == release, table.c.measure == measure, table.c.by == by)
        .order_by(table.c.group)
    )
    return [Figure.model_validate(row._mapping) for row in found]


def figures_around(reader: Reader, release: str | None, place: Place) -> dict[tuple[str, Grouping], Figure]:
    """The figures an organisation is compared with, by measure and grouping: all, and its own type and region."""
    table = tables.figures
    peers = [
        and_(table.c.by == by, table.c.group == group)
        for by, group in (("type", place.type), ("region", place.region))
        if group is not None
    ]
    found = reader.select(select(table).where(table.c.owner == release, or_(table.c.by == "all", *peers)))
    figures: Sequence[Figure] = [Figure.model_validate(row._mapping) for row in found]
    return {(figure.measure, figure.by): figure for figure in figures}


def place_at_release(reader: Reader, release: str | None, respondent: str) -> Place:
    """In which peer groups a respondent stood when the figures were made."""
    found = reader.select(select(tables.releases.c.places).where(tables.releases.c.id == release))
    return Place.model_validate(found[0].places[respondent])
