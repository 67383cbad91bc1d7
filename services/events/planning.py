"""The planner's way in: a process of its own calls ``run`` with plain data and gets plain data back."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, get_args

from govuk_bank_holidays.bank_holidays import BankHolidays  # type: ignore[import-untyped]  # it carries no types

from services.events.domain.next_meetings import plan
from services.events.domain.plan import Planned, Worked
from services.events.domain.plan_inputs import BankHoliday, Holidays, Inputs, digest
from shared.contracts.membership import Nation

DIVISIONS: Mapping[Nation, str] = {
    "England": BankHolidays.ENGLAND_AND_WALES,
    "Wales": BankHolidays.ENGLAND_AND_WALES,
    "Scotland": BankHolidays.SCOTLAND,
    "Northern Ireland": BankHolidays.NORTHERN_IRELAND,
}
HORIZON = timedelta(days=4 * 366)


def run(args: Mapping[str, Any]) -> dict[str, Any]:
    """``args``: ``inputs``, and for a replay the ``holidays`` of that time. Answers a ``Worked`` as plain data."""
    inputs = Inputs.model_validate(args["inputs"])
    holidays = Holidays.model_validate(args["holidays"]) if "holidays" in args else bank_holidays(inputs.today)
    worked_from = {"inputs": inputs.model_dump(mode="json"), "holidays": holidays.model_dump(mode="json")}
    outcome = plan(inputs, holidays, digest(worked_from))
    worked = Worked(
        planned=outcome if isinstance(outcome, Planned) else None,
        impossible=None if isinstance(outcome, Planned) else outcome,
        worked_from=worked_from,
        digest=digest(worked_from),
    )
    return worked.model_dump(mode="json")


def bank_holidays(today: date) -> Holidays:
    """The bank holidays from ``today`` on, from the list that comes with the package: the network is never asked."""
    by_division = BankHolidays(use_cached_holidays=True).data
    days = tuple(
        BankHoliday(nation=nation, date=holiday["date"], name=holiday["title"])
        for nation in get_args(Nation)
        for holiday in by_division[DIVISIONS[nation]]
        if today <= holiday["date"] <= today + HORIZON
    )
    last_years = [max(holiday["date"].year for holiday in division) for division in by_division.values()]
    return Holidays(days=days, known_until=date(min(last_years), 12, 31))
