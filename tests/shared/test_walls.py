"""Each wall of the house (``[tool.importlinter]`` in pyproject.toml) is broken once, in a copy, and must say so."""

import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Breach:
    """A line that must not stand in a file, the wall that forbids it, and what the lint must name."""

    wall: str
    file: str
    line: str
    named: str


BREACHES = [
    Breach("floors", "shared/refusal.py", "import deploy.cli", "shared.refusal -> deploy.cli"),
    Breach("floors", "shared/clock.py", "import services.events.tables", "shared.clock -> services.events.tables"),
    Breach("floors", "services/events/main.py", "import deploy.cli", "services.events.main -> deploy.cli"),
    Breach(
        "strangers",
        "services/events/store.py",
        "from services.membership import tables as theirs",
        "services.events.store -> services.membership.tables",
    ),
    Breach(
        "plain-rules",
        "services/membership/domain/steering_group.py",
        "import sqlalchemy",
        "services.membership.domain.steering_group -> sqlalchemy",
    ),
    Breach("plain-rules", "services/events/domain/__init__.py", "import nats", "services.events.domain -> nats"),
    Breach("plain-rules", "shared/contracts/events.py", "import asyncio", "shared.contracts.events -> asyncio"),
    Breach("plain-rules", "shared/refusal.py", "import faststream", "shared.refusal -> faststream"),
    Breach(
        "plain-rules",
        "shared/contracts/membership/network.py",
        "from opentelemetry import trace",
        "shared.contracts.membership.network -> opentelemetry",
    ),
    Breach(
        "pure-rules",
        "services/membership/domain/steering_group.py",
        "from shared import clock",
        "services.membership.domain.steering_group -> shared.clock",
    ),
    Breach(
        "pure-rules",
        "services/membership/domain/steering_group.py",
        "from uuid import uuid4",
        "services.membership.domain.steering_group -> uuid",
    ),
    Breach(
        "storeys",
        "services/benchmark/domain/__init__.py",
        "from services.benchmark import tables",
        "services.benchmark.domain -> services.benchmark.tables",
    ),
    Breach(
        "storeys",
        "services/benchmark/tables.py",
        "from services.benchmark import store",
        "services.benchmark.tables -> services.benchmark.store",
    ),
    Breach(
        "storeys",
        "services/benchmark/store.py",
        "from services.benchmark import handlers",
        "services.benchmark.store -> services.benchmark.handlers",
    ),
    Breach(
        "storeys",
        "services/benchmark/handlers/rounds.py",
        "from services.benchmark import main",
        "services.benchmark.handlers.rounds -> services.benchmark.main",
    ),
    Breach("storeys", "services/notifications/helpers.py", "", "- services.notifications.helpers"),
]


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the source tree and of the walls."""
    for package in ("services", "shared", "deploy"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(house: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "lint-imports"
    return subprocess.run([program, "--no-cache", "--no-logo"], cwd=house, capture_output=True, text=True, check=False)


def names_of_walls() -> dict[str, str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {wall["id"]: wall["name"] for wall in settings["tool"]["importlinter"]["contracts"]}


def test_the_house_as_it_stands_keeps_every_wall(house: Path) -> None:
    checked = lint(house)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    for name in names_of_walls().values():
        assert f"{name} KEPT" in " ".join(checked.stdout.split()), name


@pytest.mark.parametrize("breach", BREACHES, ids=lambda b: f"{b.file}: {b.line or 'a new module'}")
def test_a_breach_fails_the_lint_and_is_named(house: Path, breach: Breach) -> None:
    with (house / breach.file).open("a") as file:
        file.write(f"\n{breach.line}\n")
    checked = lint(house)
    said = " ".join(checked.stdout.split())
    assert checked.returncode == 1, checked.stdout + checked.stderr
    assert f"{names_of_walls()[breach.wall]} BROKEN" in said
    assert breach.named in said


def test_every_wall_is_breached_by_some_test() -> None:
    assert {breach.wall for breach in BREACHES} == set(names_of_walls())


# ---- what rules are made of ----------------------------------------------------------------------------------------

OF_THE_LIBRARY = {
    "calendar", "collections", "dataclasses", "datetime", "decimal", "fractions", "functools", "graphlib", "hashlib",
    "bisect", "itertools", "json", "math", "operator", "re", "statistics", "string", "types", "typing", "unicodedata",
    "zoneinfo",
}  # fmt: skip
OF_OTHERS = {"pydantic", "numpy", "icalendar", "rapidfuzz"}
"""Whoever adds one says why in docs/decisions."""


def impure(graph: grimp.ImportGraph) -> list[str]:
    """Imports of the domains that are neither pure parts of the library, nor packages named here, nor ours."""
    domains = [module for module in graph.modules if re.match(r"services\.\w+\.domain\b", module)]
    assert len(domains) > 40
    return [
        f"{module} imports {imported}"
        for module in sorted(domains)
        for imported in sorted(graph.find_modules_directly_imported_by(module))
        if imported.split(".")[0] not in {"services", "shared"} | OF_THE_LIBRARY | OF_OTHERS
    ]


def test_a_rule_is_made_of_nothing_that_knows_a_clock_or_the_world() -> None:
    graph = grimp.build_graph("services", "shared", include_external_packages=True)
    assert impure(graph) == []
    graph.add_module("httpx", is_squashed=True)
    graph.add_import(importer="services.events.domain.travel", imported="httpx")
    assert impure(graph) == ["services.events.domain.travel imports httpx"]


def test_nobody_asks_the_time_but_the_one_clock(house: Path) -> None:
    rule = house / "services" / "membership" / "domain" / "steering_group.py"
    rule.write_text(rule.read_text().replace("MAX_FTE = 6", "MAX_FTE = 6\nNOW = datetime.now()", 1))
    program = Path(sys.executable).parent / "ruff"
    checked = subprocess.run(
        [program, "check", "--no-cache", rule], cwd=house, capture_output=True, text=True, check=False
    )
    assert "TID251" in checked.stdout
    assert "shared.clock" in checked.stdout
