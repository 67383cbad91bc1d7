"""The next meetings of an umbrella network: days, venues and the certificate that explains them."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import NamedTuple

import numpy as np

from services.events.domain.plan import Impossible, Planned
from services.events.domain.plan_inputs import Holidays, Inputs, MemberInputs, VenueInputs
from services.events.domain.planner import Choice, Problem, Solution, any_choice, solve
from services.events.domain.rotation import ROTATION, Stop, Turns, broken, gap, turns, without
from services.events.domain.travel import Journey, KnownTimes, Spot, journey, known_times, mean_minutes
from services.events.domain.working_days import Day, choose_days, closed_days
from shared.contracts.events import (
    Alternative,
    Certificate,
    NetworkBurden,
    PlannedMeeting,
    Rule,
    VenueVerdict,
    Windows,
)
from shared.refusal import Refusal

FITNESS: tuple[Rule, ...] = ("capacity", "step-free")


class Map(NamedTuple):
    """The journeys of the networks that are counted (N) to all venues (V)."""

    members: Sequence[MemberInputs]
    minutes: np.ndarray
    """N × V: whole minutes of the mean representative."""
    estimated: np.ndarray
    """N × V: whether any of its representatives' journeys is an estimate."""
    person_minutes: np.ndarray
    """V: of all representatives together."""


def plan(inputs: Inputs, holidays: Holidays, digest: str) -> Planned | Impossible:
    """Days and venues for the next meetings; the same inputs always give the same answer."""
    days = _days(inputs, holidays)
    if isinstance(days, Refusal):
        return Impossible(code=days.code, sentence=days.sentence)
    members = [member for member in inputs.members if member.offices]
    if not members:
        return Impossible(
            code="no-office-known",
            sentence="No office of any member network is known, so no journey can be told. Their stewards or "
            "representatives say where they set out from with membership's move-office.",
        )
    venues = sorted(inputs.venues, key=lambda venue: venue.venue)
    travel = _map(members, venues, known_times(inputs.known_times))
    fit = [number for number, venue in enumerate(venues) if not unfit(venue, inputs.seats)]
    rules = _turns(inputs, venues, fit)
    solution = solve(_problem(inputs, venues, fit, travel, rules)) if fit else None
    if solution is None:
        return _impossible(inputs, venues, travel)
    solution = _renumbered(solution, fit)
    meetings = tuple(
        PlannedMeeting(number=number, date=day.day, venue=venues[venue].venue)
        for number, (day, venue) in enumerate(zip(days, solution.best.venues, strict=True), start=1)
    )
    certificate = Certificate(
        digest=digest,
        proof="optimal" if solution.optimal else "bounded",
        bound=solution.bound,
        worst=solution.best.worst,
        person_minutes=_person_minutes(travel, solution.best),
        rules=Windows(
            seats=inputs.seats,
            notice_days=inputs.notice_days,
            host_window=max((rules.hosts[venues[number].host] for number in fit), default=0),
            region_window=max((rules.regions[venues[number].region] for number in fit), default=0),
        ),
        burdens=_burdens(travel, solution),
        not_counted=tuple(member.network for member in inputs.members if not member.offices),
        verdicts=_verdicts(inputs, venues, travel, rules, solution.best),
        alternative=solution.runner_up
        and Alternative(
            venues=tuple(venues[venue].venue for venue in solution.runner_up.venues),
            worst=solution.runner_up.worst,
            person_minutes=_person_minutes(travel, solution.runner_up),
        ),
        dates=tuple(day.why for day in days),
    )
    return Planned(meetings=meetings, certificate=certificate)


def unfit(venue: VenueInputs, seats: int) -> tuple[Rule, ...]:
    """The rules by which a venue can hold no meeting of this size at all."""
    found: list[Rule] = []
    if venue.capacity < seats:
        found.append("capacity")
    if not venue.step_free:
        found.append("step-free")
    return tuple(found)


def _days(inputs: Inputs, holidays: Holidays) -> list[Day] | Refusal:
    attending = {office.nation for member in inputs.members for office in member.offices}
    attending |= {venue.nation for venue in inputs.venues}
    closed = closed_days(
        [(day.nation, day.date, day.name) for day in holidays.days if day.nation in attending],
        [(blackout.name, blackout.first, blackout.last) for blackout in inputs.blackouts],
        holidays.known_until,
    )
    previous = inputs.past[-1].date if inputs.past else None
    notice = timedelta(days=inputs.notice_days)
    return choose_days(inputs.meetings, inputs.today, notice, previous, inputs.earliest, closed)


def _map(members: Sequence[MemberInputs], venues: Sequence[VenueInputs], known: KnownTimes) -> Map:
    ends = [Spot(venue.place, venue.latitude, venue.longitude) for venue in venues]
    offices = {Spot(office.place, office.latitude, office.longitude) for member in members for office in member.offices}
    journeys: Mapping[Spot, list[Journey]] = {
        office: [journey(office, end, known) for end in ends] for office in offices
    }
    minutes, estimated, people = [], [], np.zeros(len(venues), dtype=np.int64)
    for member in members:
        each = [journeys[Spot(office.place, office.latitude, office.longitude)] for office in member.offices]
        minutes.append([mean_minutes([to.minutes for to in venue]) for venue in zip(*each, strict=True)])
        estimated.append([any(to.estimated for to in venue) for venue in zip(*each, strict=True)])
        people += np.array([sum(to.minutes for to in venue) for venue in zip(*each, strict=True)], dtype=np.int64)
    return Map(members, np.array(minutes), np.array(estimated), people)


def _stop(venue: VenueInputs) -> Stop:
    return Stop(venue.host, venue.region)


def _past(inputs: Inputs) -> list[Stop]:
    return [Stop(meeting.host, meeting.region) for meeting in inputs.past]


def _turns(inputs: Inputs, venues: Sequence[VenueInputs], fit: Sequence[int]) -> Turns:
    return turns([_stop(venues[number]) for number in fit], inputs.host_window, inputs.region_window)


def _problem(inputs: Inputs, venues: Sequence[VenueInputs], fit: Sequence[int], travel: Map, rules: Turns) -> Problem:
    stops, past = [_stop(venues[number]) for number in fit], _past(inputs)
    apart = partial(gap, rules=rules)
    kinds = {stop: number for number, stop in enumerate(dict.fromkeys(stops))}
    kind = np.array([kinds[stop] for stop in stops])
    between = np.array([[apart(one, other) for other in kinds] for one in kinds])

    def allowed(stop: Stop, number: int) -> bool:
        return all(apart(stop, held) <= number + len(past) - place for place, held in enumerate(past))

    by_kind = np.array([[allowed(stop, number) for number in range(inputs.meetings)] for stop in kinds])
    return Problem(
        burden=np.array([member.burden for member in travel.members]),
        minutes=travel.minutes[:, fit],
        person_minutes=travel.person_minutes[fit],
        apart=between[kind[:, None], kind[None, :]],
        allowed=by_kind[kind],
    )


def _renumbered(solution: Solution, fit: Sequence[int]) -> Solution:
    """The solution in numbers of all venues, not only of those that are fit."""

    def of_all(choice: Choice) -> Choice:
        return choice._replace(venues=tuple(fit[venue] for venue in choice.venues))

    return solution._replace(best=of_all(solution.best), runner_up=solution.runner_up and of_all(solution.runner_up))


def _person_minutes(travel: Map, choice: Choice) -> int:
    return int(travel.person_minutes[list(choice.venues)].sum())


def _burdens(travel: Map, solution: Solution) -> tuple[NetworkBurden, ...]:
    chosen, other = list(solution.best.venues), solution.runner_up and list(solution.runner_up.venues)
    burdens = []
    for number, member in enumerate(travel.members):
        minutes = tuple(travel.minutes[number, chosen].tolist())
        burdens.append(
            NetworkBurden(
                network=member.network,
                representatives=len(member.offices),
                before=member.burden,
                minutes=minutes,
                after=member.burden + sum(minutes),
                by_alternative=None if other is None else member.burden + int(travel.minutes[number, other].sum()),
                estimated=bool(travel.estimated[number, chosen].any()),
            )
        )
    return tuple(sorted(burdens, key=lambda burden: (-burden.after, burden.network)))


def _verdicts(
    inputs: Inputs, venues: Sequence[VenueInputs], travel: Map, rules: Turns, choice: Choice
) -> tuple[VenueVerdict, ...]:
    """For each meeting, each venue in the chosen one's stead, the other meetings being as planned."""
    past, chosen = _past(inputs), list(choice.venues)
    burden = np.array([member.burden for member in travel.members])
    verdicts = []
    for place, taken in enumerate(chosen):
        others = burden + travel.minutes[:, chosen].sum(axis=1) - travel.minutes[:, taken]
        worst = (others[:, None] + travel.minutes).max(axis=0)
        for number, venue in enumerate(venues):
            if number == taken:
                continue
            row = [*past, *(_stop(venues[other]) for other in chosen)]
            row[len(past) + place] = _stop(venue)
            against = unfit(venue, inputs.seats) or broken(row, len(past) + place, rules)
            verdicts.append(
                VenueVerdict(
                    venue=venue.venue,
                    number=place + 1,
                    rules=against,
                    worst=None if against else int(worst[number]),
                )
            )
    return tuple(verdicts)


def _impossible(inputs: Inputs, venues: Sequence[VenueInputs], travel: Map) -> Impossible:
    """Which single rule, given up, would allow a plan."""

    def possible(given_up: Rule) -> bool:
        fit = [number for number, venue in enumerate(venues) if not set(unfit(venue, inputs.seats)) - {given_up}]
        if not fit:
            return False
        rules = _turns(inputs, venues, fit)
        if given_up in ROTATION:
            rules = without(given_up, rules)
        return any_choice(_problem(inputs, venues, fit, travel, rules)) is not None

    conflicting = tuple(rule for rule in (*FITNESS, *ROTATION) if possible(rule))
    asked = f"{inputs.meetings} meetings for {inputs.seats} people were asked for at {len(venues)} venues"
    if conflicting:
        way_out = "Giving up any one of these alone would allow a plan: " + ", ".join(map(_in_words, conflicting))
    else:
        way_out = "No single rule stands in the way; register more venues, in other regions and of other hosts"
    return Impossible(
        code="no-venues-keep-the-rules",
        sentence=f"{asked}, and no choice of them keeps all the rules. {way_out}.",
        conflicting=conflicting,
    )


def _in_words(rule: Rule) -> str:
    return {
        "capacity": "the seats asked for",
        "step-free": "step-free access",
        "london": "London at most once in three meetings",
        "host-turn": "the turns of hosts (host_window)",
        "region-turn": "the turns of regions (region_window)",
    }[rule]
