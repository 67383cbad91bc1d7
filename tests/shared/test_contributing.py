"""What CONTRIBUTING.md and README.md show is so: every line of code stands where it says, every message is one."""

import re
from pathlib import Path

import pytest

from shared.contracts import cloudevent
from shared.contracts.message import REGISTER
from shared.refusal import Refusal

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


def test_the_message_that_the_readme_shows_is_taken_as_it_stands() -> None:
    [payload] = re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    envelope = cloudevent.read(cloudevent.STRUCTURED_HEADERS, payload.encode())
    assert not isinstance(envelope, Refusal)
    assert not isinstance(cloudevent.parse(envelope, REGISTER[envelope.type]), Refusal)
