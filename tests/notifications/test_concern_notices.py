"""Who hears of a concern, with what words, and that a raiser without a name hears as one of many."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from services.notifications.domain import routing
from services.notifications.domain.routing import RULES, Audience, Bond, recipients
from services.notifications.domain.wording import lint
from shared.contracts import membership

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
UMBRELLA = "0190b0a5-0000-7000-8000-000000000001"
TREASURY = "0190b0a5-0000-7000-8000-000000000002"
CONCERN = "0190b0a5-0000-7000-8000-000000000004"
NAMES = {UMBRELLA: "Cross-Government Network", TREASURY: "Treasury Network"}

ANSWERED = RULES[membership.ConcernAnswered]
CLOSED = RULES[membership.ConcernClosed]


def facts(raised_by: str | None) -> dict[str, Any]:
    answered = membership.ConcernAnswered(
        concern=CONCERN,
        umbrella=UMBRELLA,
        response="From May there will be two.",
        answered_at=NOW,
        raised_by=raised_by,
        endorsed_by=(TREASURY,),
    )
    return routing.facts_of(answered, None)


def hearing(rule: routing.Rule, raised_by: str | None) -> set[str]:
    return {tell.who for tell in rule.tells if routing.holds(tell, facts(raised_by))}


def test_a_response_is_told_to_those_who_endorsed_and_to_the_raiser_by_name() -> None:
    assert hearing(ANSWERED, "ada") == {"person", "representative", "steering-member", "steward"}


def test_a_response_is_told_to_all_members_where_telling_the_raiser_alone_would_name_them() -> None:
    assert hearing(ANSWERED, None) >= {"members", "representative"}
    assert routing.named_by(facts(None), "raised_by") == ()


def test_a_raiser_without_a_name_is_told_for_the_very_same_reasons_as_everybody() -> None:
    to_all = next(tell for tell in CLOSED.tells if tell.who == "members")
    bonds = [Bond(to_all, principal, TREASURY, UMBRELLA) for principal in ("ada", "bob")]
    ada, bob = recipients(CLOSED, Audience(bonds=bonds, names=NAMES))
    assert ada.why == bob.why
    assert ada.why[0] == "You represent Treasury Network, a member network of Cross-Government Network."


def test_a_raiser_with_a_name_is_told_that_it_is_their_concern() -> None:
    person = CLOSED.tells[0]
    [ada] = recipients(CLOSED, Audience(bonds=[Bond(person, "ada")], names=NAMES))
    assert ada.why[0] == "You raised this concern."


def test_an_overdue_reply_is_told_to_those_who_steer_with_the_date_and_without_the_addressee() -> None:
    rule = RULES[membership.ConcernReplyOverdue]
    overdue = membership.ConcernReplyOverdue(
        concern=CONCERN, umbrella=UMBRELLA, addressee="HR", overdue_since=NOW, reminder=2, reminded_at=NOW
    )
    assert routing.sentence(rule, routing.facts_of(overdue, None), NAMES) == (
        "The reply to a concern raised in Cross-Government Network is overdue since 9 March 2026, 12:00 UTC."
    )
    assert {tell.who for tell in rule.tells} == {"steering-member", "steward"}


@pytest.mark.parametrize(
    ("template", "source"),
    [
        ("{title}", membership.ConcernRaised),
        ("{text}", membership.ConcernRaised),
        ("{suggestion}", membership.ConcernRaised),
        ("{raised_by}", membership.ConcernRaised),
        ("{addressee} owes a reply", membership.ConcernReplyOverdue),
        ("{reminder} times", membership.ConcernReplyOverdue),
        ("{response}", membership.ConcernAnswered),
        ("{endorsed_by}", membership.ConcernAnswered),
        ("{reason}", membership.ConcernClosed),
    ],
)
def test_no_word_of_a_concern_its_raiser_or_its_reply_could_stand_in_a_notice(
    template: str, source: type[BaseModel]
) -> None:
    [problem] = lint(template, [source])
    assert problem.code == "sensitive-template"


def test_nobody_is_told_which_network_stands_behind_a_concern() -> None:
    assert not {membership.ConcernEndorsed, membership.EndorsementTakenBack} & set(RULES)
