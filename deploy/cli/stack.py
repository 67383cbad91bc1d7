"""The local stack that a command means: where it is, and whose credentials to use there."""

import json
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from deploy.cli.output import Complaint


@dataclass(frozen=True)
class Stack:
    """A running local stack, known by its data directory; ``urls`` are the addresses of its NATS servers."""

    directory: Path
    urls: tuple[str, ...]

    def credentials(self, name: str) -> Path:
        """The ``.creds`` file of a principal."""
        creds = self.directory / "creds"
        path = creds / f"{name}.creds"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in creds.glob("*.creds"))) or "none"
            raise Complaint(
                f"There are no credentials of {name} in {creds}; there are those of: {known}. "
                f"Make them with `concord access issue --role ROLE {name} --data {self.directory}`."
            )
        return path


def stack_in(directory: Path) -> Stack:
    """The stack whose data lies in a directory; ``Complaint`` where none was started."""
    try:
        described = json.loads((directory / "stack.json").read_text(encoding="utf-8"))
        stack = Stack(directory, tuple(str(described["url"]).split(",")))
    except FileNotFoundError:
        raise not_running(directory) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Complaint(f"{directory / 'stack.json'} cannot be read: {error}.") from None
    if not any(map(_listens, stack.urls)):
        raise not_running(directory)
    return stack


def _listens(url: str) -> bool:
    """Whether anything answers there; a stack that was stopped leaves its address behind for the next start."""
    address = urlsplit(url)
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address.hostname or "", address.port or 4222)) == 0


def not_running(directory: Path) -> Complaint:
    """What to say where no stack answers."""
    return Complaint(f"No stack is running here ({directory}): start one with `concord up --data {directory}`.")
