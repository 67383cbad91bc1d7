"""Access that is taken back: who is cut off and who is not, on a server, in a cluster and from the command line."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from deploy.keeping.keeper import renew_account
from deploy.local_stack import LocalStack
from shared import access_register
from shared.access_register import AccessRegister
from shared.broker import Connection, NotAdmitted, connect
from shared.identity import IdentityError, Keys
from shared.testing.nats import NatsServer
from shared.testing.nats_cluster import NatsCluster

CUT_OFF_WITHIN = 5.0


async def cut_off(nc: Connection) -> bool:
    try:
        await asyncio.wait_for(nc.lost.wait(), CUT_OFF_WITHIN)
    except TimeoutError:
        return False
    return True


async def is_let_in(url: str, creds: Path) -> bool:
    try:
        nc = await connect([url], creds, patience=5)
    except NotAdmitted:
        return False
    await nc.close()
    return True


async def test_whoever_is_taken_back_is_cut_off_and_nobody_else(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server:
        alice, bob = await server.connect("member", "alice"), await server.connect("member", "bob")
        assert server.keys.revoke("alice") == 1
        await renew_account([server.url], server.keys)
        assert await cut_off(alice)
        await bob.flush()
        assert bob.is_connected
        assert bob.stats["reconnects"] == 0


async def test_what_was_taken_back_stays_so_and_new_credentials_let_in_again(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server:
        old = server.creds("member", "alice")
        assert await is_let_in(server.url, old)
        server.keys.revoke("alice")
        await renew_account([server.url], server.keys)
        new = tmp_path / "new.creds"
        new.write_text(server.keys.issue("member", "alice"))
        for _ in range(2):
            assert not await is_let_in(server.url, old)
            assert await is_let_in(server.url, new)
            server.restart()


async def test_every_server_of_a_cluster_goes_by_it_at_once(tmp_path: Path) -> None:
    async with NatsCluster(tmp_path) as cluster:
        creds = cluster.creds("member", "alice")
        servers = list(cluster.servers.values())
        connections = [await connect([server.url], creds, patience=10) for server in servers]
        cluster.keys.revoke("alice")
        await renew_account([servers[0].url], cluster.keys)
        assert all([await cut_off(each) for each in connections])
        for each in connections:
            await each.close()


async def test_a_local_stack_goes_by_it_also_when_its_nats_dies(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path, {})
    try:
        await stack.start()
        answered("issue", "--role", "member", "alice", data=tmp_path)
        creds = (tmp_path / "creds" / "alice.creds").rename(tmp_path / "stolen.creds")
        told = await asyncio.to_thread(answered, "revoke", "alice", data=tmp_path)
        assert told == {"principal": "alice", "revoked": 1, "told": True}
        stack.programs["nats"].kill()
        await asyncio.sleep(1)
        assert stack.programs["nats"].deaths == 1
        assert not await is_let_in(stack.url, creds)
    finally:
        await stack.stop()


async def test_nobody_without_the_keys_can_change_the_account(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server:
        alice = await server.connect("member", "alice")
        forbidden = asyncio.create_task(alice.forbidden(server.keys.account_update))
        await asyncio.sleep(0)
        await alice.publish(server.keys.account_update, Keys.create(tmp_path / "others").account_jwt().encode())
        await asyncio.wait_for(forbidden, 5)
        assert alice.is_connected


# ---- the register --------------------------------------------------------------------------------------------------


def test_the_register_says_who_was_issued_what_and_what_was_taken_back(tmp_path: Path) -> None:
    register = AccessRegister(tmp_path / "access.jsonl")
    assert register.all() == []
    register.issued("alice", "member", "UA", at=10)
    register.issued("bob", "member", "UB", at=11)
    register.revoke([register.all()[0]], at=12)
    assert [(each.principal, each.revoked_at) for each in register.all()] == [("alice", 12), ("bob", None)]
    assert (tmp_path / "access.jsonl").stat().st_mode & 0o077 == 0


def test_what_was_taken_back_is_void_also_where_the_clock_was_set_back(tmp_path: Path) -> None:
    register = AccessRegister(tmp_path / "access.jsonl")
    register.issued("alice", "member", "UA", at=100)
    register.revoke(register.all(), at=50)
    assert [each.revoked_at for each in register.all()] == [100]


def test_a_line_that_was_broken_off_did_not_happen(tmp_path: Path) -> None:
    file = tmp_path / "access.jsonl"
    register = AccessRegister(file)
    register.issued("alice", "member", "UA", at=10)
    file.write_bytes(file.read_bytes() + b'{"principal": "bo')
    assert [each.principal for each in register.all()] == ["alice"]
    register.issued("cat", "member", "UC", at=11)
    assert [each.principal for each in register.all()] == ["alice", "cat"]


@pytest.mark.parametrize("line", ["nothing", "[]", "{}", '{"revoked": "UX", "at": 1}', '{"principal": "bob"}'])
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, line: str) -> None:
    keys = Keys.create(tmp_path)
    keys.issue("member", "alice")
    with (tmp_path / "access.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(IdentityError, match=r"Line 2 of .*access\.jsonl cannot be read"):
        keys.account_jwt()
    with pytest.raises(access_register.RegisterDamaged):
        AccessRegister(tmp_path / "access.jsonl").all()


# ---- the command line, where no stack runs -------------------------------------------------------------------------


def answered(*arguments: str, data: Path, exit_code: int = 0) -> Any:
    said = CliRunner().invoke(app, ["access", *arguments, "--data", str(data), "--json"], catch_exceptions=False)
    assert said.exit_code == exit_code, said.output
    parsed = json.loads(said.stdout)
    return parsed["answer"] or parsed["refusal"] or parsed["failure"]


def test_the_list_has_everybody_who_was_issued_credentials_and_what_is_valid(tmp_path: Path) -> None:
    Keys.create(tmp_path / "keys")
    (tmp_path / "lock").touch()  # as in the directory of a stack
    for name in ("bob", "alice", "alice"):
        answered("issue", "--role", "member", name, data=tmp_path)
    assert answered("revoke", "alice", data=tmp_path) == {"principal": "alice", "revoked": 2, "told": False}
    rows = answered("list", data=tmp_path)
    assert [(row["principal"], row["role"], row["valid"]) for row in rows] == [
        ("alice", "member", 0),
        ("bob", "member", 1),
    ]
    assert rows[0]["last_revoked_at"] >= rows[0]["last_issued_at"]
    assert rows[1]["last_revoked_at"] is None


def test_credentials_that_are_void_are_gone_and_those_of_somebody_else_stay(tmp_path: Path) -> None:
    Keys.create(tmp_path / "keys")
    (tmp_path / "lock").touch()
    for name in ("bob", "alice"):
        answered("issue", "--role", "member", name, data=tmp_path)
    answered("revoke", "alice", data=tmp_path)
    assert [file.stem for file in (tmp_path / "creds").iterdir()] == ["bob"]


def test_from_somebody_who_was_issued_nothing_nothing_is_taken_back(tmp_path: Path) -> None:
    Keys.create(tmp_path / "keys")
    assert answered("revoke", "mallory", data=tmp_path, exit_code=3)["code"] == "nothing-issued"


def test_where_nats_is_elsewhere_and_silent_it_is_noted_and_said(tmp_path: Path) -> None:
    keys = Keys.create(tmp_path / "keys")
    (tmp_path / "stack.json").write_text(json.dumps({"url": "nats://127.0.0.1:1"}))
    answered("issue", "--role", "member", "alice", data=tmp_path)
    said = answered("revoke", "alice", data=tmp_path, exit_code=1)["sentence"]
    assert said.startswith("It is noted, but NATS does not know it yet. NATS does not answer at nats://127.0.0.1:1")
    assert [each.revoked_at is not None for each in keys.issued()] == [True]
