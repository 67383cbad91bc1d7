"""Who was given credentials, and from whom they were taken back: a line of JSON for each, in a file beside the keys.

The file only grows. A line counts once its end is written: what is broken off before that did not happen. Two programs
must not write at once: ``Keys.locked`` sees to that.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


class RegisterDamaged(Exception):
    """The register cannot be read; the message names the line."""


@dataclass(frozen=True)
class Credentials:
    """Credentials that were issued. ``key`` is their public key; moments are seconds since 1970."""

    principal: str
    role: str
    key: str
    issued_at: int
    revoked_at: int | None = None


class AccessRegister:
    """The register in a file, which need not be there yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def all(self) -> list[Credentials]:
        """Everything that was ever issued, in that order. ``RegisterDamaged`` if a line cannot be read."""
        found: dict[str, Credentials] = {}
        for number, line in enumerate(self._whole().splitlines(), start=1):
            try:
                said = json.loads(line)
                if (key := said.get("revoked")) is None:
                    who, role, key = str(said["principal"]), str(said["role"]), str(said["key"])
                    found[key] = Credentials(who, role, key, int(said["issued_at"]))
                else:
                    found[key] = replace(found[key], revoked_at=int(said["at"]))
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
                raise RegisterDamaged(
                    f"Line {number} of {self.path} cannot be read ({type(error).__name__}): mend that line, or take "
                    "the file from a backup."
                ) from None
        return list(found.values())

    def issue(self, principal: str, role: str, key: str, at: int) -> None:
        """Notes that credentials are about to be handed out."""
        self._append([{"principal": principal, "role": role, "key": key, "issued_at": at}])

    def revoke(self, taken_back: Sequence[Credentials], at: int) -> None:
        """Notes that credentials are taken back, for good."""
        # NATS passes over what was issued after it was taken back, and the clock may have been set back in between.
        self._append([{"revoked": each.key, "at": max(at, each.issued_at)} for each in taken_back])

    def _whole(self) -> bytes:
        """The lines that have an end."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return b""
        return content[: content.rfind(b"\n") + 1]

    def _append(self, lines: Sequence[dict[str, Any]]) -> None:
        if not lines:
            return
        is_new = not self.path.exists() or not self.path.stat().st_size
        with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.truncate(len(self._whole()))
            file.seek(0, os.SEEK_END)
            file.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            directory = os.open(self.path.parent, os.O_RDONLY)
            os.fsync(directory)
            os.close(directory)
