"""Deputies of representatives."""

from services.membership.domain import deputy
from services.membership.handlers.surface import on
from services.membership.store import NETWORKS
from shared.contracts.membership import NameDeputy, WithdrawDeputy
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.unit_of_work import Work


@on.command(NameDeputy, loads=lambda command: [(NETWORKS, command.network)])
def name_deputy(command: NameDeputy, work: Work) -> Done | Refusal:
    state = work.load(NETWORKS, command.network)
    return work.save(NETWORKS, command.network, deputy.name(state, command, work.principal))


@on.command(WithdrawDeputy, loads=lambda command: [(NETWORKS, command.network)])
def withdraw_deputy(command: WithdrawDeputy, work: Work) -> Done | Refusal:
    state = work.load(NETWORKS, command.network)
    return work.save(NETWORKS, command.network, deputy.withdraw(state, command, work.principal))
