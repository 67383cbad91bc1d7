"""What an upgrade will do is said before it is begun, and with replicas nobody notices while it is done.

The version before this one is not at hand. So the version that runs is this one, and the next is this one with one more
migration of membership, in a copy of the sources: what is shown is that the program as it is goes on working on a store
that another has brought further, which is what the next release will ask of it.
"""

import asyncio
import compileall
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import uuid_utils
from sqlalchemy import Engine, text

from deploy.keeping import backup as backups
from deploy.keeping import steps, upgrade
from deploy.keeping.backup import Place
from deploy.local_stack import Program
from shared import migration, outbox
from shared.contracts.membership import RegisterOrganisation
from shared.database import open_store, reading, writing
from shared.identity import SERVICES
from shared.migration import config, newest
from shared.streams import durables, event_stream, platform_streams, reconcile
from shared.testing.nats import NatsServer
from shared.testing.stores import Backend, new_store
from tests.faults import checker
from tests.faults.ledger import Ledger
from tests.faults.rounds import LOOK_EVERY
from tests.faults.schedule import PLATFORM
from tests.faults.stack import ROOT, Stack
from tests.faults.teller import Platform

CLIENTS = 4
SERVICE = "membership"
REPLICAS = ("", "-second")
STOPS_WITHIN, STARTS_WITHIN = 15.0, 120.0

BEFORE_THE_RULE = {
    *((service, "what is unsent stands apart") for service in SERVICES),
    (SERVICE, "terms and declined applications"),
    (SERVICE, "peers answer to what they were shown"),
    (SERVICE, "deputies and people who leave"),
    (SERVICE, "an asker has so many requests at a time"),
}
"""Steps that take something away, from before there was anything to upgrade. None is added to these."""


# ---- the rule ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES)
def test_a_step_only_adds_or_says_since_when_nothing_uses_what_it_takes_away(service: str) -> None:
    for step in steps.pending(service, None):
        if (service, step.about) not in BEFORE_THE_RULE:
            assert step.is_additive, f"{service} {step.name} would disturb the version before it: {step.disturbs}"
        if step.unused_since is not None:
            assert step.unused_since < step.number


HEAD = "import sqlalchemy as sa\nfrom alembic import op\nfrom shared import loop_migrations\n\n"


@pytest.mark.parametrize(
    ("does", "disturbs"),
    [
        ("op.create_table('new', sa.Column('id', sa.Text(), nullable=False))", ()),
        ("op.add_column('old', sa.Column('more', sa.Text()))", ()),
        ("op.add_column('old', sa.Column('more', sa.Integer(), nullable=False, server_default='0'))", ()),
        ("op.create_index('old_more', 'old', ['more'])", ()),
        ("op.execute('UPDATE old SET more = 1')", ()),
        ("op.add_column('old', sa.Column('more', sa.Text(), nullable=False))", ("add_column on old",)),
        ("op.create_index('old_more', 'old', ['more'], unique=True)", ("create_index on old",)),
        ("op.drop_table('old')", ("drop_table on old",)),
        ("op.rename_table('old', 'older')", ("rename_table on old",)),
        (
            "with op.batch_alter_table('old') as batch:\n        batch.drop_column('more')\n"
            "        batch.add_column(sa.Column('less', sa.Text()))",
            ("drop_column on old",),
        ),
        (
            "op.create_table('new')\n    with op.batch_alter_table('new') as batch_op:\n"
            "        batch_op.create_index('new_more', ['more'], unique=True)",
            (),
        ),
        ("loop_migrations.keep_history()", ()),
    ],
)
def test_what_the_version_before_would_notice_is_read_from_the_step(
    does: str, disturbs: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "0042_a_step.py"
    file.write_text(f"{HEAD}def upgrade() -> None:\n    {does}\n")
    step = steps.read(file)
    assert (step.number, step.about, step.disturbs) == ("0042", "a step", disturbs)
    assert step.is_additive == (not disturbs)
    file.write_text(f"{HEAD}UNUSED_SINCE = '0041'\n\n\ndef upgrade() -> None:\n    {does}\n")
    assert steps.read(file).is_additive


def test_a_program_leaves_a_store_alone_that_is_of_a_newer_version(engine: Engine) -> None:
    migration.upgrade(engine, SERVICE)
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    migration.upgrade(engine, SERVICE)
    assert backups.level_of(engine) == "9999"


# ---- the check -----------------------------------------------------------------------------------------------------


@pytest.fixture
def place(backend: Backend, tmp_path: Path) -> Place:
    """Where a platform is; each store is at its newest level, but membership's, which is three steps behind."""
    addresses = {service: new_store(backend, tmp_path) for service in SERVICES}
    for service, address in addresses.items():
        engine = open_store(address)
        if service == SERVICE:
            to_level(engine, "0009")
        else:
            migration.upgrade(engine, service)
        engine.dispose()
    return Place((), tmp_path / "nats", addresses)


def to_level(engine: Engine, level: str) -> None:
    from alembic import command  # noqa: PLC0415  as where it is used

    with writing(engine) as connection:
        settings = config(SERVICE)
        settings.attributes["connection"] = connection
        command.upgrade(settings, level)


async def looked(place: Place, *, streams: bool = True) -> upgrade.Outlook:
    async with NatsServer(place.directory) as server:
        if streams:
            nc = await server.connect_breaker()
            follows = [each for name, service in PLATFORM.items() for each in durables(name, service.follows)]
            await reconcile(nc, platform_streams(), follows)
        return await upgrade.look(replace(place, urls=(server.url,)), lambda _: None)


async def test_the_steps_before_each_store_are_named_and_what_the_version_that_runs_would_notice(
    place: Place, backend: Backend
) -> None:
    outlook = await looked(place)
    stores = {store.service: store for store in outlook.stores}
    mine = stores.pop(SERVICE)
    assert outlook.ready
    assert (mine.state, mine.level, mine.brings) == ("older", "0009", newest(SERVICE))
    assert mine.steps == tuple(step.name for step in steps.pending(SERVICE, "0009"))
    assert any(
        "deputies and people who leave: create_unique_constraint on representatives" in d for d in mine.disturbing
    )
    assert mine.database == backend
    assert mine.bytes > 0
    assert {store.state for store in stores.values()} == {"as it should be"}
    assert outlook.streams == {}
    assert not outlook.one_by_one
    assert "stop every replica of these services first" in outlook.verdict


async def test_streams_that_will_be_made_are_named(place: Place) -> None:
    outlook = await looked(place, streams=False)
    assert outlook.ready
    assert outlook.streams["stream MEMBERSHIP"] == "will be made"
    assert outlook.streams["durable notifications of stream EVENTS"] == "will be made"


async def test_a_store_of_a_newer_version_is_a_hindrance(place: Place) -> None:
    engine = open_store(place.stores["events"])
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    outlook = await looked(place)
    assert not outlook.ready
    assert "events's store is at level 9999" in outlook.verdict
    assert outlook.verdict.startswith("Not ready: ")


async def test_what_this_version_cannot_read_is_a_hindrance(place: Place) -> None:
    engine = open_store(place.stores["events"])
    with writing(engine) as connection:
        payload = json.dumps({"type": "concord.events.of-a-later-time.v1", "data": {}}).encode()
        connection.execute(
            text(
                "INSERT INTO outbox (id, stream, subject, aggregate, sequence, payload, recorded_at) "
                "VALUES ('i', 'EVENTS', 's', 'a', 1, :payload, CURRENT_TIMESTAMP)"
            ),
            {"payload": payload},
        )
    engine.dispose()
    outlook = await looked(place)
    assert not outlook.ready
    assert "cannot read what events has said: concord.events.of-a-later-time.v1 (1)" in outlook.verdict


async def test_a_setting_that_nats_will_not_change_is_a_hindrance(place: Place) -> None:
    async with NatsServer(place.directory) as server:
        nc = await server.connect_breaker()
        [follows] = durables("events", PLATFORM["events"].follows)
        other = replace(follows, settings={**follows.settings, "ack_policy": "all"})
        await reconcile(nc, platform_streams(), [other])
        outlook = await upgrade.look(replace(place, urls=(server.url,)), lambda _: None)
    assert not outlook.ready
    assert "The durable events of stream MEMBERSHIP has the ack_policy 'all'" in outlook.verdict


# ---- one by one, under load ----------------------------------------------------------------------------------------

NEXT_STEP = '''"""a note beside each network, and a table of its own"""

import sqlalchemy as sa
from alembic import op

revision = "{number}"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("networks", sa.Column("note", sa.Text()))
    op.create_table("notes", sa.Column("id", sa.Text(), primary_key=True))
'''


def next_version(directory: Path) -> str:
    """The sources as they are, with one more migration of membership; its number."""
    for part in ("services", "shared"):
        shutil.copytree(ROOT / part, directory / part, ignore=shutil.ignore_patterns("__pycache__"))
    number = f"{int(newest(SERVICE)) + 1:04}"
    step = directory / "services" / SERVICE / "migrations" / "versions" / f"{number}_a_note.py"
    step.write_text(NEXT_STEP.format(number=number, before=newest(SERVICE)))
    assert steps.read(step).is_additive
    compileall.compile_dir(directory, quiet=2)  # or each replica would do so while it starts
    return number


async def ready(program: Program, before: int) -> None:
    async with asyncio.timeout(STARTS_WITHIN):
        while '"message": "ready"' not in program.log.read_text()[before:]:  # noqa: ASYNC110  it is said in a log alone
            await asyncio.sleep(LOOK_EVERY)


class Replicas(Stack):
    """Membership alone, twice, on one PostgreSQL store."""

    async def __aenter__(self) -> "Replicas":
        self.nats.start()
        for replica in REPLICAS:
            await ready(self.start(SERVICE, replica=replica), 0)
        self.operator = await self.nats.connect("operator", "operator")
        return self

    async def stop(self, replica: str) -> None:
        """As an operator stops one."""
        program = self.programs[SERVICE + replica]
        program.process.terminate()
        assert await asyncio.wait_for(program.ended(), STOPS_WITHIN) == 0, program.last_words

    async def start_again(self, replica: str, sources: Path | None) -> str:
        """Starts one that was stopped, of this version or from other sources; what it said by the time it was ready."""
        old = self.programs[SERVICE + replica]
        before = len(old.log.read_text())
        if sources is None:
            new = self.start(SERVICE, replica=replica)
        else:
            environment = {**old.environment, "PYTHONPATH": str(sources), "PYTHONPYCACHEPREFIX": ""}
            command = (sys.executable, "-P", "-m", f"services.{SERVICE}.main")
            new = self.programs[SERVICE + replica] = Program(SERVICE + replica, command, old.log, environment)
        await ready(new, before)
        return new.log.read_text()[before:]


@pytest.mark.timeout(400)
async def test_replicas_replaced_one_by_one_under_load_lose_nothing_while_both_versions_run(tmp_path: Path) -> None:
    number = next_version(tmp_path / "next")
    ledger = Ledger()
    async with Replicas(tmp_path, "postgresql") as replicas:
        platform = Platform(replicas.nats, ledger)
        await platform.connect()
        ended = asyncio.Event()

        async def register() -> None:
            while not ended.is_set():
                name = uuid_utils.uuid7().hex
                command = RegisterOrganisation(key=name, name=name, type="charity")
                await platform.ask("operator", command, str(uuid_utils.uuid7()), must_be_done=True)

        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(register())
            for replica in REPLICAS:
                await replicas.stop(replica)
                await replicas.start_again(replica, tmp_path / "next")
                assert backups.level_of(replicas.engines[SERVICE]) == number
                if replica == REPLICAS[0]:  # one of the version before starts once more, on the store as it is now
                    await replicas.stop(REPLICAS[1])
                    said = await replicas.start_again(REPLICAS[1], None)
                    assert "the store is of a newer version than this program" in said
            ended.set()
        async with asyncio.timeout(STARTS_WITHIN):
            while unsent(replicas.engines[SERVICE]):  # noqa: ASYNC110  a store tells nobody
                await asyncio.sleep(LOOK_EVERY)
        stream = await checker._read_stream(replicas.operator, event_stream(SERVICE))
    assert len(ledger.asked) > CLIENTS
    assert all(asked.reply and asked.reply.done for asked in ledger.asked.values())
    caused = [json.loads(message.payload)["causationid"] for message in stream]
    assert sorted(caused) == sorted(ledger.asked), "each command has caused one event, which is in the stream once"


def unsent(engine: Engine) -> int:
    with reading(engine) as connection:
        return outbox.count_unsent(connection)
