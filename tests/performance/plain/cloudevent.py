"""Tells FastStream how to read a structured CloudEvent, whose content type it does not know as JSON."""

import json
from typing import Any

from faststream.nats import NatsMessage


async def decode(message: NatsMessage) -> Any:
    return json.loads(message.body)
