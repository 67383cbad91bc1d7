"""The command line ``concord``: its help, what it refuses by itself, and what it says to people and to programs."""

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any, get_args

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from deploy.cli import app, options
from deploy.cli.output import cell, show
from shared.broker import principal_of
from shared.contracts.message import Message, contracts
from shared.identity import ROLES, SERVICES, Keys, write_creds

CONCORD = Path(sys.executable).parent / "concord"
AN_ID = "0190a6f0-0000-7000-8000-000000000000"
APPOINT = ("send", "membership", "appoint-steering-member")
SEATED = {"network": AN_ID, "person": AN_ID, "principal": "alice", "role": "lead", "fte": 0.5}
REQUESTS = [
    ("send" if contract.wire.kind == "command" else "ask", service, contract)
    for service in SERVICES
    for contract in [*contracts("command", service), *contracts("query", service)]
]


def concord(*arguments: str | Path, stdin: str = "") -> Result:
    """Runs the command line in this process, its output going into a pipe as it were."""
    return CliRunner(env={"COLUMNS": "400"}).invoke(
        app, [str(argument) for argument in arguments], input=stdin, catch_exceptions=False, prog_name="concord"
    )


def sent(*arguments: str | Path, data: Path, stdin: str = "") -> Result:
    """The same for something that gets as far as looking for a stack, which is none in this directory."""
    return concord(*arguments, "--data", data, stdin=stdin)


def nowhere(data: Path) -> str:
    return f"No stack is running here ({data.resolve()}): start one with `concord up --data {data}`."


def fields(contract: type[Message]) -> set[str]:
    return {f"--{name.replace('_', '-')}" for name in contract.model_fields}


# ---- help ----------------------------------------------------------------------------------------------------------


def test_the_version_is_said() -> None:
    said = concord("--version")
    assert (said.exit_code, said.stdout.strip()) == (0, version("concord"))


@pytest.mark.parametrize("after", [0.05, 0.2, 0.4])
def test_ctrl_c_ends_it_without_a_word_also_while_it_is_loading(after: float, tmp_path: Path) -> None:
    command = [CONCORD, "ask", "membership", "list-organisations", "--data", tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as asked:
        time.sleep(after)
        asked.send_signal(signal.SIGINT)
        said = "".join(asked.communicate(timeout=20))
    assert "Traceback" not in said
    assert asked.returncode in (-signal.SIGINT, 1, 130)


def test_help_names_every_group_and_command() -> None:
    said = concord("--help").stdout
    named = (
        "up demo send ask publish watch import dead-letters status top access contracts reconcile backup restore init"
    )
    for name in named.split():
        assert re.search(rf"^│ {name} ", said, re.MULTILINE), name


def test_the_commands_of_a_service_are_listed_with_what_they_do() -> None:
    said = concord("send", "membership", "--help").stdout
    for verb, service, contract in REQUESTS:
        assert ((verb, service) != ("send", "membership")) or contract.wire.name in said
    assert "Seats a person in a steering group" in said


@pytest.mark.parametrize(("verb", "service", "contract"), REQUESTS, ids=[c.wire.type for _, _, c in REQUESTS])
def test_each_field_of_a_contract_is_an_option(verb: str, service: str, contract: type[Message]) -> None:
    said = concord(verb, service, contract.wire.name, "--help")
    assert said.exit_code == 0
    for name, field in contract.model_fields.items():
        lines = [
            line for line in said.stdout.splitlines() if re.match(rf"│ --(field-)?{name.replace('_', '-')}[/ ]", line)
        ]
        assert len(lines) == 1, f"--{name} is not an option"
        assert ("[required]" in lines[0]) is field.is_required(), lines[0]


def test_the_help_of_a_field_says_its_type_and_meaning() -> None:
    said = concord(*APPOINT, "--help").stdout
    for option, type_, meaning in (
        ("--network", "UUID", "the umbrella network whose steering group it is"),
        ("--role", "lead|work-stream-lead", ""),
        ("--fte", "NUMBER", "full-time equivalents"),
    ):
        assert re.search(rf"{option} +{re.escape(type_)} +{meaning}", said), option


def test_the_help_says_what_stands_in_a_field_that_is_written_as_json() -> None:
    said = help_of("send", "membership", "register-network")
    office, _, umbrella = said.partition("--office takes JSON with")[2].partition("--umbrella takes JSON with")
    assert '- "place": TEXT town or city [required]' in office
    assert '- "region": CHOICE one of East Midlands, East of England,' in office
    assert '- "eligible": [CHOICE, …] types of home organisation' in umbrella
    assert "[default: 1/2]" in umbrella
    said = help_of("send", "benchmark", "submit-scores")
    assert re.search(r'--scores takes JSON, for each key \(.*B01.*\) an object with - "value": NUMBER', said)
    said = help_of("send", "membership", "split-organisation")
    assert "--networks takes JSON, for each key (UUID) a UUID" in said


def help_of(*command: str) -> str:
    return " ".join(concord(*command, "--help").stdout.split())


def test_an_unknown_command_or_field_is_a_wrong_use_and_gets_a_suggestion() -> None:
    for arguments, suggestion in (
        (("sned",), "Did you mean 'send'?"),
        (("send", "membership", "appoint-stering-member"), "'appoint-steering-member'"),
        ((*APPOINT, "--netwrok", AN_ID), "Possible options: --network"),
        (("dead-letters", "list", "--service", "memberships"), "'membership'"),
    ):
        said = concord(*arguments)
        assert said.exit_code == 2
        assert said.stdout == ""
        assert suggestion in said.stderr


def test_help_does_not_wait_for_what_speaks_to_nats() -> None:
    loaded = "import sys, deploy.cli; print({'nats', 'structlog', 'asyncio', 'sqlalchemy'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert said.stdout == "set()\n"


def test_services_and_roles_to_choose_from_are_those_there_are() -> None:
    assert get_args(options.ServiceName) == SERVICES
    assert set(get_args(options.RoleName)) == set(ROLES)


# ---- what the contract says, before anything is sent ---------------------------------------------------------------


def test_a_message_that_breaks_its_contract_is_refused_here_as_the_service_would(tmp_path: Path) -> None:
    said = sent(*APPOINT, "--network", "Cabinet Office", "--person", AN_ID, "--principal", "a", data=tmp_path)
    assert said.exit_code == 3
    assert said.stdout == ""
    assert "Refused: In appoint-steering-member, the field network is not in the right form" in said.stderr
    assert "a UUID in lower case" in said.stderr
    assert "fte is missing" in said.stderr


def test_json_is_one_reply_on_standard_output_whatever_the_outcome(tmp_path: Path) -> None:
    refused = sent(*APPOINT, "--fte", "2", "--json", data=tmp_path)
    assert (refused.exit_code, refused.stderr) == (3, "")
    reply = json.loads(refused.stdout)
    assert reply["outcome"] == "refused"
    assert reply["refusal"]["code"] == "invalid-fields"
    failed = sent("ask", "membership", "health", "--json", data=tmp_path)
    assert (failed.exit_code, failed.stderr) == (1, "")
    assert json.loads(failed.stdout)["failure"]["sentence"] == nowhere(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("sned",), "Did you mean 'send'?"),
        (("send", "membership"), "--json"),
        ((*APPOINT, "--netwrok", AN_ID), "--network"),
        ((*APPOINT, "--body", "{"), "that is not JSON"),
        (("dead-letters", "list", "--limit", "0"), "--limit"),
        (("dead-letters", "discard", AN_ID), "Missing option '--reason'"),
        (("import", "people-survey", __file__), "does not name one year"),
        (("watch", "a..b"), "is not a NATS subject"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_json_is_one_reply_also_when_the_command_line_is_wrong(arguments: tuple[str, ...], why: str) -> None:
    said = concord(*arguments, "--json")
    assert (said.exit_code, said.stderr) == (2, "")
    reply = json.loads(said.stdout)
    assert reply["outcome"] == "failed"
    assert why in reply["failure"]["sentence"]


def test_json_does_not_change_how_a_command_ends() -> None:
    for arguments in (("contracts", "--json"), ("contracts", "show", "appoint-steering-member", "--json")):
        said = subprocess.run([CONCORD, *arguments], capture_output=True, text=True, check=False)
        assert (said.returncode, said.stderr) == (0, "")
        assert json.loads(said.stdout)
    said = subprocess.run([CONCORD, "up", "--json", "--port"], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (2, "")
    assert "--port" in json.loads(said.stdout)["failure"]["sentence"]


@pytest.mark.parametrize(
    "arguments",
    [
        [f"--{name}={value}" for name, value in SEATED.items()],
        ["--body", json.dumps(SEATED)],
        ["--body", json.dumps(SEATED | {"fte": 3}), "--fte", "1"],
        ["--body", "-"],
        ["--body", "@payload.json"],
    ],
    ids=["options", "body", "options over a body", "standard input", "file"],
)
def test_a_payload_comes_from_options_a_text_a_file_or_standard_input(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("payload.json").write_text(json.dumps(SEATED))
    said = sent(*APPOINT, *arguments, data=tmp_path, stdin=json.dumps(SEATED))
    assert said.stderr.strip() == nowhere(tmp_path), "it went as far as looking for the stack"
    assert said.exit_code == 1


def test_a_body_that_cannot_be_read_is_a_wrong_use(tmp_path: Path) -> None:
    for body, why in (
        ("{", "not JSON"),
        ("[1]", "a JSON object"),
        (f"@{tmp_path}/nothing.json", "No such file"),
        (f"@{tmp_path}", "Is a directory"),
    ):
        said = sent(*APPOINT, "--body", body, data=tmp_path)
        assert said.exit_code == 2
        assert why in " ".join(said.stderr.split())


def test_nested_values_are_json_and_lists_may_be_given_one_by_one(tmp_path: Path) -> None:
    """Both reach the contract as the same list, and it names the entry that is wrong by its place."""
    measures = [{"code": "B01", "wording": "I am well", "unit": "%"}, {"code": "?", "wording": "…", "unit": "%"}]
    load = ("send", "benchmark", "load-instrument", "--name", "pulse", "--version", "1", "--title", "Pulse")
    one_by_one = [part for measure in measures for part in ("--measures", json.dumps(measure))]
    for arguments in (one_by_one, ["--measures", json.dumps(measures)]):
        said = sent(*load, *arguments, "--json", data=tmp_path)
        assert json.loads(said.stdout)["refusal"]["field"] == "measures.1.code"
    wrong = sent(*load, "--measures", "[{]", data=tmp_path)
    assert wrong.exit_code == 2
    assert "not JSON" in wrong.stderr


# ---- the stack that is meant ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("watch",),
        ("reconcile",),
        ("reconcile", "events"),
        ("dead-letters", "list"),
        ("dead-letters", "show", AN_ID),
        ("dead-letters", "replay", AN_ID),
        ("dead-letters", "discard", AN_ID, "--reason", "no longer needed"),
        ("access", "issue", "--role", "member", "alice"),
        ("ask", "events", "health"),
        ("send", "benchmark", "reconcile"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_where_no_stack_is_running_it_says_how_to_start_one(arguments: tuple[str, ...], tmp_path: Path) -> None:
    said = sent(*arguments, data=tmp_path)
    assert (said.exit_code, said.stdout) == (1, "")
    assert said.stderr.strip() == nowhere(tmp_path)


def test_a_stack_that_has_ended_is_not_running_either(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text(json.dumps({"url": "nats://127.0.0.1:1"}))
    (tmp_path / "lock").touch()
    Keys.create(tmp_path / "keys")
    assert sent("access", "issue", "--role", "operator", "operator", data=tmp_path).exit_code == 0
    said = sent("status", data=tmp_path)
    assert (said.exit_code, said.stderr.strip()) == (1, nowhere(tmp_path))


def test_where_the_platform_runs_elsewhere_it_says_where_nats_was_looked_for(tmp_path: Path) -> None:
    """As an operator's directory with Docker Compose: the name is not even known while NATS is stopped."""
    (tmp_path / "stack.json").write_text(json.dumps({"url": "nats://nats.invalid:4222"}))
    said = sent("status", data=tmp_path)
    assert (said.exit_code, said.stdout) == (1, "")
    assert said.stderr.strip() == "NATS does not answer at nats://nats.invalid:4222: is it running?"


def test_a_stack_whose_nats_does_not_answer_is_not_said_to_be_gone(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text(json.dumps({"url": "nats://127.0.0.1:1"}))
    with (tmp_path / "lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711")
        lock.flush()
        said = sent("status", data=tmp_path)
    assert said.exit_code == 1
    assert said.stderr.startswith(f"A stack runs here ({tmp_path}, process 4711), but its NATS server does not answer")


def test_the_data_directory_comes_from_the_environment_when_it_is_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONCORD_DATA", str(tmp_path))
    assert concord("status").stderr.strip() == nowhere(tmp_path)
    monkeypatch.delenv("CONCORD_DATA")
    monkeypatch.chdir(tmp_path)
    assert concord("status").stderr.strip() == nowhere(Path(".concord"))


def test_a_report_that_could_not_be_written_ends_the_demonstration_before_it_begins() -> None:
    said = concord("demo", "--report", "/proc/nothing")
    assert (said.exit_code, said.stdout) == (2, "")
    assert "/proc/nothing cannot be written" in said.stderr


def test_a_stack_that_is_stopped_as_soon_as_it_says_that_it_is_ready_was_ready(tmp_path: Path) -> None:
    with subprocess.Popen([CONCORD, "up", "--data", tmp_path], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as up:
        assert up.stdout is not None
        assert up.stdout.readline().startswith(b"Concord is ready")
        up.send_signal(signal.SIGINT)
        _, said = up.communicate(timeout=60)
    assert (up.returncode, said) == (0, b"Stopped.\n")


def test_a_directory_with_something_else_in_it_is_pointed_out(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("")
    (tmp_path / "nats.conf").mkdir()  # so that it does not start
    assert "diary" not in (said := sent("up", data=tmp_path)).stdout
    assert f"{tmp_path} is not empty, and no stack has run there yet" in said.stderr


def test_what_is_no_subject_cannot_be_watched(tmp_path: Path) -> None:
    for subject in ("", "foo bar", "a..b", ".a", "a.", "a.>.b", "a>", "a*.b"):
        said = sent("watch", subject, data=tmp_path)
        assert (said.exit_code, said.stdout) == (2, ""), subject
        assert f"'{subject}' is not a NATS subject" in " ".join(said.stderr.split())
    for subject in ("a", "*.v1.event.>", ">", "$JS.API.>"):
        assert sent("watch", subject, data=tmp_path).stderr.strip() == nowhere(tmp_path)


def test_a_file_is_no_directory_of_a_stack(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("")
    for command in (("up",), ("status",), ("demo",)):
        said = sent(*command, data=file)
        assert (said.exit_code, said.stdout) == (2, "")
        assert "is a file" in said.stderr
    said = sent("up", data=file / "below")
    assert (said.exit_code, said.stderr) == (1, f"{file / 'below'} cannot be used: Not a directory.\n")


@pytest.mark.parametrize(
    "described", ['{"url": "nats://127.0.0.1:42', "[]", "{}", '{"port": "soon"}', '{"port": 70000}', b"\xff"]
)
def test_a_damaged_description_of_the_stack_is_named_with_what_to_do(tmp_path: Path, described: str | bytes) -> None:
    file = tmp_path / "stack.json"
    file.write_bytes(described if isinstance(described, bytes) else described.encode())
    said = sent("up", data=tmp_path)
    assert (said.exit_code, said.stdout) == (1, "")
    assert said.stderr.startswith(f"{file} does not say on which port NATS listened")
    assert said.stderr.endswith("Delete it, so that a port is chosen anew.\n")


def test_keys_and_credentials_that_are_damaged_are_named_when_the_stack_starts(tmp_path: Path) -> None:
    keys = Keys.create(tmp_path / "keys")
    write_creds(tmp_path / "creds" / "operator.creds", "not those")
    said = sent("up", data=tmp_path)
    assert (said.exit_code, said.stdout) == (1, "")
    file = tmp_path / "creds" / "operator.creds"
    assert said.stderr == f"{file} is not a credentials file: it holds no NATS user JWT that names a principal.\n"
    strange = Keys.create(tmp_path / "of others").issue("operator", "operator")
    write_creds(tmp_path / "creds" / "operator.creds", strange)
    assert "does not accept the credentials of operator" in sent("up", data=tmp_path).stderr
    write_creds(tmp_path / "creds" / "operator.creds", keys.issue("operator", "operator"))
    (tmp_path / "keys" / "account.nk").write_text("not this one")
    assert f"The key {tmp_path}/keys/account.nk cannot be read" in sent("up", data=tmp_path).stderr


# ---- access --------------------------------------------------------------------------------------------------------


def test_issued_credentials_are_those_of_the_principal_and_for_its_owner_alone(tmp_path: Path) -> None:
    Keys.create(tmp_path / "keys")
    out = tmp_path / "elsewhere" / "hr.creds"
    said = sent("access", "issue", "--role", "publisher", "hr-system", "--out", out, "--json", data=tmp_path)
    assert json.loads(said.stdout)["answer"] == {"principal": "hr-system", "role": "publisher", "file": str(out)}
    assert principal_of(out) == "hr-system"
    assert out.stat().st_mode & 0o077 == 0


def test_a_name_that_cannot_be_a_principal_gets_no_credentials(tmp_path: Path) -> None:
    Keys.create(tmp_path / "keys")
    for name, role, why in (
        ("a.b", "member", "one word of a subject"),
        ("membership", "operator", "cannot have the role"),
        ("operator", "member", "cannot have the role"),
    ):
        said = sent("access", "issue", "--role", role, name, data=tmp_path)
        assert said.exit_code == 2
        assert why in said.stderr
    assert not (tmp_path / "creds").exists()


def test_nobody_gets_a_second_role_and_no_file_of_somebody_else_is_overwritten(tmp_path: Path) -> None:
    Keys.create(tmp_path / "keys")
    creds = tmp_path / "creds"
    for role, name in (("operator", "operator"), ("member", "alice"), ("member", "alice")):
        assert sent("access", "issue", "--role", role, name, data=tmp_path).exit_code == 0
    (tmp_path / "diary.txt").write_text("Dear diary")
    before = {path: path.read_bytes() for path in (*creds.iterdir(), tmp_path / "diary.txt")}
    for arguments, said_is in (
        (("operator", "alice"), f"{creds}/alice.creds holds credentials of alice as member."),
        (("operator", "alice", "--out", tmp_path / "new.creds"), f"{creds}/alice.creds holds credentials of alice"),
        (("member", "bob", "--out", creds / "operator.creds"), f"{creds}/operator.creds holds credentials of operator"),
        (("member", "bob", "--out", tmp_path / "diary.txt"), f"{tmp_path}/diary.txt holds no credentials of this"),
    ):
        role, *rest = arguments
        said = sent("access", "issue", "--role", role, *rest, data=tmp_path)
        assert (said.exit_code, said.stdout) == (3, "")
        assert said_is in said.stderr
    assert {path: path.read_bytes() for path in (*creds.iterdir(), tmp_path / "diary.txt")} == before
    assert not (tmp_path / "new.creds").exists()


# ---- contracts -----------------------------------------------------------------------------------------------------


def test_the_contracts_are_listed_and_shown() -> None:
    listed = json.loads(concord("contracts", "--json").stdout)["answer"]
    subjects = {contract["subject"] for contract in listed}
    assert "membership.v1.command.appoint-steering-member.{principal}" in subjects
    assert "{service}.v1.query.health.{principal}" in subjects
    for name in ("appoint-steering-member", "membership.appoint-steering-member"):
        schema = json.loads(concord("contracts", "show", name).stdout)
        assert schema["$id"] == "urn:concord:schema:concord.membership.appoint-steering-member.v1"
    said = concord("contracts", "show", "appoint-stearing-member")
    assert said.exit_code == 1
    assert "Did you mean" in said.stderr


def test_the_published_contracts_can_be_written_anywhere(tmp_path: Path) -> None:
    said = concord("contracts", "write", "--to", tmp_path)
    assert said.exit_code == 0
    assert json.loads((tmp_path / "asyncapi.json").read_text())["asyncapi"] == "3.0.0"
    assert concord("contracts", "write", "--to", tmp_path).stdout == ""
    (tmp_path / "asyncapi.json").unlink()
    said = concord("contracts", "write", "--to", tmp_path, "--json")
    assert json.loads(said.stdout)["answer"]["changed"] == ["asyncapi.json"]


# ---- people and programs -------------------------------------------------------------------------------------------


def run_on_a_terminal(*arguments: str) -> str:
    """What the program writes to a terminal."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [CONCORD, *arguments], stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm"}
    ):
        os.close(slave)
        written = b""
        try:
            while part := os.read(master, 65536):
                written += part
        except OSError:
            pass  # Linux says so when the other end is closed
    os.close(master)
    return written.decode()


def test_colours_are_for_a_terminal_and_a_pipe_gets_plain_lines(tmp_path: Path) -> None:
    arguments = ["send", "membership", "appoint-steering-member", "--fte", "2", "--data", str(tmp_path)]
    assert "\x1b[" in run_on_a_terminal(*arguments)
    piped = subprocess.run([CONCORD, *arguments], capture_output=True, text=True, check=False)
    assert piped.returncode == 3
    assert "\x1b[" not in piped.stdout + piped.stderr
    assert piped.stderr.startswith("Refused: ")


def test_lists_within_rows_are_tables_of_their_own() -> None:
    console = Console(file=StringIO(), width=80)
    show([{"group": "one", "seats": [{"role": "lead"}, {"role": "co-lead"}]}, {"group": "two", "seats": []}], console)
    lines = [line.strip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert [line for line in lines if line and set(line) != {"─"}] == [
        "group  one", "seats", "role", "lead", "co-lead", "group  two", "seats  none",
    ]  # fmt: skip


def test_any_plain_value_has_a_line_of_text() -> None:
    cases: list[tuple[Any, str]] = [
        (None, "—"),
        (True, "yes"),
        ([], "none"),
        (["a", 2], "a, 2"),
        ({"kept_at": "now", "count": None}, "kept at: now, count: —"),
        ([{"a": 1}, {"b": [1, 2]}], "a: 1; b: 1, 2"),
    ]
    for value, text in cases:
        assert cell(value) == text
