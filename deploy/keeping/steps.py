"""What a migration does to the version that still runs: read from its source, without carrying it out.

A step that only adds (a table, an index, a column that may be empty) leaves the version before it at work. One that
takes away, or demands what that version does not give, is for when nothing uses it any more: it says since which step
that is, in ``UNUSED_SINCE``.
"""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shared import loop_migrations, migration

HARMLESS = {
    "create_table",
    "create_index",
    "add_column",
    "batch_alter_table",
    "execute",
    "bulk_insert",
    "f",
    "get_bind",
}
"""Of Alembic's operations those that a step which only adds is made of. What is executed is for people to look at."""
UNUSED_SINCE = "UNUSED_SINCE"


@dataclass(frozen=True)
class Step:
    """One migration: its number, what it is about, and what of it a version before it would notice."""

    number: str
    about: str
    disturbs: tuple[str, ...]
    unused_since: str | None
    tables: tuple[str, ...] = field(default=())
    """Those that were there before, and are changed."""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.number} {self.about}"

    @property
    def is_additive(self) -> bool:
        """Whether the version before it goes on working."""
        return not self.disturbs or self.unused_since is not None


def pending(service: str, level: str | None) -> list[Step]:
    """The steps that a store at ``level`` has before it, in order."""
    return [read(file) for number, file in migration.steps(service).items() if level is None or number > level]


def read(file: Path) -> Step:
    """What one migration does."""
    module = ast.parse(file.read_text(encoding="utf-8"))
    number, _, about = file.stem.partition("_")
    upgrade = next(part for part in module.body if isinstance(part, ast.FunctionDef) and part.name == "upgrade")
    done = list(_operations(upgrade, None))
    made = {table for operation, table, _ in done if operation == "create_table"}
    old = [(operation, table, call) for operation, table, call in done if table not in made]
    since = next(
        (
            str(ast.literal_eval(part.value))
            for part in module.body
            if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == UNUSED_SINCE
        ),
        None,
    )
    return Step(
        number,
        about.replace("_", " "),
        tuple(f"{operation} on {table}" for operation, table, call in old if _disturbs(operation, call)),
        since,
        tuple(sorted({table for _, table, _ in old if table})),
    )


def _operations(node: ast.AST, batch: str | None) -> Iterator[tuple[str, str | None, ast.Call]]:
    """The operations below a node, those of the loop's migrations too: what, on which table, and the call itself."""
    if isinstance(node, ast.With):
        for item in node.items:
            yield from _operations(item.context_expr, batch)
            if isinstance(item.context_expr, ast.Call) and _of(item.context_expr) == ("op", "batch_alter_table"):
                batch = _text(item.context_expr, 0)
        for part in node.body:
            yield from _operations(part, batch)
        return
    if isinstance(node, ast.Call):
        owner, operation = _of(node)
        if owner == "op":
            # What is made under a name of its own says its table second.
            place = 1 if operation.startswith(("create_", "drop_")) and not operation.endswith("_table") else 0
            yield operation, None if operation == "execute" else _text(node, place), node
        elif owner.startswith("batch"):
            yield operation, batch, node
        elif owner == "loop_migrations":
            source = ast.parse(inspect.getsource(getattr(loop_migrations, operation)))
            yield from _operations(source.body[0], None)
            return
    for child in ast.iter_child_nodes(node):
        yield from _operations(child, batch)


def _of(call: ast.Call) -> tuple[str, str]:
    if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
        return call.func.value.id, call.func.attr
    return "", ""


def _text(call: ast.Call, place: int) -> str | None:
    argument = call.args[place] if len(call.args) > place else None
    return argument.value if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else None


def _disturbs(operation: str, call: ast.Call) -> bool:
    named = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if operation == "create_index":
        return named.get("unique") == "True"
    if operation == "add_column":
        column = next(part for part in call.args if isinstance(part, ast.Call))
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in column.keywords}
        return given.get("nullable") == "False" and "server_default" not in given
    return operation not in HARMLESS
