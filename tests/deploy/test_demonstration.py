"""``concord demo``, run as a stranger runs it: it tells its tale, leaves its pages and stops, and exposes nobody."""

import csv
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import deploy.demo

CONCORD = Path(sys.executable).parent / "concord"
FILES = Path(deploy.demo.__file__).parent
SMALLEST_GROUP = 5
OWN = "Met Office"
"""Whose standing the demonstration shows."""
SHOWN = "S3. I could speak about my mental health at work (% agree)"
"""The question whose medians by kind it shows."""


def rows(name: str) -> list[dict[str, str]]:
    with (FILES / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def running_with(environment: str) -> int:
    """How many processes run with this in their environment."""
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            count += environment.encode() in (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended meanwhile
    return count


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what runs in /proc")
def test_the_demonstration_tells_its_tale_leaves_its_pages_and_stops(tmp_path: Path) -> None:
    data, report = tmp_path / "data", tmp_path / "report"
    data.mkdir()
    ours = f"TMPDIR={data}"
    told = ""
    with (
        (tmp_path / "errors").open("w+") as errors,
        subprocess.Popen(
            [CONCORD, "demo", "--report", report],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "TMPDIR": str(data)},
        ) as demo,
    ):
        assert demo.stdout is not None
        for line in demo.stdout:
            told += line
            if line.startswith("Ready after"):
                assert running_with(ours) >= 6, "the demonstration itself, NATS and four services"
    assert (demo.returncode, (tmp_path / "errors").read_text()) == (0, "")
    assert told.endswith("Everything is stopped.\n")
    assert running_with(ours) == 0
    assert list(data.iterdir()) == [], "what it kept for itself is gone"

    calendar, *pages = sorted(report.iterdir(), key=lambda path: path.suffix != ".ics")
    assert re.fullmatch(r"meeting-\d{4}-\d\d-\d\d\.ics", calendar.name)
    assert sorted(page.name for page in pages) == ["benchmark-standing.html", "meeting-certificate.html"]
    written = {path.name: path.read_text(encoding="utf-8") for path in (calendar, *pages)}
    assert "BEGIN:VEVENT" in written[calendar.name]
    for page in pages:
        assert f"written: {page}" in told
        assert "<h1>" in written[page.name]
    nobody_is_exposed(told, written)


def nobody_is_exposed(told: str, written: dict[str, str]) -> None:
    """No score of another body anywhere, no other body's name beside scores, and no figure of a small group."""
    standing = written["benchmark-standing.html"]
    for row in rows("made_up_survey_2026.csv"):
        name, scores = row["Organisation name"], list(row.values())[4:]
        assert len(scores) == 6
        if name == OWN:
            assert all(f'"score">{float(score):.1f}<' in standing for score in scores)
        else:
            assert name not in standing
            assert not [score for score in scores for text in (told, *written.values()) if score in text], name
    counted = [int(count) for count in re.findall(r"Median \S+ of (\d+) organisations", standing)]
    assert counted
    assert min(counted) >= SMALLEST_GROUP
    kind_of = {body["name"]: body["type"] for body in rows("organisations.csv")}
    kinds = Counter(kind_of[row["Organisation name"]] for row in rows("made_up_survey_2026.csv") if row[SHOWN] != "[c]")
    assert min(kinds.values()) < SMALLEST_GROUP
    for kind, count in kinds.items():
        [shown] = re.findall(rf"^  {kind} +(?:(\d+) +\d+ %|withheld: )", told, re.MULTILINE)
        assert shown in ({"", str(count)} if count >= SMALLEST_GROUP else {""}), kind


def test_a_program_hears_in_one_document_how_the_demonstration_went(tmp_path: Path) -> None:
    said = subprocess.run(
        [CONCORD, "demo", "--json", "--report", tmp_path], capture_output=True, text=True, check=False, timeout=120
    )
    assert (said.returncode, said.stderr) == (0, "")
    answer = json.loads(said.stdout)["answer"]
    assert sorted(answer["written"]) == sorted(map(str, tmp_path.iterdir()))
    assert answer["notices"] > 10
    assert 0 < answer["seconds"] < 60
