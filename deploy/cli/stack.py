"""The local stack that a command means: where it is, and whose credentials to use there."""

import fcntl
import json
import socket
from collections.abc import Sequence
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
        raise not_reached(directory) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Complaint(f"{directory / 'stack.json'} cannot be read: {error}.") from None
    if not any(map(_listens, stack.urls)):
        raise not_reached(directory, stack.urls)
    return stack


def _listens(url: str) -> bool:
    """Whether anything answers there; a stack that was stopped leaves its address behind for the next start."""
    address = urlsplit(url)
    with socket.socket() as probe:
        probe.settimeout(1)
        try:
            return probe.connect_ex((address.hostname or "", address.port or 4222)) == 0
        except OSError:  # in a container network, the name of a server that was stopped is not known
            return False


def not_reached(directory: Path, urls: Sequence[str] = ()) -> Complaint:
    """What to say where no stack answers; ``urls`` are where it should."""
    if urls and not (directory / "lock").exists():  # no local stack's directory: `concord up` is no use there
        return Complaint(f"NATS does not answer at {', '.join(urls)}: is it running?")
    if process := holder(directory):
        return Complaint(
            f"A stack runs here ({directory}, process {process}), but its NATS server does not answer; "
            f"{directory / 'logs' / 'nats.log'} may say why."
        )
    here = f"No stack is running here ({directory.resolve()})"
    return Complaint(f"{here}: start one with `concord up --data {directory}`.")


def holder(directory: Path) -> str:
    """The process that runs the local stack of a directory, or nothing."""
    try:
        with (directory / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return (directory / "lock").read_text().strip()
    except OSError:
        pass  # no stack was ever started there
    return ""
