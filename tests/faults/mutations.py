"""Is the harness worth anything? ``python -m tests.faults.mutations``, or ``make mutations``.

Breaks what the platform relies on, one thing at a time and in a copy of the code, and shows that the harness finds it.
Each part of the harness first has to pass on a copy that is whole. Exit code 1 if something broken was not found.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

ROOT = Path(__file__).parents[2]
COPIED = ("services", "shared", "deploy", "tests", "pyproject.toml")
WITHIN = 400
"""Seconds a part of the harness may take."""

PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header", "tests/faults/test_deliveries.py", "-k")
DUPLICATES = (*PYTEST, "said_three_times")
ORDER = (*PYTEST, "in_any_order and sqlite")
POISON = (*PYTEST, "poison and sqlite")
KILLS = ("-m", "tests.faults.run", "--seed", "1", "--round", "0", "--kills", "46")


@dataclass(frozen=True)
class Mutation:
    """Something to break: in each file a text that must be there exactly once, and what stands there instead."""

    name: str
    changes: Sequence[tuple[str, str, str]]
    part: tuple[str, ...]
    """The part of the harness that is to find it: what Python is started with."""
    sign: str
    """What it says then."""


_LATER = "outbox.LATER.extend(agreed.messages)"

MUTATIONS = (
    Mutation(
        "the inbox: a repeated message is not recognised",
        (
            ("shared/transaction.py", "self._seen.get(arrival.key)) is not None", 'self._seen.get("")) is not None'),
            ("shared/inbox.py", "    insert(connection, INBOX, rows)", "    upsert(connection, INBOX, rows)"),
        ),
        DUPLICATES,
        "carried out once: ",
    ),
    Mutation(
        "the outbox: events are recorded after the commit and not with it",
        (
            ("shared/outbox.py", "def record(", "LATER = []\n\n\ndef record("),
            ("shared/unit_of_work.py", "self.recorded += outbox.record(self.connection, agreed.messages)", _LATER),
            (
                "shared/loop.py",
                '        fault_point("after-commit")\n',
                '        fault_point("after-commit")\n'
                "        from shared import outbox\n"
                "        from shared.database import writing\n\n"
                "        with writing(self._engine) as connection:\n"
                "            while outbox.LATER:\n"
                "                outbox.record(connection, [outbox.LATER.pop(0)])\n",
            ),
        ),
        KILLS,
        "and caused {}",
    ),
    Mutation(
        "the sequence: events are handled in the order in which they come",
        (
            (
                "shared/transaction.py",
                "        if sequence > last + 1:\n"
                "            self._early[key, sequence] = arrival\n"
                "        elif sequence == last + 1:\n",
                "        if sequence != last:\n",
            ),
        ),
        ORDER,
        "were handled in the order",
    ),
    Mutation(
        "dead letters: a message is given up without being kept",
        (("shared/transaction.py", "    letter = dead_letters.keep(\n", '    letter = (lambda _, row: row["id"])(\n'),),
        POISON,
        "dead letters, ",
    ),
)

console = Console()


def main() -> None:
    """Breaks one thing at a time, and shows that the harness finds it."""
    table = Table("broken", "found by", title="Mutations")
    missed = 0
    with tempfile.TemporaryDirectory(prefix="concord-mutations-") as directory:
        for part in dict.fromkeys(mutation.part for mutation in MUTATIONS):
            with console.status(f"nothing broken: {_said(part)}"):
                code, output = _run(part, _copy(Path(directory) / "whole"))
            if code:
                console.print(f"[red]With nothing broken, {_said(part)} fails:[/]\n{escape(output)}", soft_wrap=True)
                raise typer.Exit(1)
        for mutation in MUTATIONS:
            copy = _copy(Path(directory) / "broken")
            for file, old, new in mutation.changes:
                _replace(copy / file, old, new)
            with console.status(mutation.name):
                code, output = _run(mutation.part, copy)
            signs = [line.strip() for line in output.splitlines() if mutation.sign in line]
            if code and signs:
                table.add_row(mutation.name, f"{_said(mutation.part)}: {escape(signs[0][:200])}")
            else:
                missed += 1
                table.add_row(f"[red]{mutation.name}[/]", f"[red]not by {_said(mutation.part)}[/]")
                console.print(escape(output[-3000:]), soft_wrap=True)
    console.print(table)
    raise typer.Exit(1 if missed else 0)


def _copy(to: Path) -> Path:
    """The code as it is now."""
    shutil.rmtree(to, ignore_errors=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copy(ROOT / name, to / name)
    return to


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    if text.count(old) != 1:
        raise SystemExit(
            f"{file.relative_to(file.parents[1])} has {text.count(old)} times, and should have once:\n{old}\n"
            "The code has changed: say anew in tests/faults/mutations.py how to break it."
        )
    file.write_text(text.replace(old, new))


def _run(part: Sequence[str], copy: Path) -> tuple[int, str]:
    command = [sys.executable, "-W", "ignore", *part]
    ran = subprocess.run(
        command, cwd=copy, timeout=WITHIN, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return ran.returncode, ran.stdout


def _said(part: Sequence[str]) -> str:
    return " ".join(part[1:] if part is KILLS else part[-3:])


if __name__ == "__main__":
    typer.run(main)
