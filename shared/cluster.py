"""A cluster of NATS servers: what they are told of one another, beside what each server is told anyway.

Every server of a cluster reads the same configuration, ``Keys.server_conf`` and this behind it, and has its own name
from the command line (``--name``): JetStream knows its servers by their names, so a name stays with its streams.
"""

import json
from collections.abc import Sequence

CLUSTER = "concord"
ROUTE_PORT = 6222
SIZES = (3, 5)
"""Servers a cluster may have: a majority of them must be there, so one more than an odd number adds nothing."""

_ROUTE_USER = "route"


class ClusterError(ValueError):
    """The cluster cannot be as it was described; the message is a sentence for the operator."""


def cluster_conf(hosts: Sequence[str], password: str, *, listen: str = f"0.0.0.0:{ROUTE_PORT}") -> str:
    """The part of a server's configuration that makes it one of a cluster.

    ``hosts`` are all servers, each ``host`` or ``host:port`` of its route; a server passes over the route to itself.
    ``password`` is what servers show one another, made of letters, digits, hyphens and underscores. ``ClusterError`` if
    there are not as many servers as a cluster may have.
    """
    if len(set(hosts)) not in SIZES or len(set(hosts)) != len(hosts):
        raise ClusterError(
            f"A cluster has {' or '.join(map(str, SIZES))} different servers, of which a majority must always be "
            f"there; {', '.join(hosts)} will not do."
        )
    addresses = (host if ":" in host else f"{host}:{ROUTE_PORT}" for host in hosts)
    routes = "\n".join(f"    nats://{_ROUTE_USER}:{password}@{address}" for address in addresses)
    return (
        "cluster {\n"
        f"  name: {CLUSTER}\n"
        f"  listen: {json.dumps(listen)}\n"
        # Clients are given every address they may use; those servers know of one another are often nobody else's.
        "  no_advertise: true\n"
        f"  authorization {{ user: {_ROUTE_USER}, password: {json.dumps(password)}, timeout: 5 }}\n"
        f"  routes: [\n{routes}\n  ]\n"
        "}\n"
    )
