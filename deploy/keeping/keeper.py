"""Connections for whoever holds the platform's keys, to do what no role may."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from nats.aio.msg import Msg

from shared.broker import BrokerError, Unreachable, connect
from shared.broker import Connection as Nats
from shared.identity import KEEPER, Keys, Permissions, inbox_prefix, write_creds

CONNECT_WITHIN = 10.0
"""Seconds to wait for a NATS server."""
INBOX = f"{inbox_prefix(KEEPER)}.>"
TELL_WITHIN = 5.0
"""The same for each server that is told who was taken back."""
A_MOMENT = 600
"""Seconds for which credentials are good that are for one request; clocks may differ."""
ANSWER_WITHIN = 5.0
STRAGGLERS = 1.0
"""Seconds that are left to the other servers of a cluster once one has answered."""
DONE = "jwt updated"
"""What a server says that goes by the account it was told."""
WORDS = {
    "jwt update skipped": "{} goes by its configuration alone: have that written anew (`concord init`), and restart it."
}
"""What else a server may say, in the operator's words; that one has the same code as ``DONE``."""


@asynccontextmanager
async def connected(urls: Sequence[str], creds: str, within: float = CONNECT_WITHIN) -> AsyncIterator[Nats]:
    """A connection with credentials (the text of a ``.creds`` file) that are in no file once it stands."""
    with tempfile.TemporaryDirectory(prefix="concord-keeper-") as directory:
        file = Path(directory) / f"{KEEPER}.creds"
        write_creds(file, creds)
        nc = await connect(urls, file, patience=within)
    try:
        yield nc
    finally:
        await nc.close()


async def renew_account(urls: Sequence[str], keys: Keys) -> int:
    """Has running servers go by ``keys.account_jwt()`` as it is now, and cut off whoever was taken back; how many do.

    ``BrokerError`` if one of them will not, or cannot be reached. For whoever has the keys ``locked``.
    """
    silent: dict[str, str] = {}
    nothing = Permissions((INBOX,), (INBOX,))
    for url in urls:  # a server at which nobody was yet goes by its configuration, and passes over what it is told
        try:
            async with connected([url], keys.issue_to_keeper(nothing, A_MOMENT), TELL_WITHIN):
                pass
        except Unreachable as error:
            silent[url] = str(error)
    wrong: list[str] = []
    told = 0
    if reached := [url for url in urls if url not in silent]:
        allowed = Permissions(publish=(keys.account_update,), subscribe=(INBOX,))
        async with connected(reached, keys.issue_to_keeper(allowed, A_MOMENT, "system"), TELL_WITHIN) as nc:
            answers = await _answers(nc, keys.account_update, keys.account_jwt())
        wrong = [
            WORDS.get(said, "{} says: " + said + ".").format(name) for name, said in answers.items() if said != DONE
        ]
        told = len(answers) - len(wrong)
    if problems := [*silent.values(), *wrong] or ([] if told else ["NATS does not answer."]):
        raise BrokerError(" ".join(problems))
    return told


async def _answers(nc: Nats, subject: str, payload: str) -> dict[str, str]:
    """What each server says to the same request; of a cluster nobody knows how many there are."""
    found: dict[str, str] = {}
    heard = asyncio.Event()

    async def hear(message: Msg) -> None:
        said = json.loads(message.data)
        found[said["server"]["name"]] = said.get("data", {}).get("message") or said["error"]["description"]
        heard.set()

    inbox = nc.new_inbox()
    await nc.subscribe(inbox, cb=hear)
    await nc.publish(subject, payload.encode(), reply=inbox)
    with suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_WITHIN):
            await heard.wait()
    if "cluster" in nc._server_info:
        await asyncio.sleep(STRAGGLERS)
    return found
