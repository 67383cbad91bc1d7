"""What a deployment is given once, before its first start: keys, credentials, passwords, and NATS's configuration.

DIR/operator       the platform's keys, the operator's credentials, and where NATS is: ``concord --data DIR/operator``
DIR/nats           nats.conf, written anew each time, since it carries the permissions that follow from the contracts
DIR/postgres       a password for the administrator and one for each service, read when the databases are made
DIR/grafana        the password of Grafana's administrator, for whoever starts the profile `observability`
DIR/SERVICE        the service's credentials for NATS and its password file for PostgreSQL, and nothing of another's

Each of these is mounted only where it is used (``docker-compose.yml``). What is there already is kept, so a second run
changes nothing but nats.conf.
"""

import json
import os
import secrets
from pathlib import Path

from shared.identity import OPERATOR, SERVICES, Keys, write_creds

ADMINISTRATOR = "postgres"
PASSWORD_BYTES = 24


def prepare(directory: Path, *, nats: str, postgres: str, streams: Path) -> list[Path]:
    """Writes what is missing; the files it wrote.

    ``nats`` is the address services reach NATS at, ``postgres`` the ``host:port`` of PostgreSQL, and ``streams`` where
    the NATS server keeps its streams. ``IdentityError`` if a key is there and cannot be read.
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

    def credentials(path: Path, principal: str) -> None:
        if not path.exists():
            write_creds(path, keys.issue(principal, principal))
            written.append(path)

    credentials(operator / "creds" / f"{OPERATOR}.creds", OPERATOR)
    keep(operator / "stack.json", json.dumps({"url": nats}) + "\n")
    # PostgreSQL reads these as another user; the directory is mounted nowhere else.
    keep(directory / "postgres" / f"{ADMINISTRATOR}.password", secrets.token_urlsafe(PASSWORD_BYTES), 0o644)
    keep(directory / "grafana" / "admin.password", secrets.token_urlsafe(PASSWORD_BYTES), 0o644)  # read as another user
    for service in SERVICES:
        credentials(directory / service / "service.creds", service)
        password = keep(directory / "postgres" / f"{service}.password", secrets.token_urlsafe(PASSWORD_BYTES), 0o644)
        keep(directory / service / "pgpass", f"{postgres}:{service}:{service}:{password}\n")
    conf = directory / "nats" / "nats.conf"
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.write_text(keys.server_conf(streams))
    return [*written, conf]
