"""The published packages that are measured beside us do the whole job, and an effect that is missing would be seen."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.performance import measures
from tests.performance.measures import PEERS, PEERS_BACKEND, NotRight, Peer
from tests.performance.stage import Stage

WARM_UP, COUNT = 10, 30


@pytest.mark.parametrize("name", PEERS)
async def test_every_message_through_a_peer_has_one_effect_in_both_services(name: Peer, tmp_path: Path) -> None:
    flow = measures.peer(name)
    checked = []

    async def check(stage: Stage, goal: int) -> None:
        with pytest.raises(NotRight, match="effects in the first service"):
            await flow.check(stage, goal + 1)
        await flow.check(stage, goal)
        checked.append(goal)

    measured = replace(flow, check=check)
    figures = await measures.throughput(tmp_path, measured, COUNT, PEERS_BACKEND, WARM_UP)
    assert checked == [WARM_UP + COUNT]
    assert figures["messages"] == COUNT
    assert figures["rate"] > 0
