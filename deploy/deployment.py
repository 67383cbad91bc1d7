"""What a deployment is given once, before its first start: keys, credentials, passwords, and NATS's configuration.

DIR/operator       the platform's keys, the register of who was given access, the operator's credentials, and where NATS
                   is: ``concord --data DIR/operator``
DIR/nats           nats.conf, written anew each time, since it carries the permissions that follow from the contracts;
                   of a cluster also the password that its servers show one another
DIR/postgres       a password for the administrator and one for each service, read when the databases are made; empty
                   if PostgreSQL is somebody else's, and the passwords come from there
DIR/grafana        the password of Grafana's administrator, for whoever starts the profile `observability`
DIR/SERVICE        the service's credentials for NATS and its password file for PostgreSQL, and nothing of another's

Each of these is mounted only where it is used (``docker-compose.yml``). Keys, credentials and passwords that are there
already are kept, unless they were taken back, and addresses are written as they are now: a second run that is told
nothing new changes nothing but nats.conf.
"""

import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from shared.cluster import cluster_conf
from shared.identity import OPERATOR, SERVICES, Keys, keep_credentials

ADMINISTRATOR = "postgres"
PASSWORD_BYTES = 24


def prepare(
    directory: Path,
    *,
    nats: str,
    postgres: str,
    streams: Path,
    cluster: Sequence[str] = (),
    passwords: Path | None = None,
) -> list[Path]:
    """Writes what is missing; the files it wrote.

    ``nats`` are the addresses services reach NATS at, separated by commas, ``postgres`` is the ``host:port`` of
    PostgreSQL, and ``streams`` where a NATS server keeps its streams. ``cluster`` names the hosts of all NATS servers,
    if there are several; they share nats.conf, and a password of their own. ``passwords`` is where SERVICE.password
    lies for each service if PostgreSQL has an administrator of its own: then none are made here. ``IdentityError`` if a
    key is there and cannot be read, ``ClusterError`` if a cluster cannot have these hosts.
    """
    written: list[Path] = []
    operator = directory / OPERATOR
    keys = Keys.create(operator / "keys")

    def keep(path: Path, text: str, mode: int = 0o600) -> str:
        if path.exists():
            return path.read_text()
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
        written.append(path)
        return text

    def write(path: Path, text: str) -> None:
        if not path.exists() or path.read_text() != text:
            path.unlink(missing_ok=True)
            keep(path, text)

    def credentials(path: Path, principal: str) -> None:
        if keep_credentials(keys, path, principal):
            written.append(path)

    credentials(operator / "creds" / f"{OPERATOR}.creds", OPERATOR)
    write(operator / "stack.json", json.dumps({"url": nats}) + "\n")

    def password(role: str) -> str:
        if passwords is not None:
            return (passwords / f"{role}.password").read_text().strip()
        # PostgreSQL reads these as another user; the directory is mounted nowhere else.
        return keep(directory / "postgres" / f"{role}.password", secrets.token_urlsafe(PASSWORD_BYTES), 0o644)

    if passwords is None:
        password(ADMINISTRATOR)
    keep(directory / "grafana" / "admin.password", secrets.token_urlsafe(PASSWORD_BYTES), 0o644)  # read as another user
    for service in SERVICES:
        credentials(directory / service / "service.creds", service)
        write(directory / service / "pgpass", f"{postgres}:{service}:{service}:{_for_pgpass(password(service))}\n")
    conf = directory / "nats" / "nats.conf"
    conf.parent.mkdir(parents=True, exist_ok=True)
    of_cluster = ""
    if cluster:
        routes = keep(directory / "nats" / "routes.password", secrets.token_urlsafe(PASSWORD_BYTES))
        of_cluster = cluster_conf(cluster, routes)
    with keys.locked():  # nobody takes access back meanwhile
        new = conf.with_suffix(".new")
        new.write_text(keys.server_conf(streams) + of_cluster)
        new.replace(conf)
    return [*written, conf]


def _for_pgpass(password: str) -> str:
    """As libpq's password file has it, where a colon ends a field."""
    return password.replace("\\", "\\\\").replace(":", "\\:")
