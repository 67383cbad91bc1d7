"""``concord init``: what a deployment needs before its first start."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.options import AsJson
from deploy.cli.output import Complaint, complaining, finish, note, say
from deploy.deployment import prepare
from shared.cluster import ClusterError
from shared.contracts.platform import Reply
from shared.identity import IdentityError


@complaining
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", file_okay=False, help="Where everything is written.")],
    nats: Annotated[
        str, typer.Option(envvar="CONCORD_NATS", help="Where services reach NATS; several separated by commas.")
    ] = "nats://nats:4222",
    postgres: Annotated[
        str, typer.Option(envvar="CONCORD_POSTGRES", help="Host and port of PostgreSQL.")
    ] = "postgres:5432",
    streams: Annotated[Path, typer.Option(help="Where the NATS server keeps its streams.")] = Path("/data"),
    cluster: Annotated[
        str,
        typer.Option(
            envvar="CONCORD_CLUSTER", help="Hosts of all NATS servers, separated by commas; none for a single server."
        ),
    ] = "",
    passwords: Annotated[
        Path | None,
        typer.Option(
            envvar="CONCORD_PASSWORDS",
            metavar="DIR",
            file_okay=False,
            help="Where SERVICE.password lies for each service, if PostgreSQL has an administrator of its own.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the keys, credentials, passwords and NATS configuration of a deployment; keep those that are there.

    With --cluster three or five NATS servers form one cluster: they read the same nats.conf, and each is started with a
    --name of its own.

    `docker compose up` runs this first. DIR/operator is what `concord --data` needs, and holds the keys of the whole
    platform: back it up, and let nobody else read it.
    """
    try:
        hosts = [host.strip() for host in cluster.split(",")] if cluster else []
        written = prepare(directory, nats=nats, postgres=postgres, streams=streams, cluster=hosts, passwords=passwords)
    except (IdentityError, ClusterError) as error:
        raise Complaint(str(error)) from None
    except OSError as error:
        raise Complaint(f"{error.filename} cannot be used: {error.strerror}.") from None
    if as_json:
        raise finish(Reply(outcome="answered", answer={"written": [str(path) for path in written]}), as_json=True)
    for path in written:
        note(f"wrote {path}")
    say(f"{directory} holds what the deployment needs.")
