"""Who may hand in and look for an organisation."""

from services.benchmark import store
from services.benchmark.domain import stewardship
from services.benchmark.handlers.surface import on
from services.benchmark.store import ORGANISATIONS, STEWARDS
from shared.contracts.benchmark import (
    NameDataSteward,
    RemoveDataSteward,
)
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.unit_of_work import Work


@on.command(NameDataSteward)
def name_data_steward(command: NameDataSteward, work: Work) -> Done | Refusal:
    """Binds a principal to an organisation."""
    bound = store.steward_called(work, command.principal)
    id_ = bound.id if bound else work.new_id()
    known = work.load(ORGANISATIONS, command.organisation) is not None
    return work.save(STEWARDS, id_, stewardship.name(bound, command, organisation_known=known, new_id=id_))


@on.command(RemoveDataSteward)
def remove_data_steward(command: RemoveDataSteward, work: Work) -> Done | Refusal:
    """Takes the binding back; nothing of it stays but its events."""
    bound = store.steward_called(work, command.principal)
    id_ = bound.id if bound else ""
    done = work.save(STEWARDS, id_, stewardship.remove(bound, command))
    if isinstance(done, Done):
        work.put(STEWARDS, id_, None)
    return done
