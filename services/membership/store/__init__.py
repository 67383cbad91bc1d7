"""Which state of membership lies in which table, the reads that decisions need, and those that questions need."""

from services.membership.store.aggregates import *
from services.membership.store.concerns import *
from services.membership.store.leavers import *
from services.membership.store.networks import *
from services.membership.store.organisations import *
from services.membership.store.partners import *
from services.membership.store.peer_support import *
from services.membership.store.proposals import *
from services.membership.store.starter_paths import *
from services.membership.store.statements import *
from services.membership.store.steering_groups import *
