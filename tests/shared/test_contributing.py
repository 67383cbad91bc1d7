"""CONTRIBUTING.md walks one rule through the house: every line of code it shows stands where it says."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEP = re.compile(
    r"^\*\*\d\. [^*]+\*\*, `(?P<file>[^`]+\.py)`(?:(?!^\*\*\d\.).)*?```python\n(?P<code>.*?)```",
    re.MULTILINE | re.DOTALL,
)
STEPS = {found["file"]: found["code"] for found in STEP.finditer((ROOT / "CONTRIBUTING.md").read_text())}


def test_the_walk_shows_contract_rule_store_and_handler() -> None:
    assert len(STEPS) == 4


@pytest.mark.parametrize("file", STEPS)
def test_what_the_walk_shows_is_the_code(file: str) -> None:
    code = {line.strip() for line in (ROOT / file).read_text().splitlines()}
    shown = [line.strip() for line in STEPS[file].splitlines()]
    assert [line for line in shown if line not in ("", "...") and line not in code] == []
