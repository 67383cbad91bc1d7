"""Notices are thin: a lint over every template, and what it refuses."""

from datetime import UTC, date, datetime

import pytest
from pydantic import BaseModel

from services.notifications.domain import routing
from services.notifications.domain.wording import MAX_LENGTH, lint, word
from shared.contracts import benchmark, events, membership
from shared.contracts.message import contracts

NETWORK = "0190b0a5-0000-7000-8000-000000000001"


@pytest.mark.parametrize("rule", routing.RULES.values(), ids=lambda rule: rule.event.wire.type)
def test_no_template_in_use_carries_anything_sensitive(rule: routing.Rule) -> None:
    assert [lint(template, rule.sources) for template in rule.templates] == [[]] * len(rule.templates)


@pytest.mark.parametrize(
    ("template", "source"),
    [
        ("Decided: {outcome}, because {sentence}", membership.ProposalDecided),
        ("{stances}", membership.ProposalDecided),
        ("{counts}", membership.ProposalDecided),
        ("{asked} networks were asked", membership.ProposalDecided),
        ("Withdrawn: {reason}", membership.ProposalWithdrawn),
        ("Proposal {title}", membership.ProposalOpened),
        ("{text}", membership.ProposalAmended),
        ("{person} is appointed", membership.RepresentativeAppointed),
        ("{principal} is appointed", membership.RepresentativeAppointed),
        ("with {fte}", membership.SteeringMemberAppointed),
        ("Work stream {name}", membership.WorkStreamOpened),
        ("Cancelled: {reason}", events.MeetingCancelled),
        ("{certificate}", events.MeetingsPlanned),
        ("{respondents} organisations", benchmark.RoundClosed),
        ("{withheld}", benchmark.RoundReleased),
        ("{organisation} has a steward", benchmark.DataStewardNamed),
        ("{amended}", benchmark.ScoresSubmitted),
    ],
)
def test_a_template_that_would_carry_a_reason_a_figure_a_person_or_free_text_is_refused(
    template: str, source: type[BaseModel]
) -> None:
    [problem] = lint(template, [source])
    assert problem.code == "sensitive-template"


@pytest.mark.parametrize("template", ["{outcome!r}", "{umbrella:>99}", "{umbrella.name}", "{electorate[0]}", "{}"])
def test_a_template_names_plain_facts_and_nothing_cleverer(template: str) -> None:
    assert lint(template, [membership.ProposalDecided])[0].code == "sensitive-template"


def test_a_template_with_an_unknown_fact_a_figure_or_without_end_is_refused() -> None:
    assert lint("{nonsense}", [membership.ProposalDecided])[0].code == "sensitive-template"
    assert lint("11 answers came in", [membership.ProposalDecided])[0].code == "figure-in-template"
    assert lint("so " * MAX_LENGTH, [membership.ProposalDecided])[0].code == "template-too-long"


def test_no_free_text_or_figure_of_any_event_message_at_all_could_be_told() -> None:
    told = {
        (event.wire.name, fact)
        for event in contracts("event")
        for fact in event.model_fields
        if event.wire.owner in ("membership", "events", "benchmark") and not lint(f"{{{fact}}}", [event])
    }
    free_text = {"title", "text", "reason", "sentence", "stance", "stances", "counts", "person", "principal", "author"}
    assert not {fact for _, fact in told} & free_text
    assert ("proposal-decided", "outcome") in told


def test_networks_are_worded_by_name_and_moments_days_and_words_plainly() -> None:
    facts = {
        "umbrella": NETWORK,
        "deadline": datetime(2026, 3, 9, 17, 5, tzinfo=UTC),
        "date": date(2026, 10, 1),
        "outcome": "no-quorum",
        "place": "Stoke-on-Trent",
    }
    names = {NETWORK: "Cross-Government Network"}
    assert word("{umbrella} until {deadline}", facts, names) == "Cross-Government Network until 9 March 2026, 17:05 UTC"
    assert word("{outcome} in {place} on {date}", facts, names) == "no quorum in Stoke-on-Trent on 1 October 2026"
    assert word("{umbrella} has left {umbrella}.", facts, {}) == "A network has left a network."


def test_a_name_with_braces_is_told_as_it_is() -> None:
    assert word("{umbrella}", {"umbrella": NETWORK}, {NETWORK: "{title} {0}"}) == "{title} {0}"
