"""What membership says and hears: organisations, networks and their members, steering groups, proposals.

A person appears as an opaque id with the principal that speaks for them; a principal is a handle an operator gave out,
so give out handles that name nobody. Grade, headcount and job titles are in no message: they must not matter.
"""

from shared.contracts.membership.concern import *
from shared.contracts.membership.discussion import *
from shared.contracts.membership.network import *
from shared.contracts.membership.organisation import *
from shared.contracts.membership.partner import *
from shared.contracts.membership.peer_support import *
from shared.contracts.membership.people import *
from shared.contracts.membership.proposal import *
from shared.contracts.membership.starter_path import *
from shared.contracts.membership.statement import *
from shared.contracts.membership.steering_group import *
