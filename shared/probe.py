"""``python -m shared.probe``: whether the service on this machine is ready, for the health check of its container.

It runs every few seconds in every container, so it loads next to nothing.
"""

import os
import socket
import sys

PORT = "CONCORD_HEALTH_PORT"
PATIENCE = 2.0
"""Seconds to wait for the answer."""


def main() -> int:
    """Exit code 0 if the service is ready; else 1, and the reason on standard error."""
    try:
        with socket.create_connection(("127.0.0.1", int(os.environ[PORT])), PATIENCE) as connection:
            connection.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
            head, _, said = b"".join(iter(lambda: connection.recv(4096), b"")).partition(b"\r\n\r\n")
    except OSError as error:
        sys.stderr.write(f"it does not answer: {error}\n")
        return 1
    if head.split()[1:2] == [b"200"]:
        return 0
    sys.stderr.write(said.decode())
    return 1


if __name__ == "__main__":
    sys.exit(main())
