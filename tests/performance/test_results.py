"""What a run leaves behind: a table that reads at 80 columns and three files, also when it is ended early."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.performance import bench, results
from tests.performance.measures import PEERS
from tests.performance.results import Outcome, Reach, Row

ROOT = Path(__file__).parents[2]
WITHIN = 60.0


def rows_of_everything(low: float = 12_345.6, high: float = 23_456.7) -> dict[str, Row]:
    """A row for each measure of the bench, with figures as wide as they come."""
    found = {
        name: Row(name, unit, [low, high])
        for measurement in bench.plan(1)
        for name, (unit, _) in measurement.rows.items()
    }
    bench.set_ratios(found)
    return found


def outcome(rows: dict[str, Row], breaks_off: str | None = None) -> Outcome:
    return Outcome([*rows.values()], bench.reaches(rows), ["a note"], {"rounds": 2}, breaks_off)


def test_the_table_reads_at_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of_everything()
    results.show(outcome(rows))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for row in rows.values():
        line = next(line for line in lines if line.strip().startswith(row.name))
        assert row.unit in line
        assert "12,346–23,457" in line


def test_ours_is_compared_with_the_stronger_peer_on_the_same_database() -> None:
    rates = {"pipeline, SQLite": 9_000.0, "pipeline, PostgreSQL": 8_000.0, PEERS[0]: 200.0, PEERS[1]: 250.0}
    rows = {name: Row(name, "messages/s", [rate]) for name, rate in rates.items()}
    bench.set_ratios(rows)
    assert rows["pipeline, PostgreSQL"].to_peer == 32
    assert rows["pipeline, SQLite"].to_peer is None
    assert Reach("pipeline, PostgreSQL: × peer", 32, 30) in bench.reaches(rows)


def test_what_was_saved_can_be_written_again_as_the_same_files(tmp_path: Path) -> None:
    results.save(tmp_path / "first", outcome(rows_of_everything(), "it was ended"))
    results.save(tmp_path / "second", results.load(tmp_path / "first"))
    for name in (results.JSON, results.CHART, results.PAGE):
        assert (tmp_path / "first" / name).read_text() == (tmp_path / "second" / name).read_text()
    measured = json.loads((tmp_path / "first" / results.JSON).read_text())["measures"]
    assert {"name", "unit", "median", "ratio_to_raw", "ratio_to_plain", "ratio_to_peer"} <= measured[0].keys()


def test_the_page_stands_between_its_marks_and_carries_no_date(tmp_path: Path) -> None:
    results.save(tmp_path, outcome(rows_of_everything()))
    page = (tmp_path / results.PAGE).read_text()
    assert page.startswith(results.BEGIN)
    assert page.rstrip().endswith(results.END)
    assert "| pipeline, PostgreSQL | messages/s |" in page
    assert "make bench" in page
    assert not re.search(r"\b20\d\d-\d\d", page)


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM], ids=lambda told: told.name)
def test_a_run_that_is_ended_shows_and_keeps_what_it_has_measured(told: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.performance.bench", "--only", "raw", "--rounds", "1000", "--seconds", "0.1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (tmp_path / "said").open("w") as said:
        run = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=said, stderr=said, start_new_session=True)
        try:
            saved = first_save(tmp_path / "build" / results.JSON, run)
            assert saved["rounds"] >= 1
            os.killpg(run.pid, told)  # as Ctrl-C does: everything in the group hears it
            assert run.wait(WITHIN) == bench.ENDED
        finally:
            run.kill()
            run.wait()
    text = (tmp_path / "said").read_text()
    assert "This is not all: it was ended at round" in text
    assert re.search(r"^ ?raw +messages/s +[\d,]+", text, re.MULTILINE)
    assert "Traceback" not in text
    kept = json.loads((tmp_path / "build" / results.JSON).read_text())
    assert kept["breaks_off"].startswith("it was ended at round")
    assert [p.name for p in (tmp_path / "build").iterdir() if p.name.startswith("bench-")] == []


async def test_a_run_that_misses_the_word_to_end_is_told_again() -> None:
    async def misses_the_first() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(WITHIN)
        await asyncio.sleep(WITHIN)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        async with asyncio.timeout(WITHIN / 2):
            assert await bench.until_told(misses_the_first(), every=0.05)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def first_save(path: Path, run: "subprocess.Popen[bytes]") -> dict[str, Any]:
    """What the run wrote after its first round."""
    give_up_at = time.monotonic() + WITHIN
    while not path.exists():
        assert run.poll() is None, "it ended by itself"
        assert time.monotonic() < give_up_at, "no round was done in time"
        time.sleep(0.05)
    read: dict[str, Any] = json.loads(path.read_text())
    return read
