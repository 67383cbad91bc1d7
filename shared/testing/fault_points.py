"""Named places in the loop where a test can have the process killed, as a power cut would: without a word.

``CONCORD_FAULT=before-commit:3`` kills with SIGKILL the third time ``before-commit`` is reached. Unset, a fault point
costs one comparison.
"""

import os
import signal
from collections.abc import Awaitable, Callable
from typing import Final

POINTS: Final = (
    "before-begin", "after-begin",
    "before-effect", "after-effect",
    "before-outbox", "after-outbox",
    "before-commit", "after-commit",
    "before-reply", "after-reply",
    "before-ack", "after-ack",
    "before-batch-part", "after-batch-part",
    "before-batch-commit", "after-batch-commit",
    "before-puback", "after-puback",
    "before-mark-sent", "after-mark-sent",
    "before-dead-letter", "after-dead-letter",
    "task-begin", "task-done",
)  # fmt: skip
"""Every fault point there is, in the order a message meets them."""


def _armed() -> tuple[str, int] | None:
    setting = os.environ.get("CONCORD_FAULT")
    if not setting:
        return None
    point, _, count = setting.partition(":")
    if point not in POINTS:
        raise ValueError(f"CONCORD_FAULT={setting}: {point} is no fault point; there are {', '.join(POINTS)}")
    return point, int(count or 1)


_fault = _armed()
_passed = 0


async def fault_point_once_sent(name: str, flush: Callable[[], Awaitable[None]]) -> None:
    """The same, with everything sent so far at the server: a client keeps it until its event loop has had a turn."""
    if _fault is not None and _fault[0] == name:
        await flush()
        fault_point(name)


def fault_point(name: str) -> None:
    """Dies here if this is the point and the time a test asked for."""
    global _passed  # noqa: PLW0603 - one process, one fault
    if _fault is None or _fault[0] != name:
        return
    _passed += 1
    if _passed == _fault[1]:
        os.kill(os.getpid(), signal.SIGKILL)
