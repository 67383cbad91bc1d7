"""Who may say and hear what: NATS in operator mode, with a scoped signing key for each role.

The chain of trust is operator → account CONCORD → signing key of a role → user. A role's permissions stand in the
account's JWT, as templates over the principal's name, and the server enforces them; a user's JWT carries nothing but
its name. So a ``.creds`` file is all there is to hand out, and a new contract needs no new credentials: the account's
JWT is made again from the contracts whenever the server starts. It also says which credentials were taken back.

Format: https://github.com/nats-io/jwt (v2), https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/jwt
"""

import base64
import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]  # it ships no types

import shared.contracts  # noqa: F401  the register must be whole before permissions are made from it
from shared.access_register import AccessRegister, Credentials, RegisterDamaged
from shared.contracts.message import MAJOR, PRINCIPAL_PATTERN, Command, Query, contracts, subject_of

SERVICES = ("membership", "events", "benchmark", "notifications")
OPERATOR = "operator"
"""Both a role and the name of the one with whose credentials the local stack is run."""
KEEPER = "keeper"
"""Who makes a backup, restores one, or takes access back: no role, and no credentials that outlast it."""
PEOPLE_AND_PROGRAMS = (OPERATOR, "member", "publisher", "subscriber")
ROLES = (*SERVICES, *PEOPLE_AND_PROGRAMS)

ACCOUNT = "CONCORD"
DELIVERIES = "DELIVERIES"
INBOUND_REFUSED = "INBOUND-REFUSED"
"""Streams that no service has for itself: what subscribers are told, and what publishers are refused."""
UNLIMITED = -1
NAME = "{{name()}}"  # the server puts the principal here; only a whole token is replaced by every server version


class IdentityError(Exception):
    """Keys or credentials cannot be made or read; the message is a sentence for the operator."""


def inbox_prefix(principal: str) -> str:
    """The prefix of every inbox of a principal: the only subjects it may read replies on."""
    return f"_INBOX.{principal}"


def may_be_answered(principal: str, reply: str) -> bool:
    """Whether a reply to this principal may go to this subject.

    Whoever sends a request also names where its reply goes, and the server does not check that. A service that answered
    anywhere would publish for its caller where only the service may, so it answers to the caller's own inboxes alone.
    """
    return reply.startswith(inbox_prefix(principal) + ".")


class RegisterUnusable(IdentityError):
    """The register of who was given access cannot be read or written."""


class AnotherRole(IdentityError):
    """A principal has one role, and ``valid`` are credentials of it in another."""

    def __init__(self, valid: Credentials) -> None:
        super().__init__(f"{valid.principal} has valid credentials as {valid.role}.")
        self.valid = valid


@dataclass(frozen=True)
class Permissions:
    """Subjects a role may publish to and subscribe to; ``denied`` is taken away from what it may publish to."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    denied: tuple[str, ...] = ()


def permissions(role: str) -> Permissions:
    """What the server lets a role do, made from the contracts in the register; the principal is ``{{name()}}``."""
    inbox = f"{inbox_prefix(NAME)}.>"
    if role in SERVICES:
        return _service(role, inbox)
    if role == OPERATOR:
        return Permissions(
            publish=(f"*.{MAJOR}.command.*.{NAME}", f"*.{MAJOR}.query.*.{NAME}", *_READING_STREAMS),
            denied=_not_for(OPERATOR),
            subscribe=(
                inbox,
                f"*.{MAJOR}.event.>",
                f"inbound-refused.{MAJOR}.>",
                f"notifications.{MAJOR}.delivery.>",
            ),
        )
    if role == "member":
        return Permissions(
            publish=(f"*.{MAJOR}.command.*.{NAME}", f"*.{MAJOR}.query.*.{NAME}", *_READING_OWN_DELIVERIES),
            denied=_not_for("member"),
            subscribe=(inbox, _OWN_DELIVERIES),
        )
    if role == "publisher":
        return Permissions(
            publish=(f"inbound.{MAJOR}.{NAME}.>",),
            subscribe=(inbox, f"inbound-refused.{MAJOR}.{NAME}"),
        )
    if role == "subscriber":
        return Permissions(
            publish=(
                f"notifications.{MAJOR}.command.*.{NAME}",
                f"notifications.{MAJOR}.query.*.{NAME}",
                *_READING_OWN_DELIVERIES,
            ),
            denied=_not_for("member"),
            subscribe=(inbox, _OWN_DELIVERIES),
        )
    raise IdentityError(f"There is no role {role!r}: the roles are {', '.join(ROLES)}.")


_OWN_DELIVERIES = f"notifications.{MAJOR}.delivery.{NAME}.>"
_OWN_DURABLE = f"{DELIVERIES}.{NAME}"
_READING_OWN_DELIVERIES = (
    "$JS.API.INFO",  # clients ask for it when they open a JetStream context
    # The filter stands in the subject of the request, so a durable that reads another's deliveries is not a matter of
    # trust. The older request without a filter in its subject is therefore not allowed.
    f"$JS.API.CONSUMER.CREATE.{_OWN_DURABLE}.{_OWN_DELIVERIES}",
    f"$JS.API.CONSUMER.INFO.{_OWN_DURABLE}",
    f"$JS.API.CONSUMER.MSG.NEXT.{_OWN_DURABLE}",
    f"$JS.API.CONSUMER.DELETE.{_OWN_DURABLE}",
    f"$JS.ACK.{_OWN_DURABLE}.>",
)
_READING_STREAMS = (
    "$JS.API.INFO",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.INFO.*",
    "$JS.API.STREAM.MSG.GET.*",
    "$JS.API.DIRECT.GET.>",
    "$JS.API.CONSUMER.NAMES.*",
    "$JS.API.CONSUMER.LIST.*",
    "$JS.API.CONSUMER.INFO.*.*",
)


def _service(service: str, inbox: str) -> Permissions:
    streams = [service.upper(), INBOUND_REFUSED]
    published = [f"{service}.{MAJOR}.event.>"]
    if service == "notifications":
        streams.append(DELIVERIES)
        published.append(f"notifications.{MAJOR}.delivery.>")
    return Permissions(
        publish=(
            *published,
            f"inbound-refused.{MAJOR}.*",
            f"{service}.{MAJOR}.wake",
            # Replies leave after the commit, possibly long after the request. A permission that the server grants for
            # each request (allow_responses) would run out, and would let the caller choose any subject at all.
            "_INBOX.*.>",
            "$JS.API.INFO",
            "$JS.API.STREAM.CREATE.*",
            "$JS.API.STREAM.UPDATE.*",
            "$JS.API.STREAM.INFO.*",
            *(f"$JS.API.{read}.{stream}" for stream in streams for read in ("STREAM.MSG.GET", "DIRECT.GET")),
            *(f"$JS.API.DIRECT.GET.{stream}.>" for stream in streams),
            f"$JS.API.CONSUMER.CREATE.*.{service}",
            f"$JS.API.CONSUMER.INFO.*.{service}",
            f"$JS.API.CONSUMER.MSG.NEXT.*.{service}",
            f"$JS.ACK.*.{service}.>",
        ),
        subscribe=(
            inbox,
            f"{service}.{MAJOR}.command.>",
            f"{service}.{MAJOR}.query.>",
            f"{service}.{MAJOR}.wake",
        ),
    )


def _not_for(role: str) -> tuple[str, ...]:
    """Commands and queries whose contracts do not name the role."""
    asked = [*contracts("command"), *contracts("query")]
    return tuple(subject_of(c, ">") for c in asked if issubclass(c, Command | Query) and role not in c.roles)


class Keys:
    """The private keys of one platform, each in a file of its own (mode 0600) in one directory (mode 0700).

    Beside them stands who was given access, in ``access.jsonl``.
    """

    def __init__(self, pairs: dict[str, nkeys.KeyPair], directory: Path) -> None:
        self._pairs = pairs
        self._register = AccessRegister(directory / "access.jsonl")

    @classmethod
    def create(cls, directory: Path) -> "Keys":
        """Makes whatever keys are missing in the directory, keeps those that are there, and loads all."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, prefix in _KEYS.items():
            if not (path := directory / f"{name}.nk").exists():
                _write_secret(path, nkeys.encode_seed(os.urandom(32), prefix).decode() + "\n")
        return cls.load(directory)

    @classmethod
    def load(cls, directory: Path) -> "Keys":
        """Reads the keys; ``IdentityError`` if one is missing or cannot be read."""
        pairs = {}
        for name in _KEYS:
            path = directory / f"{name}.nk"
            try:
                pairs[name] = nkeys.from_seed(path.read_text().strip().encode())
            except FileNotFoundError:
                raise IdentityError(f"There is no key {path}: make the keys first, or say where they are.") from None
            except (OSError, ValueError, nkeys.NkeysError) as error:
                raise IdentityError(f"The key {path} cannot be read: {error}.") from None
        return cls(pairs, directory)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else issues, takes back, or writes down what was taken back, meanwhile. Not for use inside itself."""
        with self._registering():  # opened for writing, without which no file can be locked over a network
            register = os.open(self._register.path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            with self._registering():
                fcntl.flock(register, fcntl.LOCK_EX)
            yield
        finally:
            os.close(register)

    def account_jwt(self) -> str:
        """The account CONCORD: the permissions of every role as the contracts are now, and what was taken back."""
        scopes = []
        for role in ROLES:
            allowed = permissions(role)
            template = {
                "pub": {"allow": allowed.publish, "deny": allowed.denied},
                "sub": {"allow": allowed.subscribe},
                **_NO_LIMIT,
            }
            scopes.append(
                {"kind": "user_scope", "key": self._public(f"role-{role}"), "role": role, "template": template}
            )
        return self._signed(
            "account",
            name=ACCOUNT,
            signer="operator",
            nats={
                "type": "account",
                "signing_keys": scopes,
                "revocations": {each.key: each.revoked_at for each in self.issued() if each.revoked_at},
                "limits": {**_ACCOUNT_LIMITS, "disk_storage": UNLIMITED, "streams": UNLIMITED, "consumer": UNLIMITED},
            },
        )

    def server_conf(self, store: Path) -> str:
        """A configuration for ``nats-server``: operator mode, and JetStream in ``store`` with every write synced.

        Where it listens is not said: pass ``--addr`` and ``--port``. Nothing else is opened, and nobody gets in
        without credentials.
        """
        operator = self._signed(
            "operator",
            name=ACCOUNT,
            signer="operator",
            nats={"type": "operator", "system_account": self._public("system")},
        )
        system = self._signed(
            "system", name="SYSTEM", signer="operator", nats={"type": "account", "limits": _ACCOUNT_LIMITS}
        )
        return (
            "# Written at every start, from the keys and the contracts; changes made here are lost.\n"
            # The default acknowledges first and syncs every two minutes: a power cut loses what was acknowledged.
            f"jetstream {{ store_dir: {json.dumps(str(store))}, sync_interval: always }}\n"
            f"operator: {operator}\n"
            f"system_account: {self._public('system')}\n"
            "resolver: MEMORY\n"
            "resolver_preload: {\n"
            f"  {self._public('account')}: {self.account_jwt()}\n"
            f"  {self._public('system')}: {system}\n"
            "}\n"
        )

    def issued(self) -> list[Credentials]:
        """Everything ``issue`` made, in order, and what was taken back; ``RegisterUnusable`` if nobody can tell."""
        with self._registering():
            return self._register.all()

    def revoke(self, name: str) -> int:
        """Takes back whatever a principal was issued; how many credentials those were. ``account_jwt`` says so.

        For whoever has it ``locked``, until NATS has been told: of two accounts it keeps the one it is told of last.
        """
        valid = [each for each in self.issued() if each.principal == name and each.revoked_at is None]
        with self._registering():
            self._register.revoke(valid, int(time.time()))
        return len(valid)

    def is_void(self, creds: str) -> bool:
        """Whether credentials (the text of a ``.creds`` file) were taken back."""
        claims = claims_of(creds)
        return any(each.key == claims.get("sub") and each.revoked_at for each in self.issued())

    def take_in(self, creds: str) -> None:
        """Enters credentials that these keys issued and the register does not have: from before it, or a backup.

        Nothing happens with any others.
        """
        claims, held = claims_of(creds), self.holder(creds)
        if held is not None and all(each.key != claims["sub"] for each in self.issued()):
            with self.locked(), self._registering():
                self._register.issue(*held, claims["sub"], claims["iat"])

    @contextmanager
    def _registering(self) -> Iterator[None]:
        try:
            yield
        except RegisterDamaged as error:
            raise RegisterUnusable(str(error)) from None
        except OSError as error:
            raise RegisterUnusable(f"{self._register.path} cannot be used: {error.strerror}.") from None

    def issue(self, role: str, name: str) -> str:
        """Credentials (the text of a ``.creds`` file) for a principal in a role; a new key each time.

        ``IdentityError`` if there can be none, ``AnotherRole`` if the principal has one, ``RegisterUnusable`` if nobody
        could take them back.
        """
        check_principal(role, name)
        user = nkeys.from_seed(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER))
        issued_at = int(time.time())
        jwt = _encode(
            {"sub": _public(user), "name": name, "iat": issued_at},
            nats={"type": "user", "issuer_account": self._public("account")},
            signer=self._pairs[f"role-{role}"],
        )
        with self.locked():
            for each in self.issued():
                if each.principal == name and each.role != role and each.revoked_at is None:
                    raise AnotherRole(each)
            with self._registering():
                self._register.issue(name, role, _public(user), issued_at)
        return _creds(jwt, user)

    @property
    def account_update(self) -> str:
        """Where the system account tells running servers to go by another ``account_jwt``; they tell one another."""
        return f"$SYS.ACCOUNT.{self._public('account')}.CLAIMS.UPDATE"

    def issue_to_keeper(self, permissions: Permissions, seconds: int, account: str = "account") -> str:
        """Credentials for whoever holds the keys and needs, for a while, what no role may: a backup, a restore.

        The permissions stand in the credentials themselves, and so does when they end. ``account``: or ``system``.
        """
        user = nkeys.from_seed(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER))
        allowed = {"pub": {"allow": permissions.publish}, "sub": {"allow": permissions.subscribe}, **_NO_LIMIT}
        jwt = _encode(
            {"sub": _public(user), "name": KEEPER, "exp": int(time.time()) + seconds},
            nats={"type": "user", **allowed},
            signer=self._pairs[account],
        )
        return _creds(jwt, user)

    def holder(self, creds: str) -> tuple[str, str] | None:
        """The principal and the role that these keys issued credentials (the text of a ``.creds`` file) to, if any."""
        claims = claims_of(creds)
        role = next((role for role in ROLES if self._public(f"role-{role}") == claims.get("iss")), None)
        if role is None or (parts := _JWT.search(creds)) is None:
            return None
        try:
            self._pairs[f"role-{role}"].verify(parts[1].encode(), base64.urlsafe_b64decode(parts[3] + "=="))
        except (ValueError, nkeys.NkeysError):
            return None
        return claims["name"], role

    def _public(self, name: str) -> str:
        return _public(self._pairs[name])

    def _signed(self, subject: str, *, name: str, signer: str, nats: dict[str, Any]) -> str:
        return _encode({"sub": self._public(subject), "name": name}, nats=nats, signer=self._pairs[signer])


def check_principal(role: str, name: str) -> None:
    """Raises ``IdentityError`` if nobody of this name can have this role."""
    if role not in ROLES:
        raise IdentityError(f"There is no role {role!r}: the roles are {', '.join(ROLES)}.")
    if not re.fullmatch(PRINCIPAL_PATTERN, name):
        raise IdentityError(
            f"{name!r} cannot be the name of a principal: it becomes one word of a subject, so 1 to 63 letters, "
            "digits, hyphens and underscores, of which the first is a letter or a digit."
        )
    if (name in SERVICES or role in SERVICES) and name != role:
        raise IdentityError(
            f"{name!r} cannot have the role {role!r}: a service has the role of its own name, and nobody else does."
        )
    if name == KEEPER:
        raise IdentityError(f"{name!r} cannot be the name of a principal: backups are made under it.")
    if name == OPERATOR and role != OPERATOR:
        raise IdentityError(
            f"{name!r} cannot have the role {role!r}: the local stack is run with the credentials of that name, "
            f"so its role is {OPERATOR!r}."
        )


def claims_of(creds: str) -> dict[str, Any]:
    """What the JWT of credentials (the text of a ``.creds`` file) says of itself; nothing if there is none."""
    try:
        claims = json.loads(base64.urlsafe_b64decode(_JWT.search(creds)[2] + "=="))  # type: ignore[index]
    except (ValueError, TypeError):
        return {}
    return claims if isinstance(claims, dict) else {}


def write_creds(path: Path, creds: str) -> None:
    """Writes credentials to a file that only its owner may read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    _write_secret(path, creds)


def keep_credentials(keys: Keys, path: Path, principal: str) -> bool:
    """Sees to it that a service or the operator has valid credentials in a file; whether it made new ones."""
    if path.exists():
        creds = path.read_text(errors="replace")
        keys.take_in(creds)
        if not keys.is_void(creds):
            return False
    write_creds(path, keys.issue(principal, principal))
    return True


_KEYS = {
    "operator": nkeys.PREFIX_BYTE_OPERATOR,
    "account": nkeys.PREFIX_BYTE_ACCOUNT,
    "system": nkeys.PREFIX_BYTE_ACCOUNT,
    **{f"role-{role}": nkeys.PREFIX_BYTE_ACCOUNT for role in ROLES},
}
_JWT = re.compile(r"BEGIN NATS USER JWT-+\s+([^.\s]+\.([^.\s]+))\.([^.\s]+)")
_NO_LIMIT = {"subs": UNLIMITED, "data": UNLIMITED, "payload": UNLIMITED}
# Leaf nodes and bearer tokens are left out, so they are refused.
_ACCOUNT_LIMITS = {
    **_NO_LIMIT,
    "imports": UNLIMITED,
    "exports": UNLIMITED,
    "wildcards": True,
    "conn": UNLIMITED,
    "disallow_bearer": True,
}


def _encode(claims: dict[str, Any], *, nats: dict[str, Any], signer: nkeys.KeyPair) -> str:
    claims = {"iat": int(time.time())} | claims | {"iss": _public(signer), "nats": {**nats, "version": 2}}
    digest = hashlib.sha256(json.dumps(claims, sort_keys=True).encode()).digest()
    claims["jti"] = base64.b32encode(digest).decode().rstrip("=")
    signed = f"{_base64({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_base64(claims)}"
    return f"{signed}.{_unpadded(signer.sign(signed.encode()))}"


def _creds(jwt: str, user: nkeys.KeyPair) -> str:
    return (
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    )


def _base64(part: dict[str, Any]) -> str:
    return _unpadded(json.dumps(part, separators=(",", ":")).encode())


def _unpadded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _public(pair: nkeys.KeyPair) -> str:
    public: bytes = pair.public_key
    return public.decode().rstrip("=")


def _write_secret(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
