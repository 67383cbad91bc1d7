"""On which day a meeting can be held: six months after the one before, on a day that is free in every nation."""

import calendar
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from shared.refusal import Refusal

SPACING_MONTHS = 6
LEEWAY = timedelta(weeks=6)
FIRST_MEETING_WITHIN = timedelta(weeks=12)
"""The first meeting ever has none before it: it is held within this time after the notice."""
SATURDAY = 5


class Day(NamedTuple):
    """A day for a meeting, and in words why that one."""

    day: date
    why: str


class ClosedDays(NamedTuple):
    """Days on which nothing is held, with the reason; bank holidays are known up to and including ``known_until``."""

    reasons: Mapping[date, str]
    known_until: date


def closed_days(
    holidays: Iterable[tuple[str, date, str]], blackouts: Iterable[tuple[str, date, date]], known_until: date
) -> ClosedDays:
    """Bank holidays (nation, day, name) and blackouts (name, first, last) as one calendar."""
    reasons: dict[date, str] = {}
    for nation, day, name in holidays:
        reasons[day] = f"{reasons[day]}, {nation}" if day in reasons else f"{name} in {nation}"
    for name, first, last in blackouts:
        for offset in range((last - first).days + 1):
            reasons[first + timedelta(days=offset)] = name
    return ClosedDays(reasons, known_until)


def choose_days(
    count: int, today: date, notice: timedelta, previous: date | None, earliest: date | None, closed: ClosedDays
) -> list[Day] | Refusal:
    """A day for each of ``count`` meetings: the open day nearest to six months after the meeting before it."""
    soonest = today + notice
    wanted = max(soonest, earliest or soonest)
    days: list[Day] = []
    for number in range(1, count + 1):
        day = _choose_day(number, soonest, wanted, previous, closed)
        if isinstance(day, Refusal):
            return day
        days.append(day)
        previous = day.day
    return days


def _choose_day(number: int, soonest: date, wanted: date, previous: date | None, closed: ClosedDays) -> Day | Refusal:
    if previous is None:
        target, first, last = wanted, wanted, wanted + FIRST_MEETING_WITHIN
        aim = "the first meeting, as soon as the notice allows" if wanted == soonest else "the first meeting"
    else:
        target = months_after(previous, SPACING_MONTHS)
        first, last = max(target - LEEWAY, wanted), target + LEEWAY
        aim = f"six months after {_say(previous)}"
        if last < soonest:
            target, first, last = soonest, wanted, soonest + LEEWAY
            aim = f"overdue: more than six months and six weeks after {_say(previous)}, so as soon as the notice allows"
        if first > last:
            return Refusal(
                code="spacing",
                sentence=f"Meeting {number} was asked for no earlier than {_say(wanted)}, but meetings are six months "
                f"apart, give or take six weeks, so it must be held by {_say(last)}.",
                data={"earliest": wanted.isoformat(), "latest_allowed": last.isoformat()},
            )
    day = _nearest_open_day(number, max(target, first), first, last, aim, closed)
    if isinstance(day, Day) and day.day > closed.known_until:
        return Refusal(
            code="bank-holidays-unknown",
            sentence=f"Meeting {number} would be held on {_say(day.day)}, but bank holidays are known to "
            f"{_say(closed.known_until)} only; plan fewer meetings, or plan it later.",
            data={"known_until": closed.known_until.isoformat()},
        )
    return day


def _nearest_open_day(
    number: int, target: date, first: date, last: date, aim: str, closed: ClosedDays
) -> Day | Refusal:
    passed: list[str] = []
    for day in _outwards(target, first, last):
        if day.weekday() >= SATURDAY:
            continue
        if day not in closed.reasons:
            return Day(day, f"{aim}{_passing_over(passed)}")
        passed.append(f"{_say(day)} ({closed.reasons[day]})")
    return Refusal(
        code="no-open-day",
        sentence=f"Meeting {number} must be held between {_say(first)} and {_say(last)}, and every working day then is "
        "a bank holiday or blacked out; lift a blackout, or change the earliest day.",
        data={"first": first.isoformat(), "last": last.isoformat()},
    )


def _outwards(target: date, first: date, last: date) -> Iterable[date]:
    """Every day from ``first`` to ``last``, nearest to ``target`` first and the earlier of two equally near."""
    days = (first + timedelta(days=offset) for offset in range((last - first).days + 1))
    return sorted(days, key=lambda day: (abs(day - target), day))


def months_after(day: date, months: int) -> date:
    """The same day of a later month, or its last day where it has no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def _passing_over(passed: Sequence[str]) -> str:
    if not passed:
        return ""
    shown = ", ".join(passed[:3])
    return f"; not on {shown}" + (f" and {len(passed) - 3} more" if len(passed) > 3 else "")


def _say(day: date) -> str:
    return f"{day.day} {day:%B %Y}"
