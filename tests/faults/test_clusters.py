"""A NATS cluster that loses its servers: the short set. ``make faults`` runs it for longer, on both kinds of store."""

from pathlib import Path

import pytest

from tests.faults.clusters import SHORT

SEED = 1


@pytest.mark.timeout(600)
async def test_whichever_nats_server_is_lost_nothing_is_lost_or_done_twice(tmp_path: Path) -> None:
    found = await SHORT(tmp_path, "sqlite", SEED, print)
    assert not found, "\n".join(found)
