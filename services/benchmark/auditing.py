"""The gate's way in: a process of its own calls ``run``, reads the store for itself, and answers with what may leave.

It is given no scores and reads them where they lie: what a task is given may end in a dead letter, and operators read
those.
"""

from collections.abc import Mapping
from typing import Any

from services.benchmark import store
from services.benchmark.domain import disclosure, organisation
from services.benchmark.domain.disclosure import Audited
from services.benchmark.store import INSTRUMENTS, ORGANISATIONS, ROUNDS
from shared import clock
from shared.database import open_store, reading
from shared.settings import Settings
from shared.unit_of_work import Reader


def run(args: Mapping[str, Any]) -> dict[str, Any]:
    """``args``: the ``round``, in the store that the environment names. Answers an ``Audited`` as plain data."""
    engine = open_store(Settings.from_environment().store, readers=1)
    try:
        with reading(engine) as connection:
            return audit(Reader(connection, clock.now(), "benchmark"), args["round"]).model_dump(mode="json")
    finally:
        engine.dispose()


def audit(reader: Reader, round_: str) -> Audited:
    """Puts a round through the gate, beside every release of its instrument there is in this state of the store."""
    state = reader.load(ROUNDS, round_)
    used = reader.load(INSTRUMENTS, state.instrument) if state else None
    if state is None or used is None:
        raise LookupError(f"there is no round {round_} with an instrument in the store")
    handed_in = store.submissions(reader, round_)
    earlier = store.earlier_releases(reader, state.instrument_name)
    values = disclosure.values_by_measure(used.measures, handed_in)
    linked = {submission.organisation for submission in handed_in if submission.organisation}
    places = organisation.places(handed_in, reader.load_all(ORGANISATIONS, linked).values())
    figures = disclosure.release(used.measures, values, places, earlier)
    return Audited(after=tuple(one.release.id for one in earlier), places=places, figures=tuple(figures))
