"""A plan: asked for, then worked out beside the service, then planned or failed. It books nothing by itself."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel

from services.events.domain.member import Network
from services.events.domain.plan_inputs import Inputs
from shared.contracts.events import (
    Certificate,
    MeetingsPlanned,
    PlanFailed,
    PlanMeetings,
    PlannedMeeting,
    PlanningStarted,
    PlanState,
    Rule,
)
from shared.contracts.message import Event
from shared.refusal import Refusal


class Plan(BaseModel, frozen=True):
    """The next meetings of an umbrella network, or why there is no plan for them."""

    id: str
    umbrella: str
    state: PlanState
    asked_at: datetime
    follows: tuple[str, ...]
    """The meetings, oldest first, that the rules of turn and spacing were applied after."""
    meetings: tuple[PlannedMeeting, ...] = ()
    certificate: Certificate | None = None
    code: str | None = None
    sentence: str | None = None
    conflicting: tuple[Rule, ...] = ()


class Planned(BaseModel, frozen=True):
    """What the planner answers when there is a plan."""

    meetings: tuple[PlannedMeeting, ...]
    certificate: Certificate


class Impossible(BaseModel, frozen=True):
    """What it answers when there is none: why, and each rule that, given up alone, would allow one."""

    code: str
    sentence: str
    conflicting: tuple[Rule, ...] = ()


class Worked(BaseModel, frozen=True):
    """What comes back from the process that plans: one of ``planned`` and ``impossible``, and what it was made from."""

    planned: Planned | None = None
    impossible: Impossible | None = None
    worked_from: dict[str, object]
    digest: str


class WorkedFrom(BaseModel, frozen=True):
    """Everything a plan was worked out from, kept so that it can be worked out again."""

    plan: str
    digest: str
    inputs: dict[str, object]


def start(
    command: PlanMeetings, plan: str, umbrella: Network | None, inputs: Inputs, at: datetime
) -> list[Event] | Refusal:
    """Has the next meetings of an umbrella network planned."""
    if umbrella is None or not umbrella.umbrella:
        known = "no network" if umbrella is None else f"{umbrella.name}, which is no umbrella network,"
        return Refusal(
            code="not-an-umbrella",
            sentence=f"{known} has the id {command.umbrella}; meetings are planned for the members of an umbrella "
            "network, which list-networks of membership shows.",
            field="umbrella",
        )
    if not inputs.members:
        return Refusal(
            code="no-member-networks",
            sentence=f"{umbrella.name} has no member network yet; admit some, then plan their meetings.",
            field="umbrella",
        )
    if not inputs.venues:
        return Refusal(
            code="no-venues",
            sentence="No venue is registered; register some with register-venue, then plan.",
            field="umbrella",
        )
    return [
        PlanningStarted(
            plan=plan,
            umbrella=command.umbrella,
            meetings=command.meetings,
            follows=tuple(meeting.meeting for meeting in inputs.past),
            asked_at=at,
        )
    ]


def finish(plan: Plan, outcome: Worked | str) -> Sequence[Event]:
    """What came of a plan: ``outcome`` is what the planner answered, or why it could not."""
    if isinstance(outcome, Worked) and outcome.planned is not None:
        meetings, certificate = outcome.planned.meetings, outcome.planned.certificate
        return [MeetingsPlanned(plan=plan.id, umbrella=plan.umbrella, meetings=meetings, certificate=certificate)]
    if isinstance(outcome, Worked) and outcome.impossible is not None:
        failed = outcome.impossible
    else:
        failed = Impossible(code="planner-failed", sentence=f"The planner could not finish: {outcome}")
    return [PlanFailed(plan=plan.id, umbrella=plan.umbrella, **failed.model_dump())]


def evolve(plan: Plan | None, event: Event) -> Plan:
    """Applies what happened to a plan."""
    match event, plan:
        case PlanningStarted(), None:
            return Plan(
                id=event.plan,
                umbrella=event.umbrella,
                state="in-hand",
                asked_at=event.asked_at,
                follows=event.follows,
            )
        case MeetingsPlanned(), Plan():
            return plan.model_copy(
                update={"state": "planned", "meetings": event.meetings, "certificate": event.certificate}
            )
        case PlanFailed(), Plan():
            return plan.model_copy(
                update={
                    "state": "failed",
                    "code": event.code,
                    "sentence": event.sentence,
                    "conflicting": event.conflicting,
                }
            )
    raise TypeError(f"{event.wire.type} does not happen to {plan}")


def unknown_plan(plan: str) -> Refusal:
    """Nobody asked for it."""
    return Refusal(
        code="plan-unknown",
        sentence=f"No plan has the id {plan}; plan-meetings answers with the id of the plan it starts.",
        field="plan",
    )


def not_worked_out(plan: str) -> Refusal:
    """Nothing is kept of it yet, or nobody asked for it."""
    return Refusal(
        code="plan-not-worked-out",
        sentence=f"Nothing was worked out for a plan {plan}; show-plan says how far it is.",
        field="plan",
    )


def speaks_of(plan: Plan) -> set[str]:
    """The ids of networks and venues a plan mentions."""
    mentioned = {plan.umbrella} | {meeting.venue for meeting in plan.meetings}
    if plan.certificate is not None:
        mentioned |= {burden.network for burden in plan.certificate.burdens} | set(plan.certificate.not_counted)
        mentioned |= {verdict.venue for verdict in plan.certificate.verdicts}
    return mentioned
