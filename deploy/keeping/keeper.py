"""Connections for whoever holds the platform's keys, to do what no role may."""

import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from shared.broker import BrokerError, connect, request
from shared.broker import Connection as Nats
from shared.identity import KEEPER, Keys, Permissions, inbox_prefix, write_creds

CONNECT_WITHIN = 10.0
"""Seconds to wait for a NATS server."""
INBOX = f"{inbox_prefix(KEEPER)}.>"
A_MOMENT = 60
"""Seconds for which credentials are good that are for one request."""
TAKEN_OVER = 200
"""What a server answers when it goes by the account it was told."""


@asynccontextmanager
async def connected(urls: Sequence[str], creds: str) -> AsyncIterator[Nats]:
    """A connection with credentials (the text of a ``.creds`` file) that are in no file once it stands."""
    with tempfile.TemporaryDirectory(prefix="concord-keeper-") as directory:
        file = Path(directory) / f"{KEEPER}.creds"
        write_creds(file, creds)
        nc = await connect(urls, file, patience=CONNECT_WITHIN)
    try:
        yield nc
    finally:
        await nc.close()


async def renew_account(urls: Sequence[str], keys: Keys) -> None:
    """Has running servers go by ``keys.account_jwt()`` as it is now; whoever was taken back is cut off.

    ``BrokerError`` if they cannot be reached, or will not.
    """
    allowed = Permissions(publish=(keys.account_update,), subscribe=(INBOX,))
    async with connected(urls, keys.issue_to_keeper(allowed, A_MOMENT, "system")) as nc:
        answer = json.loads((await request(nc, keys.account_update, keys.account_jwt().encode())).data)
    if answer.get("data", {}).get("code") != TAKEN_OVER:
        raise BrokerError(f"NATS does not take over the account: {answer.get('error') or answer}.")
