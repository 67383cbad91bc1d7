"""The command line ``concord`` on a running local stack."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from deploy.cli import app
from deploy.cli.wire import new_id
from shared.identity import SERVICES

CONCORD = Path(sys.executable).parent / "concord"
UNKNOWN = "0190a6f0-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of a stack that ``concord up`` runs; Ctrl-C ends it cleanly, which is checked too."""
    directory = tmp_path_factory.mktemp("stack")
    with subprocess.Popen(
        [CONCORD, "up", "--data", directory], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as up:
        assert up.stdout is not None
        ready = up.stdout.readline()
        if not ready:
            pytest.fail(f"concord up did not start: {up.communicate()[1]}")
        assert ready.startswith("Concord is ready at nats://127.0.0.1:")
        yield directory
        up.send_signal(signal.SIGINT)
        _, said = up.communicate(timeout=60)
        assert (up.returncode, said.strip()) == (0, "Stopped.")


def concord(*arguments: str | Path, data: Path) -> Result:
    return CliRunner().invoke(
        app, [*(str(argument) for argument in arguments), "--data", str(data)], catch_exceptions=False
    )


def reply(*arguments: str | Path, data: Path) -> dict[str, Any]:
    """The one JSON document on standard output, which is a reply."""
    said = concord(*arguments, "--json", data=data)
    parsed: dict[str, Any] = json.loads(said.stdout)
    codes = {"done": 0, "answered": 0, "refused": 3, "failed": 1}
    assert said.exit_code == codes[parsed["outcome"]], said.stdout
    return parsed


def council(name: str) -> list[str]:
    key = name.lower().replace(" ", "-")
    return ["send", "membership", "register-organisation", "--key", key, "--name", name, "--type", "council"]


def member(name: str, stack: Path) -> list[str]:
    """A member with credentials, as the option that names it."""
    assert concord("access", "issue", "--role", "member", name, data=stack).exit_code == 0
    return ["--as", name]


def test_every_service_is_ready(stack: Path) -> None:
    said = concord("status", data=stack)
    assert said.exit_code == 0, said.output
    for service in SERVICES:
        assert service in said.stdout
    answered = reply("status", data=stack)["answer"]
    assert [(row["service"], row["ready"]) for row in answered] == [(service, True) for service in SERVICES]


def test_whoever_watches_is_told_when_access_is_taken_back(stack: Path) -> None:
    member("leaver", stack)
    with subprocess.Popen(
        [CONCORD, "watch", "--as", "leaver", "--data", stack], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stderr is not None
        assert watching.stderr.readline().startswith("Watching")
        said = concord("access", "revoke", "leaver", data=stack)
        assert said.stdout.startswith("Access is taken back from leaver: all that the register has of it is void. ")
        assert said.stdout.strip().endswith("concord send notifications end-mailbox-of --subscriber leaver")
        _, told = watching.communicate(timeout=20)
    assert watching.returncode == 1
    assert told.strip() == "NATS ended the connection of leaver for good (nats: user authentication revoked)."
    assert concord("status", data=stack).exit_code == 0


def test_a_second_stack_in_the_same_directory_is_not_started(stack: Path) -> None:
    said = concord("up", data=stack)
    assert said.exit_code == 1
    assert "A stack runs in" in said.stderr


def test_a_command_is_done_and_its_effect_can_be_asked_for(stack: Path) -> None:
    said = concord(*council("Leeds City Council"), data=stack)
    assert said.exit_code == 0, said.stderr
    assert said.stdout.startswith("Done: organisation-registered. Its id is ")
    assert "Leeds City Council" in concord("ask", "membership", "list-organisations", data=stack).stdout


def test_the_story_of_an_organisation_can_be_read_by_an_operator(stack: Path) -> None:
    id_ = reply(*council("Derby City Council"), data=stack)["done"]["id"]
    ask = ["ask", "membership", "show-history", "--aggregate"]
    [line] = reply(*ask, id_, data=stack)["answer"]["happened"]
    assert (line["sequence"], line["event"], line["principal"]) == (1, "organisation-registered", "operator")
    assert line["data"]["name"] == "Derby City Council"
    assert "organisation-registered" in concord(*ask, id_, data=stack).stdout
    assert reply(*ask, UNKNOWN, data=stack)["refusal"]["code"] == "unknown-aggregate"
    assert reply(*ask, id_, "--as-of", "2020-01-01T00:00:00Z", data=stack)["refusal"]["code"] == "unknown-aggregate"
    derek = member("derek", stack)
    assert reply(*ask, id_, *derek, data=stack)["refusal"]["code"] == "not-permitted"


def test_a_command_repeated_with_its_id_is_carried_out_once(stack: Path) -> None:
    command = [*council("York Council"), "--id", new_id()]
    first, again = reply(*command, data=stack), reply(*command, data=stack)
    assert first["outcome"] == "done"
    assert again == first
    listed = reply("ask", "membership", "list-organisations", data=stack)["answer"]["organisations"]
    assert [row["name"] for row in listed].count("York Council") == 1


def test_a_refusal_of_the_service_is_a_sentence_and_exit_code_three(stack: Path) -> None:
    said = concord("send", "benchmark", "close-round", "--round", UNKNOWN, data=stack)
    assert (said.exit_code, said.stdout) == (3, "")
    assert said.stderr.startswith("Refused: ")
    refused = reply("send", "benchmark", "close-round", "--round", UNKNOWN, data=stack)
    assert refused["refusal"]["sentence"] in said.stderr


def test_a_member_may_ask_but_not_do_what_is_for_operators(stack: Path) -> None:
    alice = member("alice", stack)
    assert reply("ask", "membership", "list-networks", *alice, data=stack)["outcome"] == "answered"
    for command in (council("Hull Council"), ["send", "events", "reconcile"]):
        refused = reply(*command, *alice, data=stack)
        assert refused["refusal"]["code"] == "not-permitted"
        assert "alice may not publish to" in refused["refusal"]["sentence"]
        assert "--as" in refused["refusal"]["sentence"]
    for command in (["reconcile"], ["dead-letters", "list"], ["dead-letters", "replay", UNKNOWN]):
        said = concord(*command, *alice, data=stack)
        assert (said.exit_code, said.stdout) == (3, "")
        assert said.stderr.startswith("Refused: Not permitted: alice may not publish to")
        assert reply(*command, *alice, data=stack)["refusal"]["code"] == "not-permitted"


def test_who_may_not_ask_how_the_services_are_hears_that_and_not_that_they_are_unwell(stack: Path) -> None:
    assert concord("access", "issue", "--role", "publisher", "hr-system", data=stack).exit_code == 0
    refused = reply("status", "--as", "hr-system", data=stack)
    assert "hr-system may not ask the services how they are" in refused["refusal"]["sentence"]


def test_credentials_that_are_not_there_are_said_beside_those_that_are(stack: Path) -> None:
    member("carol", stack)
    said = concord("status", "--as", "dave", data=stack)
    assert said.exit_code == 1
    assert "There are no credentials of dave" in said.stderr
    assert "carol" in said.stderr


def test_watching_shows_what_happens_as_it_happens(stack: Path) -> None:
    with subprocess.Popen(
        [CONCORD, "watch", "membership.v1.event.>", "--count", "1", "--json", "--data", stack],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stderr is not None
        assert watching.stderr.readline().startswith("Watching membership.v1.event.>")
        done = reply(*council("Bath Council"), data=stack)["done"]
        heard = json.loads(watching.communicate(timeout=30)[0])
    assert heard["subject"] == f"membership.v1.event.organisation-registered.{done['id']}"
    assert heard["message"]["data"]["name"] == "Bath Council"
    assert watching.returncode == 0


def test_watching_ends_with_ctrl_c(stack: Path) -> None:
    with subprocess.Popen([CONCORD, "watch", "--data", stack], stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stderr is not None
        assert "notifications.v1.delivery.>" in watching.stderr.readline()
        watching.send_signal(signal.SIGINT)
        assert watching.wait(timeout=30) == 0


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_watching_ends_quietly_when_nobody_reads_on(stack: Path, as_json: list[str]) -> None:
    with subprocess.Popen(
        [CONCORD, "watch", *as_json, "--data", stack], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        watching.stderr.readline()
        watching.stdout.close()
        reply(*council(f"Truro Council {len(as_json)}"), data=stack)
        assert watching.stderr.read() == ""
        assert watching.wait(timeout=30) == 1


def test_what_is_not_answered_in_time_is_said_with_what_can_be_done(stack: Path) -> None:
    pids = subprocess.run(["pgrep", "-f", "services.events.main"], capture_output=True, text=True, check=True)
    mine = next(pid for pid in map(int, pids.stdout.split()) if str(stack) in Path(f"/proc/{pid}/environ").read_text())
    os.kill(mine, signal.SIGSTOP)
    try:
        asked = concord("ask", "events", "list-venues", "--timeout", "0.5", data=stack)
        assert asked.stderr.endswith("within 0.5 s. Ask again.\n")
        lifted = concord(
            "send", "events", "lift-blackout", "--blackout", UNKNOWN, "--timeout", "0.5", "--id", "mine", data=stack
        )
        assert lifted.stderr.endswith("send it again with the same message id, --id mine.\n")
        repeated = concord("reconcile", "events", "--timeout", "0.5", data=stack)
        assert repeated.stderr.endswith("to do it once more does no harm.\n")
    finally:
        os.kill(mine, signal.SIGCONT)
    assert reply("ask", "events", "health", data=stack)["outcome"] == "answered"


def test_a_member_watches_what_they_are_told_and_nothing_else(stack: Path) -> None:
    as_bob = member("bob", stack)
    said = concord("watch", "membership.v1.event.>", *as_bob, data=stack)
    assert said.exit_code == 3
    assert "bob may not read membership.v1.event.>" in said.stderr
    assert reply("send", "notifications", "subscribe", "--topic", "membership", *as_bob, data=stack)["done"]
    with subprocess.Popen(
        [CONCORD, "watch", "--count", "1", *as_bob, "--data", stack],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stderr is not None
        assert watching.stderr.readline() == "Watching notifications.v1.delivery.bob.>. Ctrl-C stops.\n"
        organisation = reply(*council("Wells Council"), data=stack)["done"]["id"]
        network = ["send", "membership", "register-network", "--name", "Wells staff network", "--reach", "local"]
        reply(*network, "--organisation", organisation, data=stack)
        heard = watching.communicate(timeout=30)[0]
    assert heard[8:].strip() == (
        "notifications.v1.delivery.bob.membership  Wells staff network is registered as a network.  "
        "You subscribed to membership."
    )


def test_a_publisher_hears_that_its_message_was_taken_or_why_it_was_refused(stack: Path) -> None:
    assert concord("access", "issue", "--role", "publisher", "register-of-wales", data=stack).exit_code == 0
    publish = ["publish", "organisation-listed", "--as", "register-of-wales"]
    row = {"key": "cadw", "name": "Cadw", "format": "Executive agency"}
    published = ["--organisation", json.dumps(row), "--wait", "3"]
    answer = reply(*publish, *published, data=stack)["answer"]
    assert (answer["stream"], answer["taken_before"], answer["unrefused_for_seconds"]) == ("INBOUND", False, 3)
    said = concord(*publish, *published, "--id", answer["id"], data=stack)
    assert said.stdout == (
        f"The stream INBOUND had taken a message with the id {answer['id']} before; it is not published again.\n"
    )
    said = concord(*publish, "--organisation", json.dumps(row), "--id", UNKNOWN, "--wait", "0.5", data=stack)
    assert said.stdout == (
        f"Taken by the stream INBOUND with the id {UNKNOWN}, and not refused within 0.5 s. "
        "The service it is for handles it in its own time.\n"
    )
    assert "Cadw" in concord("ask", "membership", "list-organisations", "--limit", "500", data=stack).stdout
    wrong = ["--organisation", json.dumps(row | {"name": ""}), "--wait", "30"]
    refused = reply(*publish, *wrong, data=stack)
    assert refused["outcome"] == "refused"
    assert "name" in refused["refusal"]["sentence"]


def test_nobody_but_a_publisher_publishes(stack: Path) -> None:
    row = json.dumps({"key": "cadw", "name": "Cadw", "format": "Executive agency"})
    refused = reply("publish", "organisation-listed", "--as", "operator", "--organisation", row, data=stack)
    assert "operator may not publish to inbound.v1.operator.organisation-listed" in refused["refusal"]["sentence"]


def test_there_are_no_dead_letters_and_an_unknown_one_is_refused(stack: Path) -> None:
    assert reply("dead-letters", "list", data=stack)["answer"] == {"total": 0, "letters": []}
    for command in (["show"], ["replay"], ["discard", "--reason", "gone"], ["show", "--service", "events"]):
        refused = reply("dead-letters", *command, UNKNOWN, data=stack)
        assert refused["outcome"] == "refused", refused
    assert reply("dead-letters", "replay", UNKNOWN, data=stack)["refusal"]["sentence"].startswith("No service holds")


def test_nothing_is_lost_so_reconciling_sends_nothing_again(stack: Path) -> None:
    said = concord("reconcile", data=stack)
    assert said.exit_code == 0, said.stderr
    assert said.stdout.splitlines() == [f"{service}: nothing was lost" for service in SERVICES]
    assert reply("reconcile", "membership", data=stack)["outcome"] == "done"


def test_a_register_of_organisations_is_taken_in_once_and_a_second_time_changes_nothing(
    stack: Path, real_data: Path
) -> None:
    file = real_data / "govuk_organisations_2026.csv"
    before = reply("ask", "membership", "list-organisations", data=stack)["answer"]["total"]
    first = reply("import", "organisations", file, data=stack)
    assert first["outcome"] == "done"
    assert reply("ask", "membership", "list-organisations", data=stack)["answer"]["total"] == before + 663
    assert reply("import", "organisations", file, data=stack)["done"]["events"] == []


def test_a_survey_file_is_taken_in_once_and_a_second_time_changes_nothing(stack: Path, real_data: Path) -> None:
    file = real_data / "people_survey_2023_organisations.csv"
    first = reply("import", "people-survey", file, data=stack)
    again = reply("import", "people-survey", file, data=stack)
    assert "scores-imported" in first["done"]["events"]
    assert again["done"] == {**first["done"], "events": [], "counts": again["done"]["counts"]}
    rounds = reply("ask", "benchmark", "list-rounds", data=stack)["answer"]["rounds"]
    assert [(row["label"], row["state"]) for row in rounds] == [("2023", "closed")]
    assert first["comparison"]["reproduced"] >= 99
    said = concord("import", "people-survey", file, data=stack).stdout
    assert "of 119 published medians are reproduced to three decimals from 103 organisations." in said
    assert "organisations' scores are suppressed in this file" in said


def test_a_file_that_is_no_survey_is_refused_with_its_lines(stack: Path, tmp_path: Path) -> None:
    file = tmp_path / "survey_2024.csv"
    file.write_text("name,score\nA body,12\n")
    said = concord("import", "people-survey", file, data=stack)
    assert said.exit_code == 3
    assert "Line 1, column 1" in said.stderr
