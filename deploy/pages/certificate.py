"""The page that explains a plan: what each network bears, why no other venue was taken, what another would cost."""

from dataclasses import dataclass

from deploy.pages.templates import TEMPLATES
from shared.contracts.events import Certificate, NetworkBurden, PlanView, Rule, VenueVerdict

WIDTH = 240
"""Width of a bar of the worst-off network, in the page's own units."""

RULES: dict[Rule, str] = {
    "capacity": "too small for the seats asked for",
    "step-free": "not step-free",
    "london": "London would come more than once in three meetings",
    "host-turn": "its host would come again before its turn",
    "region-turn": "its region would come again before its turn",
}


@dataclass(frozen=True)
class Bar:
    """One network: its figures in words, and how long its bar is before and through the plan."""

    name: str
    representatives: int
    before: int
    minutes: tuple[int, ...]
    after: int
    estimated: bool
    difference: str | None
    """What the best alternative would cost it, against the plan."""
    was: float
    adds: float
    alternative: float | None


@dataclass(frozen=True)
class Verdict:
    """One venue that was not taken for a meeting, and why."""

    venue: str
    allowed: bool
    why: str


def render(plan: PlanView) -> str:
    """The certificate of a plan as HTML that stands alone: no script, no other file, readable without colour.

    Raises ValueError if the plan has none: it is still in hand, or it failed.
    """
    certificate = plan.certificate
    if certificate is None:
        raise ValueError(f"the plan {plan.id} is {plan.state} and has no certificate. {plan.sentence or ''}".strip())
    scale = max(certificate.worst, certificate.alternative.worst if certificate.alternative else 0, 1)
    return TEMPLATES.get_template("certificate.html").render(
        plan=plan,
        certificate=certificate,
        umbrella=_name(plan, plan.umbrella),
        meetings=[
            {
                "number": meeting.number,
                "day": f"{meeting.date:%A} {meeting.date.day} {meeting.date:%B %Y}",
                "venue": _name(plan, meeting.venue),
                "why": why,
                "verdicts": [
                    _verdict(plan, verdict, certificate.worst)
                    for verdict in sorted(
                        certificate.verdicts, key=lambda verdict: (bool(verdict.rules), verdict.worst or 0)
                    )
                    if verdict.number == meeting.number
                ],
            }
            for meeting, why in zip(plan.meetings, certificate.dates, strict=True)
        ],
        proof=_proof(certificate),
        bars=[_bar(plan, burden, scale) for burden in certificate.burdens],
        alternative=_alternative(plan, certificate),
        not_counted=[_name(plan, network) for network in certificate.not_counted],
        width=WIDTH,
    )


def _name(plan: PlanView, id_: str) -> str:
    return plan.names.get(id_, id_)


def _proof(certificate: Certificate) -> str:
    if certificate.proof == "optimal":
        return (
            f"Proven: of all choices of venues that keep the rules, none leaves the worst-off network with less than "
            f"{certificate.worst} minutes, and of those that leave it with as much, none is better for the next worst "
            "off, and so on down to the last."
        )
    return (
        f"Not proven: the search stopped at its limit. The worst-off network bears {certificate.worst} minutes by this "
        f"plan, and no plan can leave it with less than {certificate.bound}."
    )


def _bar(plan: PlanView, burden: NetworkBurden, scale: int) -> Bar:
    difference = None if burden.by_alternative is None else burden.by_alternative - burden.after
    return Bar(
        name=_name(plan, burden.network),
        representatives=burden.representatives,
        before=burden.before,
        minutes=burden.minutes,
        after=burden.after,
        estimated=burden.estimated,
        difference=None if difference is None else _signed(difference),
        was=round(burden.before / scale * WIDTH, 1),
        adds=round((burden.after - burden.before) / scale * WIDTH, 1),
        alternative=None if burden.by_alternative is None else round(burden.by_alternative / scale * WIDTH, 1),
    )


def _signed(minutes: int) -> str:
    return f"{minutes} more" if minutes > 0 else f"{-minutes} less" if minutes < 0 else "the same"


def _verdict(plan: PlanView, verdict: VenueVerdict, worst: int) -> Verdict:
    if verdict.rules:
        return Verdict(_name(plan, verdict.venue), False, "; ".join(RULES[rule] for rule in verdict.rules))
    if verdict.worst == worst:
        why = f"the worst-off network would bear as much, {worst} minutes, but others more"
    else:
        why = f"the worst-off network would bear {verdict.worst} minutes instead of {worst}"
    return Verdict(_name(plan, verdict.venue), True, why)


def _alternative(plan: PlanView, certificate: Certificate) -> dict[str, object] | None:
    """What the best alternative would cost whom, in figures for a sentence."""
    if certificate.alternative is None:
        return None
    differences = [
        (burden.by_alternative - burden.after, _name(plan, burden.network))
        for burden in certificate.burdens
        if burden.by_alternative is not None
    ]
    most, hardest = max(differences)
    return {
        "venues": [_name(plan, venue) for venue in certificate.alternative.venues],
        "worst": certificate.alternative.worst,
        "person_minutes": certificate.alternative.person_minutes,
        "more": sum(difference > 0 for difference, _ in differences),
        "less": sum(difference < 0 for difference, _ in differences),
        "hardest": hardest if most > 0 else None,
        "most": most,
    }
