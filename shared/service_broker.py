"""FastStream's broker on a connection of ours. Apart from ``broker.py``, so that tools need not load FastStream."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faststream.nats import NatsBroker

from shared.broker import Connection, connect


class ServiceBroker(NatsBroker):
    """FastStream's broker on a ``Connection``, so that a service connects as everything else does.

    FastStream's own connection gives up at the first start when there is no server, and raises errors from a callback,
    which ends the client's attempts to reconnect without a word.
    """

    def __init__(self, urls: Sequence[str], creds: Path, **options: Any) -> None:
        super().__init__(list(urls), apply_types=False, **options)
        self._urls = tuple(urls)
        self._creds = creds

    async def _connect(self) -> Connection:
        connection = await connect(self._urls, self._creds)
        self.config.connect(connection)
        return connection
