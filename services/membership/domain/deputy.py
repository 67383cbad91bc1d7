"""Deputies: who gives a network's voice in the place of a representative, and for how long.

A deputy speaks: takes positions, endorses, raises, comments. What binds the network beyond that stays with its
representatives and its steward: appointing people, joining and leaving umbrellas, signing for the home organisation.
"""

from services.membership.domain.network import (
    Network,
    credentials_taken,
    end_deputy,
    is_steward,
    represents,
    speaks_for,
    unknown,
)
from shared.contracts.membership import DeputyNamed, NameDeputy, WithdrawDeputy
from shared.contracts.message import Event
from shared.refusal import Refusal


def name(network: Network | None, command: NameDeputy, principal: str) -> list[Event] | Refusal:
    """A representative names a deputy of their own: one at a time, and nobody who speaks for the network already."""
    if network is None:
        return unknown(command.network)
    representative = represents(network, principal)
    if representative is None:
        return Refusal(
            code="not-a-representative",
            sentence=f"{principal} cannot name a deputy for {network.name}: its representatives do, one each.",
        )
    if (deputy := network.representatives[representative].deputy) is not None:
        return Refusal(
            code="has-a-deputy",
            sentence=f"{principal} has a deputy for {network.name} already, the person {deputy}; "
            "withdraw-deputy makes room for another.",
            field="person",
            data={"deputy": deputy},
        )
    if command.person in network.representatives or end_deputy(network, command.person):
        return Refusal(
            code="speaks-already",
            sentence=f"The person {command.person} speaks for {network.name} already; name somebody who does not.",
            field="person",
        )
    if speaks_for(network, command.principal):
        return credentials_taken(network, command.principal)
    return [
        DeputyNamed(
            network=network.id, representative=representative, person=command.person, principal=command.principal
        )
    ]


def withdraw(network: Network | None, command: WithdrawDeputy, principal: str) -> list[Event] | Refusal:
    """A person deputises no more: at the word of their representative, their own, or the steward's."""
    if network is None:
        return unknown(command.network)
    for representative in network.representatives.values():
        if representative.deputy == command.person:
            theirs = principal in (representative.principal, representative.deputy_principal)
            if theirs or is_steward(network, principal):
                return end_deputy(network, command.person)
            return Refusal(
                code="not-theirs-to-withdraw",
                sentence=f"{principal} cannot end this deputy's part: the representative who named them, the deputy "
                f"and the steward of {network.name} may.",
            )
    return Refusal(
        code="not-a-deputy",
        sentence=f"The person {command.person} is no deputy for {network.name}; show-network lists those there are.",
        field="person",
    )
