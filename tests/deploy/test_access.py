"""Access that is taken back: who is cut off and who is not, on a server, in a cluster and from the command line."""

import asyncio
import base64
import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from deploy.deployment import prepare
from deploy.keeping.keeper import renew_account
from deploy.local_stack import LocalStack
from shared import access_register
from shared.access_register import AccessRegister
from shared.broker import BrokerError, Connection, NotAdmitted, connect
from shared.identity import AnotherRole, IdentityError, Keys
from shared.testing.nats import NatsServer
from shared.testing.nats_cluster import NatsCluster

CUT_OFF_WITHIN = 5.0
WRONG_TYPE = '{"principal": "bob", "role": "member", "key": "UB", "issued_at": "soon"}'


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


async def test_a_server_at_which_nobody_was_yet_goes_by_it_too(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server:
        creds = server.creds("member", "alice")
        server.keys.revoke("alice")
        await renew_account([server.url], server.keys)
        assert not await is_let_in(server.url, creds)


async def test_every_server_of_a_cluster_goes_by_it_at_once(tmp_path: Path) -> None:
    async with NatsCluster(tmp_path) as cluster:
        first, second, third = cluster.servers.values()
        creds = cluster.creds("member", "alice")
        alice = await connect([first.url], creds, patience=10)
        cluster.keys.revoke("alice")
        assert await renew_account(cluster.url.split(","), cluster.keys) == 3
        assert await cut_off(alice)
        for server in (second, third):  # where nobody was
            assert not await is_let_in(server.url, creds)


async def test_a_server_that_could_not_be_visited_and_goes_by_its_configuration_is_named(tmp_path: Path) -> None:
    async with NatsCluster(tmp_path) as cluster:
        cluster.keys.revoke("alice")
        with pytest.raises(BrokerError, match="nats-3 goes by its configuration alone: have that written anew"):
            await renew_account([cluster.servers["nats-1"].url], cluster.keys)


async def test_a_server_that_cannot_be_told_is_named_and_the_others_are_told(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server:
        alice = await server.connect("member", "alice")
        server.keys.revoke("alice")
        with pytest.raises(BrokerError, match=r"No NATS server answered at nats://127\.0\.0\.1:1"):
            await renew_account(["nats://127.0.0.1:1", server.url], server.keys)
        assert await cut_off(alice)


async def test_the_account_of_another_platform_is_not_taken_over(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server:
        alice = await server.connect("member", "alice")
        with pytest.raises(BrokerError):
            await renew_account([server.url], Keys.create(tmp_path / "others"))
        await alice.flush()
        assert alice.is_connected


async def test_a_local_stack_goes_by_it_also_when_its_nats_dies(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path, {})
    try:
        await stack.start()
        refused = await asyncio.to_thread(answered, "revoke", "operator", data=tmp_path, exit_code=3)
        assert refused["code"] == "stack-runs-as-operator"
        answered("issue", "--role", "member", "alice", data=tmp_path)
        creds = (tmp_path / "creds" / "alice.creds").rename(tmp_path / "stolen.creds")
        told = await asyncio.to_thread(answered, "revoke", "alice", data=tmp_path)
        assert told == {"principal": "alice", "revoked": 1, "servers": 1}
        stack.programs["nats"].kill()
        async with asyncio.timeout(CUT_OFF_WITHIN):
            while not stack.programs["nats"].deaths:  # noqa: ASYNC110  a process tells nobody
                await asyncio.sleep(0.02)
        assert not await is_let_in(stack.url, creds)
    finally:
        await stack.stop()


async def test_whoever_interrupts_it_is_told_that_it_is_noted_and_not_yet_known(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path, {})
    try:
        await stack.start()
        answered("issue", "--role", "member", "alice", data=tmp_path)
        stack.programs["nats"].process.send_signal(signal.SIGSTOP)  # it answers nobody
        revoking = subprocess.Popen(  # noqa: ASYNC220  it is there at once
            [Path(sys.executable).parent / "concord", "access", "revoke", "alice", "--data", tmp_path],
            stderr=subprocess.PIPE,
            text=True,
        )
        async with asyncio.timeout(20):
            while Keys.load(tmp_path / "keys").issued()[-1].revoked_at is None:  # noqa: ASYNC110  a file tells nobody
                await asyncio.sleep(0.02)
        await asyncio.sleep(1)  # it speaks to NATS by now, or else the interruption comes earlier: both are told alike
        revoking.send_signal(signal.SIGINT)
        _, said = await asyncio.to_thread(revoking.communicate, timeout=20)
        assert revoking.returncode == 1
        assert said.startswith("It is noted, but NATS does not know all of it yet: Interrupted. Revoke it once more")
    finally:
        stack.programs["nats"].process.send_signal(signal.SIGCONT)
        await stack.stop()


async def test_nobody_without_the_keys_can_change_the_account(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server:
        alice = await server.connect("member", "alice")
        forbidden = asyncio.create_task(alice.forbidden(server.keys.account_update))
        await asyncio.sleep(0)
        await alice.publish(server.keys.account_update, Keys.create(tmp_path / "others").account_jwt().encode())
        await asyncio.wait_for(forbidden, 5)
        assert alice.is_connected


def test_services_and_the_operator_get_new_credentials_for_those_that_were_taken_back(tmp_path: Path) -> None:
    def prepared() -> list[Path]:
        streams = tmp_path / "streams"
        return prepare(tmp_path / "platform", nats="nats://127.0.0.1:4222", postgres="127.0.0.1:5432", streams=streams)

    prepared()
    operator, conf = tmp_path / "platform" / "operator", tmp_path / "platform" / "nats" / "nats.conf"
    assert prepared() == [conf]
    keys = Keys.load(operator / "keys")
    assert keys.revoke("membership") == keys.revoke("operator") == 1
    own = tmp_path / "platform" / "membership" / "service.creds"
    assert keys.is_void(own.read_text())
    assert prepared() == [operator / "creds" / "operator.creds", own, conf]
    assert not keys.is_void(own.read_text())


# ---- the register --------------------------------------------------------------------------------------------------


def test_the_register_says_who_was_issued_what_and_what_was_taken_back(tmp_path: Path) -> None:
    register = AccessRegister(tmp_path / "access.jsonl")
    assert register.all() == []
    register.issue("alice", "member", "UA", at=10)
    register.issue("bob", "member", "UB", at=11)
    register.revoke([register.all()[0]], at=12)
    assert [(each.principal, each.revoked_at) for each in register.all()] == [("alice", 12), ("bob", None)]
    assert (tmp_path / "access.jsonl").stat().st_mode & 0o077 == 0


def test_what_was_taken_back_is_void_also_where_the_clock_was_set_back(tmp_path: Path) -> None:
    register = AccessRegister(tmp_path / "access.jsonl")
    register.issue("alice", "member", "UA", at=100)
    register.revoke(register.all(), at=50)
    assert [each.revoked_at for each in register.all()] == [100]


def test_a_line_that_was_broken_off_did_not_happen(tmp_path: Path) -> None:
    file = tmp_path / "access.jsonl"
    register = AccessRegister(file)
    register.issue("alice", "member", "UA", at=10)
    file.write_bytes(file.read_bytes() + b'{"principal": "bo')
    assert [each.principal for each in register.all()] == ["alice"]
    register.issue("cat", "member", "UC", at=11)
    assert [each.principal for each in register.all()] == ["alice", "cat"]


def test_nothing_is_lost_when_many_are_issued_at_once(tmp_path: Path) -> None:
    Keys.create(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: Keys.load(tmp_path).issue("member", f"m{number}"), range(100)))
    assert {each.principal for each in Keys.load(tmp_path).issued()} == {f"m{number}" for number in range(100)}


@pytest.mark.parametrize(
    "line", ["nothing", "[]", "{}", '{"revoked": "UX", "at": 1}', '{"principal": "bob"}', WRONG_TYPE]
)
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
    return next(part for part in json.loads(said.stdout).values() if isinstance(part, dict | list))


def test_the_list_has_everybody_who_was_issued_credentials_and_what_is_valid(tmp_path: Path) -> None:
    Keys.create(tmp_path / "keys")
    (tmp_path / "lock").touch()  # as in the directory of a stack
    for name in ("bob", "alice", "alice"):
        answered("issue", "--role", "member", name, data=tmp_path)
    assert answered("revoke", "alice", data=tmp_path) == {"principal": "alice", "revoked": 2, "servers": 0}
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


@pytest.mark.parametrize("claim", [{"iat": 10**30}, {"iat": "soon"}, {"iat": None}, {"name": "bob"}, {"sub": "UX"}])
def test_credentials_that_somebody_has_written_over_are_taken_for_nobodys(
    tmp_path: Path, claim: dict[str, Any]
) -> None:
    keys = Keys.create(tmp_path / "keys")
    (tmp_path / "lock").touch()
    head, claims, rest = keys.issue("member", "alice").split(".", 2)
    read = json.loads(base64.urlsafe_b64decode(claims + "=="))
    forged = base64.urlsafe_b64encode(json.dumps(read | claim).encode()).decode().rstrip("=")
    found = tmp_path / "found.creds"
    found.write_text(f"{head}.{forged}.{rest}")
    before = keys.issued()
    assert answered("revoke", "alice", "--file", str(found), data=tmp_path, exit_code=3)["code"] == "not-theirs"
    assert keys.issued() == before


def test_what_lies_beside_the_keys_from_before_the_register_is_taken_back_too(tmp_path: Path) -> None:
    keys = Keys.create(tmp_path / "keys")
    (tmp_path / "lock").touch()
    answered("issue", "--role", "member", "alice", data=tmp_path)
    first = (tmp_path / "creds" / "alice.creds").read_text()
    (tmp_path / "keys" / "access.jsonl").unlink()
    answered("issue", "--role", "member", "alice", data=tmp_path)
    second = (tmp_path / "creds" / "alice.creds").read_text()
    (tmp_path / "keys" / "access.jsonl").write_text("")
    found = tmp_path / "found.creds"
    found.write_text(first)
    assert answered("revoke", "alice", "--file", str(found), data=tmp_path)["revoked"] == 2
    assert keys.is_void(first)
    assert keys.is_void(second)
    assert not (tmp_path / "creds" / "alice.creds").exists()


def test_what_cannot_be_written_is_not_issued(tmp_path: Path) -> None:
    Keys.create(tmp_path / "keys")
    for nowhere in ("/proc/nothing/alice.creds", "/proc/alice.creds"):
        answered("issue", "--role", "member", "alice", "--out", nowhere, data=tmp_path, exit_code=1)
    assert answered("list", data=tmp_path) == []


def test_credentials_that_the_register_does_not_have_are_taken_back_by_their_file(tmp_path: Path) -> None:
    keys = Keys.create(tmp_path / "keys")
    (tmp_path / "lock").touch()
    found = tmp_path / "found.creds"
    found.write_text(keys.issue("member", "alice"))
    (tmp_path / "keys" / "access.jsonl").unlink()  # as after a restore of a backup from before
    refused = answered("revoke", "alice", data=tmp_path, exit_code=3)
    assert "give it with --file" in refused["sentence"]
    assert answered("revoke", "bob", "--file", str(found), data=tmp_path, exit_code=3)["code"] == "not-theirs"
    assert answered("revoke", "alice", "--file", str(found), data=tmp_path)["revoked"] == 1
    assert keys.is_void(found.read_text())


def test_a_second_role_is_refused_wherever_the_credentials_lie_and_is_not_entered(tmp_path: Path) -> None:
    Keys.create(tmp_path / "keys")
    (tmp_path / "lock").touch()
    elsewhere = ("--out", str(tmp_path / "alice.creds"))
    answered("issue", "--role", "member", "alice", *elsewhere, data=tmp_path)
    refused = answered("issue", "--role", "operator", "alice", data=tmp_path, exit_code=3)
    assert (refused["code"], refused["data"]) == ("another-role", {"role": "member"})
    answered("issue", "--role", "operator", "alice", *elsewhere, data=tmp_path, exit_code=3)
    assert [row["role"] for row in answered("list", data=tmp_path)] == ["member"]
    answered("revoke", "alice", data=tmp_path)
    answered("issue", "--role", "operator", "alice", data=tmp_path)


def test_of_two_roles_issued_at_once_a_principal_gets_one(tmp_path: Path) -> None:
    keys = Keys.create(tmp_path)

    def issue(number: int) -> str | None:
        role, name = ("member", "operator")[number % 2], f"person-{number // 8}"
        try:
            keys.issue(role, name)
        except AnotherRole:
            return None
        return f"{name} {role}"

    with ThreadPoolExecutor(8) as pool:
        issued = {given for given in pool.map(issue, range(400)) if given}
    assert len(issued) == 50
    assert {f"{each.principal} {each.role}" for each in keys.issued()} == issued


def test_nobody_is_called_as_those_who_make_backups(tmp_path: Path) -> None:
    Keys.create(tmp_path / "keys")
    said = answered("issue", "--role", "member", "keeper", data=tmp_path, exit_code=2)
    assert "backups are made under it" in said["sentence"]


def test_a_register_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    Keys.create(tmp_path / "keys")
    (tmp_path / "keys" / "access.jsonl").mkdir()
    for command in (("list",), ("revoke", "alice"), ("issue", "--role", "member", "alice")):
        said = answered(*command, data=tmp_path, exit_code=1)["sentence"]
        assert said == f"{tmp_path}/keys/access.jsonl cannot be used: Is a directory."


def test_where_nats_is_elsewhere_and_silent_it_is_noted_and_said(tmp_path: Path) -> None:
    keys = Keys.create(tmp_path / "keys")
    (tmp_path / "stack.json").write_text(json.dumps({"url": "nats://127.0.0.1:1"}))
    answered("issue", "--role", "member", "alice", data=tmp_path)
    said = answered("revoke", "alice", data=tmp_path, exit_code=1)["sentence"]
    assert said.startswith(
        "It is noted, but NATS does not know all of it yet: NATS does not answer at nats://127.0.0.1:1"
    )
    assert [each.revoked_at is not None for each in keys.issued()] == [True]
