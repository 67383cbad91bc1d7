"""``concord status`` and ``reconcile``: the same question to every service."""

from functools import partial
from typing import Annotated

import typer

from deploy.cli import options
from deploy.cli.options import AsJson, Data, ServiceName
from deploy.cli.output import DONE, FAILED, complain, complaining, finish, say, screen, show_json, working
from deploy.cli.top import picture
from shared.contracts.platform import Reconcile, Reply
from shared.identity import SERVICES

ANSWER_WITHIN = 5.0
"""Seconds; a service that takes longer to say how it is, is not well."""
STRAGGLERS = 1.0
"""Seconds that are left for replicas that take longer than the first of each service: one that is unwell may."""


@complaining
def status(data: Data = options.DATA, principal: options.As = options.AS, as_json: AsJson = False) -> None:
    """Say how every replica of every service is: whether it is ready, and what lies undone.

    A replica that answers a second later than the others is not shown.

    Ends with 0 if all are ready, with 1 if not.
    """
    from deploy.cli import roll_call, wire  # noqa: PLC0415  help need not wait for what speaks to NATS

    look = partial(roll_call.look, services=SERVICES, answer_within=ANSWER_WITHIN, stragglers=STRAGGLERS)
    rows = wire.on_stack(data, principal, look).rows()
    if as_json:
        show_json(Reply(outcome="answered", answer=rows).model_dump(mode="json"))
    else:
        screen().print(picture(rows))
    raise typer.Exit(DONE if all(row["ready"] for row in rows) else FAILED)


def _unless_all_refused(replies: dict[str, Reply], *, as_json: bool) -> None:
    """Ends the command with the refusal, where every service answers with one."""
    if all(reply.outcome == "refused" for reply in replies.values()):
        raise finish(next(iter(replies.values())), as_json=as_json)


@complaining
def reconcile(
    service: Annotated[ServiceName | None, typer.Argument(help="The one service; every service if not given.")] = None,
    data: Data = options.DATA,
    principal: options.As = options.AS,
    timeout: options.Patience = 600.0,
    as_json: AsJson = False,
) -> None:
    """Compare the stores with the streams, and publish again whatever a stream has lost."""
    from deploy.cli import wire  # noqa: PLC0415  as above

    with working("Comparing the stores with the streams"):
        replies = wire.send_to_each(data, principal, Reconcile(), [service] if service else SERVICES, timeout=timeout)
    if service:
        raise finish(replies[service], as_json=as_json)
    _unless_all_refused(replies, as_json=as_json)
    bad = [reply for reply in replies.values() if reply.outcome != "done"]
    if as_json:
        each = {name: reply.model_dump(mode="json") for name, reply in replies.items()}
        outcome = Reply(outcome="failed" if bad else "answered", answer=each)
        show_json(outcome.model_dump(mode="json"))
        raise typer.Exit(FAILED if bad else DONE)
    for name, reply in replies.items():
        if reply.done:
            lost = {stream: count for stream, count in reply.done.counts.items() if count}
            again = ", ".join(f"{count} messages of {stream} are sent again" for stream, count in lost.items())
            say(f"{name}: {again or 'nothing was lost'}")
        elif said := reply.refusal or reply.failure:
            complain(f"{name}: {said.sentence}")
    raise typer.Exit(FAILED if bad else DONE)
