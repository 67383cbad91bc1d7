"""What organisations do with an issued statement: sign it, take the signature back, answer what it recommends.

Each speaks for an organisation, so it matters who may. Here that is a representative of a member network whose home the
organisation is, once an operator has confirmed that the network speaks for it; else an operator, from its letter.
"""

from datetime import datetime
from typing import Final

from pydantic import BaseModel

from services.membership.domain.network import Network, represents
from services.membership.domain.organisation import Organisation
from services.membership.domain.statement import Recommended, Statement
from shared.contracts.membership import (
    AnswerRecommendation,
    RecommendationAnswered,
    RecommendationFellDue,
    RecommendationStatus,
    RecordRecommendationAnswer,
    SignatureWithdrawn,
    StatementSigned,
)
from shared.contracts.message import Event
from shared.refusal import Refusal

SETTLED: Final[tuple[RecommendationStatus, ...]] = ("done", "declined")
"""A recommendation in one of these is never late."""


class Signatory(BaseModel, frozen=True):
    """Who may speak for an organisation, and through which member network."""

    organisation: str
    network: str | None = None
    person: str | None = None


# Signing it ----------------------------------------------------------------------------------------------------------


def signatory(
    umbrella: Network, network: Network, home: Organisation | None, principal: str, *, is_member: bool
) -> Signatory | Refusal:
    """Who signs when a principal signs through a network: ``home``, its home organisation, or why that may not be.

    Anybody may register a network, name any organisation its home, and admit it in an umbrella of their own. So it
    takes the word of somebody else: an operator confirmed the home. The network is a member of the umbrella besides.
    """
    person = represents(network, principal)
    if person is None:
        return Refusal(
            code="not-a-representative",
            sentence=f"{principal} cannot sign or answer through {network.name}: its representatives may.",
            field="network",
        )
    if home is None:
        return Refusal(
            code="no-home-organisation",
            sentence=f"{network.name} has no home organisation, so there is no organisation it could speak for.",
            field="network",
        )
    if refusal := _home_unheard(network, home):
        return refusal
    if not is_member:
        return Refusal(
            code="not-a-member",
            sentence=f"{network.name} cannot speak for its home organisation here: it is not a member network of "
            f"{umbrella.name}. An operator can note what the organisation says in a letter.",
            field="network",
        )
    return Signatory(organisation=home.id, network=network.id, person=person)


def _home_unheard(network: Network, home: Organisation) -> Refusal | None:
    """Refuses while a home cannot be spoken for by its network, as far as anybody knows."""
    if home.closed_at is not None:
        return Refusal(
            code="organisation-closed",
            sentence=f"{network.name} cannot speak for {home.name}, its home organisation, which is closed. An "
            "operator confirms its home with confirm-network-home once it has another, or records the signature or the "
            "answer of an organisation from its letter.",
            field="network",
            data={"successors": list(home.successors)},
        )
    if not network.home_confirmed:
        return Refusal(
            code="home-not-confirmed",
            sentence=f"{network.name} cannot speak for {home.name}, its home organisation: nobody has confirmed that "
            "it may. An operator confirms it with confirm-network-home, or records the signature or the answer of the "
            "organisation from its letter.",
            field="network",
        )
    return None


def sign(statement: Statement, by: Signatory, at: datetime) -> list[Event] | Refusal:
    """Signs for an organisation, or signs again after a withdrawal. A signature that stands is left as it is."""
    if statement.state != "issued":
        return Refusal(
            code="not-issued",
            sentence="The statement cannot be signed before it is issued: a signature is under a text that stays.",
            data={"state": statement.state},
        )
    if _stands(statement, by):
        return []
    return [
        StatementSigned(
            statement=statement.id,
            umbrella=statement.umbrella,
            organisation=by.organisation,
            network=by.network,
            person=by.person,
            signed_at=at,
        )
    ]


def withdraw_signature(statement: Statement, by: Signatory, at: datetime) -> list[Event] | Refusal:
    """Takes an organisation's signature back. That it was given, and until when it stood, stays on record."""
    if not _stands(statement, by):
        return Refusal(
            code="not-signed",
            sentence=f"The organisation {by.organisation} has no signature under this statement that it could take "
            "back; list-signatures shows those there are.",
            data={"organisation": by.organisation},
        )
    return [
        SignatureWithdrawn(
            statement=statement.id,
            umbrella=statement.umbrella,
            organisation=by.organisation,
            network=by.network,
            person=by.person,
            withdrawn_at=at,
        )
    ]


def _stands(statement: Statement, by: Signatory) -> bool:
    signature = statement.signatures.get(by.organisation)
    return signature is not None and signature.withdrawn_at is None


def unknown_organisation(organisation: str) -> Refusal:
    """No organisation has this id."""
    return Refusal(
        code="organisation-unknown",
        sentence=f"No organisation has the id {organisation}; find its id with find-organisation.",
        field="organisation",
    )


# What became of what it recommends -----------------------------------------------------------------------------------


def answer(
    statement: Statement,
    command: AnswerRecommendation | RecordRecommendationAnswer,
    by: Signatory | None,
    at: datetime,
) -> list[Event] | Refusal:
    """Gives a recommendation another status. ``by`` speaks for an organisation, or whoever asks leads the statement.

    Who recommends does not say what an organisation made of it, where that is registered and can speak for itself.
    """
    recommended = statement.recommendations.get(command.recommendation)
    if statement.state != "issued" or recommended is None:
        return Refusal(
            code="no-such-recommendation",
            sentence=f"The statement has issued no recommendation with the id {command.recommendation}; "
            "show-statement lists those it makes, and they are answered once it is issued.",
            field="recommendation",
        )
    if by is not None and by.organisation != recommended.organisation:
        return Refusal(
            code="not-addressed",
            sentence=f"The recommendation is addressed to {recommended.addressee}, not to the home organisation of the "
            "network that would answer.",
            field="network",
        )
    if by is None and isinstance(command, AnswerRecommendation) and recommended.organisation is not None:
        return Refusal(
            code="addressee-answers",
            sentence=f"The recommendation is addressed to {recommended.addressee}, which is registered and answers it "
            "itself: a representative of a member network that an operator confirmed as its own does, or an operator "
            "records what it says in a letter.",
            field="network",
        )
    if (command.status, command.reason) == (recommended.status, recommended.reason):
        return []
    if command.reason is None and (command.status == "declined" or recommended.status in SETTLED):
        return Refusal(
            code="reason-missing",
            sentence=f"The recommendation was to be {command.status} after {recommended.status}, without a reason; "
            "to decline it, and to go back on what was done or declined, needs one.",
            field="reason",
        )
    return [
        RecommendationAnswered(
            statement=statement.id,
            umbrella=statement.umbrella,
            recommendation=command.recommendation,
            status=command.status,
            reason=command.reason,
            network=by.network if by else None,
            answered_at=at,
        )
    ]


def is_late(recommended: Recommended, at: datetime) -> bool:
    """Whether it is due, and neither done nor declined."""
    return recommended.due <= at and recommended.status not in SETTLED


def fall_due(statement: Statement, recommendation: str, at: datetime) -> list[Event]:
    """Says that a recommendation is due which nobody has answered; nothing of one that is answered or not due."""
    recommended = statement.recommendations.get(recommendation)
    if recommended is None or recommended.status != "open" or at < recommended.due:
        return []
    return [
        RecommendationFellDue(
            statement=statement.id, umbrella=statement.umbrella, recommendation=recommendation, due=recommended.due
        )
    ]
