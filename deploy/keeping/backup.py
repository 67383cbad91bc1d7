"""A backup of the whole platform while it runs, and the platform from a backup. Why so: ``docs/decisions/backup.md``.

DIR/manifest.json       what is in it, of which version, made when
DIR/STREAM.snapshot     a stream, as the NATS server writes it
DIR/SERVICE.jsonl.gz    a store (``store_copy.py``)
DIR/operator.tar        the private keys of the platform, and the credentials beside them
DIR/SHA256SUMS          of all of these, as ``sha256sum --check`` reads it; written last
"""

import asyncio
import gzip
import hashlib
import json
import os
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from graphlib import TopologicalSorter
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection, Engine, inspect

from deploy.keeping import keeper, store_copy, stream_copy
from shared import clock, migration
from shared.broker import Connection as Nats
from shared.database import open_store, reading, writing
from shared.identity import SERVICES, Keys, Permissions
from shared.reconcile import reconcile
from shared.refusal import Refusal
from shared.service import Service

FORMAT = 1
"""Of a backup; a program reads its own and those before it."""
SUMS = "SHA256SUMS"
MANIFEST = "manifest.json"
KEYS = "operator.tar"
IN_KEYS = ("keys", "creds")
AT_MOST = 24 * 3600
"""Seconds a backup or a restore may take before its credentials end."""

ALLOWED = Permissions(
    publish=(
        *(f"$JS.API.{what}" for what in ("INFO", "STREAM.NAMES", "STREAM.INFO.*", "CONSUMER.NAMES.*")),
        "$JS.API.CONSUMER.INFO.*.*",
        "$JS.API.DIRECT.GET.>",
        "$JS.API.STREAM.SNAPSHOT.*",
        "$JS.SNAPSHOT.ACK.>",
        "$JS.API.STREAM.RESTORE.*",
        "$JS.SNAPSHOT.RESTORE.>",
        "$JS.API.CONSUMER.CREATE.*.*",
        "$JS.API.CONSUMER.RESET.*.*",
    ),
    subscribe=(keeper.INBOX,),
)

Told = Callable[[str], None]
"""Hears what is being done."""

T = TypeVar("T")


class Refused(Exception):
    """It is not done; ``refusal`` says why, and what to do."""

    def __init__(self, code: str, sentence: str, **data: Any) -> None:
        super().__init__(sentence)
        self.refusal = Refusal(code=code, sentence=sentence, data=data)


class DurablePart(BaseModel, frozen=True):
    """A durable as it was; ``position`` is the place in its stream up to which it had acknowledged everything."""

    config: dict[str, Any]
    position: int


class StreamPart(BaseModel, frozen=True):
    """A stream as it was: what the server needs to make it again, and who followed it how far."""

    config: dict[str, Any]
    state: dict[str, Any]
    durables: list[DurablePart]


class StorePart(BaseModel, frozen=True):
    """A store as it was: the last migration it had been through, and how many rows each table had."""

    level: str
    rows: dict[str, int]


class Manifest(BaseModel, frozen=True):
    """What a backup holds."""

    format: int = FORMAT
    version: str
    begun_at: datetime
    ended_at: datetime
    streams: dict[str, StreamPart]
    stores: dict[str, StorePart]

    def counted(self) -> dict[str, Any]:
        """For people: when, of which version, and how much."""
        return {
            "begun_at": self.begun_at.isoformat(),
            "ended_at": self.ended_at.isoformat(),
            "version": self.version,
            "messages": {name: part.state["messages"] for name, part in self.streams.items()},
            "rows": {name: sum(part.rows.values()) for name, part in self.stores.items()},
            "levels": {name: part.level for name, part in self.stores.items()},
        }


@dataclass(frozen=True)
class Place:
    """Where a platform is: the addresses of NATS, the directory with ``keys`` and ``creds``, each service's store."""

    urls: tuple[str, ...]
    directory: Path
    stores: Mapping[str, str]

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Nats]:
        """A connection that may do what a backup and a restore need; its credentials are gone with it."""
        creds = Keys.load(self.directory / "keys").issue_to_keeper(ALLOWED, AT_MOST)
        async with keeper.connected(self.urls, creds) as nc:
            yield nc

    @contextmanager
    def opened(self) -> Iterator[dict[str, Engine]]:
        """The stores; those that are files must be there, or be about to be made."""
        with ExitStack() as stack:
            engines = {}
            for service, address in self.stores.items():
                engines[service] = open_store(address)
                stack.callback(engines[service].dispose)
            yield engines


# ---- backup --------------------------------------------------------------------------------------------------------


def followers_first() -> list[str]:
    """The services, each before those whose events it follows. ``graphlib.CycleError`` if two follow one another."""
    services = {name: cast("Service", import_module(f"services.{name}.main").SERVICE) for name in SERVICES}
    owners_first = list(TopologicalSorter({name: each.follows for name, each in services.items()}).static_order())
    return owners_first[::-1]


async def make(place: Place, directory: Path, told: Told) -> Manifest:
    """Writes a backup into a directory that is empty or not there; ``Refused`` before anything is written."""
    with place.opened() as engines:
        for service, engine in engines.items():
            _at_our_level(service, await asyncio.to_thread(level_of, engine))
        _make_empty(directory)
        begun_at = clock.now()
        sums: dict[str, str] = {}
        streams = {}
        async with place.connected() as nc:
            for name in sorted(await stream_copy.streams_of(nc)):
                told(f"Copying the stream {name}")
                followed = await stream_copy.durables_of(nc, name)  # before the messages: nobody stands beyond the last
                with _part(directory / f"{name}.snapshot", sums) as out:
                    config, state = await stream_copy.copy(nc, name, out)
                durables = [DurablePart(config=each, position=position) for each, position in followed]
                streams[name] = StreamPart(config=config, state=state, durables=durables)
        stores = await asyncio.to_thread(_copy_stores, engines, directory, sums, told)
        told("Copying the keys")
        with _part(directory / KEYS, sums) as out:
            _pack_keys(place.directory, out)
        manifest = Manifest(
            version=version("concord"), begun_at=begun_at, ended_at=clock.now(), streams=streams, stores=stores
        )
        with _part(directory / MANIFEST, sums) as out:
            out.write(manifest.model_dump_json(indent=2).encode() + b"\n")
        with _part(directory / SUMS, {}) as out:
            out.write("".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode())
        return manifest


def _make_empty(directory: Path) -> None:
    if directory.exists() and any(directory.iterdir()):
        raise Refused(
            "directory-not-empty",
            f"{directory} is not empty, and a backup is never written over anything: name another directory.",
        )
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)


def _copy_stores(
    engines: Mapping[str, Engine], directory: Path, sums: dict[str, str], told: Told
) -> dict[str, StorePart]:
    """Each from the state it was in at one moment; those moments lie close together, however large the stores are."""
    with ExitStack() as stack:
        order = followers_first()
        seen = [stack.enter_context(_seen_as_it_is(engines[service])) for service in order]
        return {
            service: _copy_store(connection, service, directory, sums, told)
            for service, connection in zip(order, seen, strict=True)
        }


@contextmanager
def _seen_as_it_is(engine: Engine) -> Iterator[Connection]:
    with reading(engine) as connection:
        migration.level(connection)  # the first look is what a transaction goes on seeing
        yield connection


def _copy_store(connection: Connection, service: str, directory: Path, sums: dict[str, str], told: Told) -> StorePart:
    told(f"Copying the store of {service}")
    level = migration.newest(service)
    with _part(directory / f"{service}.jsonl.gz", sums) as out, _gzipped(out) as lines:
        rows = store_copy.copy(
            connection, service, level, lines, lambda count: told(f"Copying the store of {service}: {count:,} rows")
        )
    return StorePart(level=level, rows=rows)


def _gzipped(out: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0, filename=""))


def level_of(engine: Engine) -> str | None:
    """The last migration a store has been through; ``None`` if there is nothing in it. No file is made by looking."""
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    if file and not Path(file).exists():
        return None
    with reading(engine) as connection:
        return migration.level(connection)


def _at_our_level(service: str, level: str | None) -> None:
    if level != migration.newest(service):
        is_at = f"is at level {level}" if level else "has not been made yet"
        raise Refused(
            "store-of-another-version",
            f"{service}'s store {is_at}, and this program knows level {migration.newest(service)}: "
            "make the backup with the version of Concord that runs, once it has started.",
            service=service,
        )


class _Summing:
    """A file that adds up what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


@contextmanager
def _part(path: Path, sums: dict[str, str]) -> Iterator[IO[bytes]]:
    """A new file of the backup, for its owner alone, on the disk once this ends."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        summing = _Summing(file)
        yield cast("IO[bytes]", summing)
        file.flush()
        os.fsync(file.fileno())
    sums[path.name] = summing.digest.hexdigest()


def _pack_keys(directory: Path, out: IO[bytes]) -> None:
    with tarfile.open(fileobj=out, mode="w|") as archive:
        for part in IN_KEYS:
            archive.add(directory / part, arcname=part)


# ---- looking at a backup -------------------------------------------------------------------------------------------


def verify(directory: Path, told: Told) -> Manifest:
    """Reads every part of a backup; ``Refused`` if one is missing, is not as it was written, or is too new for us."""
    sums = _sums(directory)
    for name, digest in sums.items():
        told(f"Looking at {name}")
        part = directory / name
        if not part.is_file():
            raise _damaged(f"{part} is missing")
        if _digest(part) != digest:
            raise _damaged(f"{part} is not as it was written")
    try:
        manifest = json.loads((directory / MANIFEST).read_bytes())
        if manifest["format"] > FORMAT:
            raise _too_new(f"its format is {manifest['format']}, and this program reads up to {FORMAT}")
        made = Manifest.model_validate(manifest)
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise _damaged(f"{directory / MANIFEST} cannot be read ({type(error).__name__})") from None
    for name in (*(f"{stream}.snapshot" for stream in made.streams), *(f"{s}.jsonl.gz" for s in made.stores), KEYS):
        if name not in sums:
            raise _damaged(f"{directory / SUMS} does not name {name}")
    for service, part_of in made.stores.items():
        if service not in SERVICES or part_of.level > migration.newest(service):
            known = migration.newest(service) if service in SERVICES else "nothing"
            raise _too_new(
                f"{service}'s store is at level {part_of.level}, of version {made.version}; this program knows {known}"
            )
    return made


def _sums(directory: Path) -> dict[str, str]:
    path = directory / SUMS
    if not path.is_file():
        raise Refused(
            "no-backup",
            f"{directory} holds no backup that was finished: there is no {SUMS}, which is written last.",
        )
    try:
        pairs = [line.split("  ", 1) for line in path.read_text(encoding="ascii").splitlines()]
        return {name: digest for digest, name in pairs}
    except ValueError:
        raise _damaged(f"{path} cannot be read") from None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(what: str) -> Refused:
    return Refused("backup-damaged", f"The backup is damaged: {what}. Nothing was restored; use another copy of it.")


def _too_new(what: str) -> Refused:
    return Refused(
        "backup-of-a-newer-version",
        f"The backup is of a newer version: {what}. Nothing was restored; use that version, or one after it.",
    )


# ---- restore -------------------------------------------------------------------------------------------------------


def restore_keys(directory: Path, to: Path) -> None:
    """Puts keys and credentials where a platform expects them; ``Refused`` if others are there."""
    if check_keys(directory, to):
        return
    to.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tarfile.open(directory / KEYS) as archive:
        archive.extractall(to, filter="data")
    (to / "keys").chmod(0o700)


def check_keys(directory: Path, to: Path) -> bool:
    """Whether the keys of a backup are there already; ``Refused`` if others are."""
    if same_keys(directory, to):
        return True
    if any((to / part).exists() for part in IN_KEYS):
        raise Refused(
            "keys-in-the-way",
            f"{to} holds keys of another platform. A platform is restored with its own keys, before it is started for "
            "the first time: name a directory without any.",
        )
    return False


def same_keys(directory: Path, to: Path) -> bool:
    """Whether the keys of a backup are those in use."""
    with tarfile.open(directory / KEYS) as archive:
        kept = {
            member.name: archive.extractfile(member).read()  # type: ignore[union-attr]  # it is a file
            for member in archive
            if member.isfile() and member.name.startswith("keys/") and member.name.endswith(".nk")
        }
    return all((to / name).is_file() and (to / name).read_bytes() == key for name, key in kept.items())


async def restore(place: Place, directory: Path, manifest: Manifest, told: Told) -> dict[str, int]:
    """Fills an empty platform from a backup that was verified, while NATS runs and no service does.

    Answers with how many messages each stream lacks that its store has sent: the services send them again when they
    start. ``Refused`` if it is not empty.
    """
    with place.opened() as engines:
        for service, engine in engines.items():
            if await asyncio.to_thread(_has_tables, engine):
                raise _not_empty(f"{service}'s store has tables")
        async with place.connected() as nc:
            if there := await stream_copy.streams_of(nc):
                raise _not_empty(f"NATS has the streams {', '.join(sorted(there))}")
            for name, stream in manifest.streams.items():
                told(f"Restoring the stream {name}")
                await stream_copy.load(nc, stream.config, stream.state, _chunks(directory / f"{name}.snapshot"))
                for durable in stream.durables:
                    await stream_copy.make_durable(nc, name, durable.config, durable.position)
            missing: dict[str, int] = {}
            for service in manifest.stores:
                told(f"Restoring the store of {service}")
                await asyncio.to_thread(_load_store, engines[service], service, directory, manifest, told)
                told(f"Comparing the store of {service} with the streams")
                for stream_name, count in (await reconcile(nc, engines[service], _Directly(engines[service]))).items():
                    missing[stream_name] = missing.get(stream_name, 0) + count
            return missing


def _chunks(part: Path) -> Iterator[bytes]:
    with part.open("rb") as file:
        yield from iter(partial(file.read, stream_copy.CHUNK), b"")


class _Directly:
    """Stands in for the loop of a service that does not run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def call(self, function: Callable[[Connection], T]) -> T:
        def write() -> T:
            with writing(self._engine) as connection:
                return function(connection)

        return await asyncio.to_thread(write)


def _load_store(engine: Engine, service: str, directory: Path, manifest: Manifest, told: Told) -> None:
    with gzip.open(directory / f"{service}.jsonl.gz") as lines:
        rows = store_copy.load(
            engine, service, lines, lambda count: told(f"Restoring the store of {service}: {count:,} rows")
        )
    if rows != manifest.stores[service].rows:
        raise _damaged(f"{service}'s store has {rows}, and its manifest says {manifest.stores[service].rows}")


def _has_tables(engine: Engine) -> bool:
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    if file and not Path(file).exists():
        return False
    with reading(engine) as connection:
        return bool(inspect(connection).get_table_names())


def _not_empty(what: str) -> Refused:
    return Refused(
        "platform-not-empty",
        f"The platform is not empty: {what}. Nothing was restored, for nothing is ever overwritten: restore before the "
        "services are started for the first time, or in another place.",
    )
