"""Long measurements, for a moment: they say marks with the memory of each service, and every effect is counted."""

import json
from pathlib import Path

from tests.performance import measures
from tests.performance.measures import SERVICES, Mark
from tests.performance.messages import MESSAGE_BYTES, payload, renewed


async def test_a_sustained_run_says_marks_until_its_time_is_over(tmp_path: Path) -> None:
    marks: list[Mark] = []
    await measures.sustained(tmp_path, marks.append, "sqlite", seconds=1.0, every=0.5, ahead=2_000)
    assert marks[-1].seconds >= 1.0
    assert [mark.seconds for mark in marks] == sorted(mark.seconds for mark in marks)
    assert sum(mark.rate for mark in marks) > 0  # of half a second alone, a busy machine may make nothing
    assert all(mark.megabytes.keys() == set(SERVICES) for mark in marks)


async def test_a_backlog_is_worked_off_whole(tmp_path: Path) -> None:
    marks: list[Mark] = []
    await measures.backlog(tmp_path, marks.append, "sqlite", count=2_000)
    assert len(marks) == 1
    assert all(10 < megabytes < 1_000 for megabytes in marks[0].megabytes.values())


def test_a_message_that_is_sent_again_has_an_id_of_its_own_and_nothing_else_changed() -> None:
    first = payload("account-00001")
    second = renewed(first)
    assert len(second) == MESSAGE_BYTES
    one, other = json.loads(first), json.loads(second)
    assert one.pop("id") != other.pop("id")
    assert one == other
