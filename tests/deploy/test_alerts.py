"""Alerts: tried by promtool, and held together with their runbooks, the table of metrics and the dashboards."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from deploy.cli import app

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = PROMETHEUS / "rules" / "concord.yml"
RUNBOOKS = ROOT / "docs" / "runbooks"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
IMAGE_REPOSITORY = "prom/prometheus"

Promtool = Callable[..., "subprocess.CompletedProcess[str]"]


def _run(*command: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, check=False)


@cache
def how_to_run_promtool() -> tuple[str, ...] | None:
    """promtool on PATH, or fetched by ``make prometheus``, or in an image that is here; nothing is pulled."""
    for place in (shutil.which("promtool"), ROOT / "build" / "promtool"):
        if place and os.access(place, os.X_OK):
            return (str(place),)
    if shutil.which("docker") is None:
        return None
    images = _run("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", IMAGE_REPOSITORY).stdout.split()
    if not images:
        return None
    alone = ("docker", "run", "--rm", "--network", "none")
    return (*alone, "--volume", f"{ROOT}:{ROOT}:ro", "--entrypoint", "promtool", images[0])


@pytest.fixture
def promtool() -> Promtool:
    how = how_to_run_promtool()
    if how is None:
        pytest.skip("THE ALERT RULES WERE NOT TRIED: there is no promtool; `make prometheus` fetches it on Debian")
    return lambda *words: _run(*how, *words)


def said_by(done: "subprocess.CompletedProcess[str]") -> str:
    return done.stdout + done.stderr


# ---- tried by promtool ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", sorted((PROMETHEUS / "tests").glob("*.yml")), ids=lambda path: path.stem)
def test_every_alert_fires_when_it_should_and_every_fault_raises_its_own_and_no_other(
    promtool: Promtool, file: Path
) -> None:
    tried = promtool("test", "rules", file)
    assert tried.returncode == 0, said_by(tried)


def test_prometheus_accepts_its_configuration(promtool: Promtool) -> None:
    checked = promtool("check", "config", "--syntax-only", PROMETHEUS / "prometheus.yml")
    assert checked.returncode == 0, said_by(checked)


def test_every_panel_asks_something_that_prometheus_understands(promtool: Promtool) -> None:
    rules = [{"record": f"panel:number_{number}", "expr": expr} for number, expr in enumerate(panel_expressions())]
    assert rules
    written = ROOT / "build" / "panels.yml"
    written.parent.mkdir(exist_ok=True)
    written.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    checked = promtool("check", "rules", written)
    assert checked.returncode == 0, said_by(checked)
    assert f"{len(rules)} rules found" in checked.stdout


# ---- held together -------------------------------------------------------------------------------------------------


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def panels(of: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for panel in of:
        yield panel
        yield from panels(panel.get("panels", []))


def panel_expressions() -> list[str]:
    """What the panels ask, with Grafana's variables put in."""
    values = {"$service": "membership", "$__rate_interval": "5m"}
    found = [
        target["expr"]
        for file in DASHBOARDS
        for panel in panels(json.loads(file.read_text())["panels"])
        for target in panel.get("targets", [])
    ]
    return [re.sub(r"\$\w+", lambda name: values[name[0]], expr) for expr in found]


def documented_metrics() -> set[str]:
    """The names of the table in docs/operating.md; a histogram has three series. Of the process there are many more."""
    rows = re.findall(
        r"^\| `((?:concord|messaging|db)_\w+)(?:\{[^}]*\})?` \| (\w+)",
        (ROOT / "docs" / "operating.md").read_text(),
        re.MULTILINE,
    )
    assert len(rows) > 15
    parts = {"histogram": ("_sum", "_count", "_bucket")}
    return {name + part for name, kind in rows for part in parts.get(kind, ("",))}


METRIC = re.compile(r"\b(?:concord|messaging|db)_\w+(?=[\s{)\[]|$)")


def metrics_in(expr: str) -> set[str]:
    without_labels = re.sub(r"\b(?:by|on|without|ignoring|group_left)\s*\([^)]*\)|\{[^}]*\}", " ", expr)
    return set(METRIC.findall(without_labels))


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_is_wrong_and_names_its_runbook(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"] == {"severity": rule["labels"]["severity"]}
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"].endswith(".")
    runbook = ROOT / rule["annotations"]["runbook_url"]
    assert runbook.parent == RUNBOOKS
    assert runbook.read_text().startswith(f"# {alert}\n")


def test_every_runbook_has_its_alert() -> None:
    named = {ROOT / rule["annotations"]["runbook_url"] for rule in ALERTS.values()}
    assert named == set(RUNBOOKS.glob("*.md"))


def test_every_alert_is_tried_by_itself_and_every_alert_but_of_wear_belongs_to_a_fault() -> None:
    alone, faults = ((PROMETHEUS / "tests" / name).read_text() for name in ("alerts.yml", "faults.yml"))
    assert {alert for alert in ALERTS if f"- name: {alert}," not in alone} == set()
    assert set(re.findall(r'alertname="(\w+)"', alone + faults)) == set(ALERTS)


def test_rules_and_dashboards_use_the_metrics_that_are_documented_and_no_others() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    known = documented_metrics()
    for expr in [*(rule["expr"] for rule in rules()), *panel_expressions()]:
        assert metrics_in(expr) <= known, expr
        assert set(re.findall(r"\bconcord:\w+", expr)) <= recorded, expr


def test_every_metric_that_is_documented_is_recorded_and_the_other_way_round() -> None:
    code = "".join((ROOT / "shared" / name).read_text() for name in ("metrics.py", "exposition.py"))
    recorded = re.findall(r'"((?:concord|db\.client|messaging\.client)\.[a-z_.]+)"', code)
    as_shown = {re.escape(name.replace(".", "_")) + "(_seconds)?(_total|_sum|_count|_bucket)?" for name in recorded}
    documented = documented_metrics()
    assert [name for name in as_shown if not any(re.fullmatch(name, each) for each in documented)] == []
    assert [each for each in documented if not any(re.fullmatch(name, each) for name in as_shown)] == []


def test_the_limit_of_memory_is_that_of_the_containers() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    limits = {compose["services"][name]["mem_limit"] for name in ("membership", "events", "benchmark", "notifications")}
    assert limits == {"512m"}
    assert "512 * 1024 * 1024" in ALERTS["ConcordMemoryNearLimit"]["expr"]


COMMAND = re.compile(r"\bconcord ([a-z][^`\n]*)")


@pytest.mark.parametrize("runbook", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_the_commands_of_a_runbook_are_there(runbook: Path) -> None:
    text = runbook.read_text()
    for said in COMMAND.findall(text):
        words = list(takewhile(re.compile(r"[a-z][a-z-]*").fullmatch, said.split()))
        options = re.findall(r"--[a-z-]+", said)
        shown = CliRunner(env={"COLUMNS": "400"}).invoke(app, [*words, "--help"])
        assert shown.exit_code == 0, f"concord {said}: {shown.output}"
        assert f"Usage: concord {' '.join(words)} " in shown.output.replace("root ", "concord "), said
        assert [each for each in options if each not in shown.output] == [], said


@pytest.mark.parametrize("runbook", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_a_runbook_has_every_part(runbook: Path) -> None:
    parts = re.findall(r"^(?:## |\*\*)([A-Z][^.*\n]+)", runbook.read_text(), re.MULTILINE)
    assert parts == ["Who notices", "Look first", "Mend", "Mended when", "Wake somebody"]
