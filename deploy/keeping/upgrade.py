"""What this version of Concord will do to a platform on which another one runs: looked at, nothing is changed."""

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Literal, cast

from pydantic import BaseModel, Field, ValidationError
from sqlalchemy import Connection, Engine, func, select, table, text

from deploy.keeping import steps
from deploy.keeping.backup import Place, level_of
from shared import migration, streams
from shared.contracts.message import REGISTER
from shared.database import reading
from shared.outbox import OUTBOX
from shared.service import Service
from shared.streams import durables, platform_streams

READ = 2000
"""Messages of each store, the latest, that are read with the contracts of this version."""

RESTART = 3.0
"""Seconds a service takes to stop and start again (``docs/measured.md``)."""
ROWS_A_SECOND = 100_000
"""Rows of a changed table that are written anew; a rough figure, and most steps on PostgreSQL write none."""

FIXED = {"storage", "retention", "deliver_policy", "ack_policy", "replay_policy"}
"""Settings of streams and durables that the server will not change."""
ELSEWHERE = {"num_replicas"}
"""Settings that the environment of the services decides on."""

Told = Callable[[str], None]


class StoreOutlook(BaseModel, frozen=True):
    """What will become of one store. ``seconds_away`` is an estimate, for one replica that is stopped and started."""

    service: str
    database: str
    level: str | None
    brings: str
    state: Literal["as it should be", "older", "newer", "not made yet"]
    steps: tuple[str, ...] = Field(description="the migrations before it, in order")
    disturbing: tuple[str, ...] = Field(description="those the version that runs would notice, and what of them")
    rows_changed: int = Field(description="rows in tables that are changed")
    bytes: int
    unreadable: tuple[str, ...] = Field(description="messages this version cannot read, by kind")
    seconds_away: float


class Outlook(BaseModel, frozen=True):
    """What an upgrade will do. ``hindrances`` says in sentences why it cannot be begun; none: it can."""

    ready: bool
    verdict: str
    hindrances: tuple[str, ...]
    one_by_one: bool = Field(description="replicas can be replaced one after another while the others work")
    stores: tuple[StoreOutlook, ...]
    streams: dict[str, str] = Field(description="streams and durables that will be made or changed, and what of them")


async def look(place: Place, told: Told) -> Outlook:
    """Looks at stores, streams and disks."""
    with place.opened() as engines:
        stores = []
        for service, engine in engines.items():
            told(f"Looking at the store of {service}")
            stores.append(await asyncio.to_thread(_store, service, engine))
    told("Looking at the streams")
    async with place.connected() as nc:
        found = await streams.differences(
            nc, platform_streams(), [each for name in place.stores for each in durables(name, _service(name).follows)]
        )
    changes = {what: kept for what, each in found.items() if (kept := _beside(each)) != {}}
    hindrances = [
        *(sentence for store in stores for sentence in _hindrances(store)),
        *(sentence for what, each in changes.items() for sentence in _refused(what, each)),
        *_room(stores, place.directory),
    ]
    return _verdict(stores, hindrances, {what: _said(each) for what, each in changes.items()})


def _service(name: str) -> Service:
    return cast("Service", import_module(f"services.{name}.main").SERVICE)


# ---- stores --------------------------------------------------------------------------------------------------------


def _store(service: str, engine: Engine) -> StoreOutlook:
    level, brings = level_of(engine), migration.newest(service)
    before = [] if level is None else steps.pending(service, level)
    rows, size, unreadable = 0, 0, Counter[str]()
    if level is not None:
        with reading(engine) as connection:
            rows = sum(_count(connection, name) for name in {name for step in before for name in step.tables})
            size = _size(connection)
            unreadable = _unreadable(connection)
    state = "not made yet" if level is None else "as it should be" if level == brings else "older"
    return StoreOutlook(
        service=service,
        database=engine.dialect.name,
        level=level,
        brings=brings,
        state="newer" if level is not None and level > brings else state,
        steps=tuple(step.name for step in before),
        disturbing=tuple(f"{step.name}: {', '.join(step.disturbs)}" for step in before if not step.is_additive),
        rows_changed=rows,
        bytes=size,
        unreadable=tuple(f"{name} ({count})" for name, count in unreadable.items()),
        seconds_away=RESTART + rows / ROWS_A_SECOND,
    )


def _count(connection: Connection, name: str) -> int:
    return connection.scalar(select(func.count()).select_from(table(name))) or 0


def _size(connection: Connection) -> int:
    if connection.dialect.name == "sqlite":
        size = text("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
    else:
        size = text("SELECT pg_database_size(current_database())")
    return connection.scalar(size) or 0


def _unreadable(connection: Connection) -> Counter[str]:
    """What this version's contracts cannot make out of what was said lately."""
    latest = select(OUTBOX.c.payload).order_by(OUTBOX.c.position.desc()).limit(READ)
    found: Counter[str] = Counter()
    for payload in connection.scalars(latest):
        message = json.loads(payload)
        contract = REGISTER.get(message["type"])
        try:
            if contract is None:
                raise ValueError("nobody knows it")
            contract.model_validate(message["data"])
        except (ValueError, ValidationError):
            found[message["type"]] += 1
    return found


def _hindrances(store: StoreOutlook) -> list[str]:
    found = []
    if store.state == "newer":
        found.append(
            f"{store.service}'s store is at level {store.level}, and this version knows {store.brings}: "
            "it is older than the one that runs."
        )
    if store.unreadable:
        found.append(
            f"This version cannot read what {store.service} has said: {', '.join(store.unreadable)}. "
            "Within a major version contracts only grow, so it is not a later one of the same."
        )
    return found


def _room(stores: list[StoreOutlook], directory: Path) -> list[str]:
    """SQLite writes a changed table anew beside the old one, and logs it. PostgreSQL's disk is not seen from here."""
    needed = 2 * sum(store.bytes for store in stores if store.database == "sqlite" and store.steps)
    free = shutil.disk_usage(directory).free
    if free >= needed:
        return []
    return [
        f"{directory} has {free / 1e6:,.0f} MB free, and the steps may need {needed / 1e6:,.0f} MB: make room first."
    ]


# ---- streams -------------------------------------------------------------------------------------------------------

Differences = Mapping[str, tuple[object, object]]


def _beside(found: "streams.Differences | None") -> "Differences | None":
    return None if found is None else {name: each for name, each in found.items() if name not in ELSEWHERE}


def _refused(what: str, found: "Differences | None") -> list[str]:
    return [
        f"The {what} has the {name} {now!r}, this version wants {wanted!r}, and NATS does not change that: see "
        "docs/operating.md on streams that are not as declared."
        for name, (now, wanted) in (found or {}).items()
        if name in FIXED
    ]


def _said(found: "Differences | None") -> str:
    if found is None:
        return "will be made"
    return "; ".join(f"{name} changes from {now!r} to {wanted!r}" for name, (now, wanted) in found.items())


# ---- the verdict ---------------------------------------------------------------------------------------------------


def _verdict(stores: list[StoreOutlook], hindrances: list[str], changes: dict[str, str]) -> Outlook:
    count = sum(len(store.steps) for store in stores)
    disturbing = [f"{store.service} {step}" for store in stores for step in store.disturbing]
    on_postgresql = all(store.database == "postgresql" for store in stores)
    one_by_one = on_postgresql and not disturbing
    away = max((store.seconds_away for store in stores), default=RESTART)
    does = f"{count} migrations will be carried out" if count else "no store changes"
    does += f", {len(changes)} streams or durables are made or changed" if changes else ", no stream changes"
    if hindrances:
        verdict = f"Not ready: {' '.join(hindrances)}"
    elif one_by_one:
        verdict = (
            f"Ready: {does}. Replicas can be replaced one after another, and with two or more of a service nobody "
            f"waits; with one it is away for about {away:.0f} s. What is sent meanwhile is kept."
        )
    elif disturbing:
        verdict = (
            f"Ready: {does}. The version that runs would notice {'; '.join(disturbing)}: stop every replica of these "
            f"services first. They are away for about {away:.0f} s; what is sent to their streams meanwhile is kept."
        )
    else:
        verdict = f"Ready: {does}. Services are away for about {away:.0f} s; what is sent to streams meanwhile is kept."
    return Outlook(
        ready=not hindrances,
        verdict=verdict,
        hindrances=tuple(hindrances),
        one_by_one=one_by_one,
        stores=tuple(stores),
        streams=changes,
    )
