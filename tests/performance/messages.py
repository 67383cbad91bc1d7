"""What is sent in every measurement: the same bytes, headers and subjects for raw JetStream, for us and for plain."""

import random
from collections.abc import Iterator

import uuid_utils
from pydantic_core import to_json

from shared.contracts.cloudevent import STRUCTURED_HEADERS
from shared.contracts.message import subject_of
from tests.performance.pipeline.membership import Paid

PUBLISHER = "bank"
SUBJECT = subject_of(Paid, PUBLISHER)
HEADERS = dict(STRUCTURED_HEADERS)

MESSAGE_BYTES = 256
"""Size of the payload of one message: a structured CloudEvent, filled up."""

ACCOUNTS = 10_000
"""Accounts the messages are spread over, at random: a batch of 500 meets nearly as many."""

BATCH_SIZE = 500
"""Messages of one atomic batch: what our relay takes."""


def payload(account: str, amount: int = 1) -> bytes:
    """One message, of exactly ``MESSAGE_BYTES``."""
    data: dict[str, str | int] = {"account": account, "amount": amount, "filler": ""}
    message = {
        "specversion": "1.0",
        "id": str(uuid_utils.uuid7()),
        "source": f"/{PUBLISHER}",
        "type": Paid.wire.type,
        "data": data,
    }
    data["filler"] = "x" * (MESSAGE_BYTES - len(to_json(message)))
    return to_json(message)


ID_AT = len(b'{"specversion":"1.0","id":"')


def renewed(message: bytes) -> bytes:
    """The same message with an id of its own, for a fraction of what making one takes."""
    new = str(uuid_utils.uuid7()).encode()
    return message[:ID_AT] + new + message[ID_AT + len(new) :]


def accounts(seed: int) -> Iterator[str]:
    """Accounts at random, the same for the same seed."""
    draw = random.Random(seed)  # noqa: S311  a load, not a secret
    while True:
        yield f"account-{draw.randrange(ACCOUNTS):05}"
