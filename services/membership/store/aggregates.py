"""Which state of membership lies in which table."""

from services.membership import tables
from services.membership.domain import (
    concern,
    leaver,
    membership,
    network,
    organisation,
    partner,
    peer_support,
    proposal,
    starter_path,
    statement,
    steering_group,
)
from services.membership.domain.concern import Concern, WithdrawalKey
from services.membership.domain.discussion import Contribution
from services.membership.domain.leaver import PublisherLink
from services.membership.domain.membership import Membership
from services.membership.domain.network import Network
from services.membership.domain.organisation import Organisation
from services.membership.domain.partner import Partner
from services.membership.domain.peer_support import HelpRequest, Offer
from services.membership.domain.proposal import Proposal
from services.membership.domain.starter_path import StarterPath
from services.membership.domain.statement import Statement
from services.membership.domain.steering_group import SteeringGroup
from shared.unit_of_work import Aggregate

ORGANISATIONS = Aggregate(Organisation, tables.organisations, organisation.evolve)
NETWORKS = Aggregate(Network, tables.networks, network.evolve, parts={"representatives": tables.representatives})
MEMBERSHIPS = Aggregate(Membership, tables.memberships, membership.evolve)
STEERING_GROUPS = Aggregate(
    SteeringGroup,
    tables.steering_groups,
    steering_group.evolve,
    parts={"seats": tables.seats, "work_streams": tables.work_streams},
)
PROPOSALS = Aggregate(Proposal, tables.proposals, proposal.evolve, parts={"voices": tables.voices})
STATEMENTS = Aggregate(
    Statement,
    tables.statements,
    statement.evolve,
    parts={
        "comments": tables.statement_comments,
        "signatures": tables.signatures,
        "recommendations": tables.recommendations,
    },
)
OFFERS = Aggregate(Offer, tables.peer_offers, peer_support.evolve)
# Without events: nothing of a request for help goes anywhere.
HELP_REQUESTS = Aggregate(HelpRequest, tables.help_requests)
PARTNERS = Aggregate(Partner, tables.partners, partner.evolve, parts={"links": tables.partner_links})
CONCERNS = Aggregate(Concern, tables.concerns, concern.evolve, parts={"endorsements": tables.endorsements})
WITHDRAWAL_KEYS = Aggregate(WithdrawalKey, tables.withdrawal_keys)
# Without events of its own: what is told of a contribution happens to its proposal, and holds none of its words.
CONTRIBUTIONS = Aggregate(Contribution, tables.contributions)
STARTER_PATHS = Aggregate(StarterPath, tables.starter_paths, starter_path.evolve)
PUBLISHER_LINKS = Aggregate(PublisherLink, tables.publisher_links, leaver.evolve)

PAST = (ORGANISATIONS, NETWORKS, MEMBERSHIPS, STEERING_GROUPS, PROPOSALS, STATEMENTS, PARTNERS, CONCERNS)
"""What may be asked of as it was. Who offered to be a mentor and no longer does is nobody's to look up."""
