"""A round is open, then closed, then released, and there is no way back."""

from datetime import UTC, datetime, timedelta

import pytest

from services.benchmark.domain import round as rules
from services.benchmark.domain.disclosure import Figure
from services.benchmark.domain.instrument import Instrument
from services.benchmark.domain.organisation import Row
from services.benchmark.domain.round import Round
from shared.contracts.benchmark import (
    CloseRound,
    LinkRespondent,
    Measure,
    OpenRound,
    ReleaseRound,
    RoundReleased,
    RoundReleaseStarted,
    RoundState,
    Score,
    ScoresSubmitted,
    SubmitScores,
)
from shared.contracts.message import Event
from shared.refusal import Refusal

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def id_(n: int) -> str:
    return f"00000000-0000-7000-8000-{n:012}"


ROUND, INSTRUMENT, ACAS, ONS = id_(1), id_(2), id_(3), id_(4)
PLAN = Measure(code="plan", wording="There is a plan", unit="%")
THRIVING = Instrument(id=INSTRUMENT, name="thriving-at-work", version="1", title="Thriving at Work", measures=(PLAN,))


STARTED = RoundReleaseStarted(round=ROUND, asked_at=NOW)


def given(*events: Event) -> Round:
    state = None
    for event in events:
        state = rules.evolve(state, event)
    assert state is not None
    return state


def opened(respondents: int = 0, state: RoundState = "open") -> Round:
    decision = rules.open_round(THRIVING, None, OpenRound(instrument=INSTRUMENT, label="2026"), ROUND, NOW)
    assert isinstance(decision, list)
    return given(*decision).model_copy(update={"respondents": respondents, "state": state})


def submit(value: float | None = 50, code: str = "plan") -> SubmitScores:
    return SubmitScores(round=ROUND, organisation=ACAS, scores={code: Score(value=value, answers=40)})


def ask(state: Round | None, *, in_hand: bool = False) -> list[Event] | Refusal:
    return rules.start_release(state, ReleaseRound(round=ROUND), NOW, in_hand=in_hand)


def refused(decision: object) -> Refusal:
    assert isinstance(decision, Refusal)
    return decision


def test_a_round_opens_empty() -> None:
    round_ = opened()
    assert (round_.state, round_.respondents, round_.opened_at) == ("open", 0, NOW)


def test_a_label_stands_for_one_round_of_an_instrument() -> None:
    command = OpenRound(instrument=INSTRUMENT, label="2026")
    assert refused(rules.open_round(THRIVING, opened(), command, id_(9), NOW)).code == "round-label-taken"


def test_an_unknown_instrument_has_no_round() -> None:
    command = OpenRound(instrument=INSTRUMENT, label="2026")
    assert refused(rules.open_round(None, None, command, ROUND, NOW)).field == "instrument"


def test_a_people_survey_round_is_filled_from_its_file_alone() -> None:
    survey = THRIVING.model_copy(update={"name": "people-survey"})
    decision = rules.open_round(survey, None, OpenRound(instrument=INSTRUMENT, label="2026"), ROUND, NOW)
    assert refused(decision).code == "people-survey-comes-from-its-file"


def test_the_first_submission_of_an_organisation_counts_and_says_neither_who_nor_what() -> None:
    decision = rules.submit(opened(6), THRIVING, None, submit())
    assert decision == [ScoresSubmitted(round=ROUND, respondents=7, amended=False)]


def test_a_second_submission_replaces_the_first_and_counts_no_more() -> None:
    first = rules.submission(None, submit(50), id_(5))
    assert rules.submit(opened(7), THRIVING, first, submit(60)) == [
        ScoresSubmitted(round=ROUND, respondents=7, amended=True)
    ]
    second = rules.submission(first, submit(60), id_(6))
    assert (second.id, second.scores, second.answers) == (first.id, {"plan": 60}, {"plan": 40})


@pytest.mark.parametrize("state", ["closed", "released"])
def test_nothing_is_handed_in_or_changed_after_the_close(state: RoundState) -> None:
    assert refused(rules.submit(opened(7, state), THRIVING, None, submit())).code == "round-not-open"


def test_scores_that_cannot_be_are_refused_by_field() -> None:
    refusal = refused(rules.submit(opened(), THRIVING, None, submit(101)))
    assert refusal.code == "scores-malformed"
    assert refusal.data["problems"][0]["field"] == "scores.plan"
    assert refused(rules.submit(opened(), THRIVING, None, submit(code="B01"))).field == "scores.B01"


def test_an_unknown_round_is_said_to_be_unknown() -> None:
    assert refused(rules.submit(None, None, None, submit())).code == "unknown-round"
    assert refused(rules.close(None, CloseRound(round=ROUND), NOW)).code == "unknown-round"
    assert refused(ask(None)).code == "unknown-round"


def test_a_round_closes_once() -> None:
    decision = rules.close(opened(7), CloseRound(round=ROUND), NOW)
    assert isinstance(decision, list)
    closed = rules.evolve(opened(7), decision[0])
    assert (closed.state, closed.closed_at) == ("closed", NOW)
    assert rules.close(closed, CloseRound(round=ROUND), NOW) == []


def test_an_open_round_is_not_released_since_its_figures_may_still_change() -> None:
    assert refused(ask(opened(7))).code == "round-still-open"


def test_a_round_of_four_organisations_has_nothing_to_release() -> None:
    assert refused(ask(opened(4, "closed"))).code == "too-few-organisations"
    assert ask(opened(5, "closed")) == [STARTED]


def test_a_round_is_released_once() -> None:
    assert ask(opened(5, "released")) == []


def test_a_round_that_is_being_released_is_not_released_twice_and_shows_that_it_is() -> None:
    state = rules.evolve(opened(5, "closed"), STARTED)
    assert (state.state, state.release_asked_at, state.release) == ("closed", NOW, None)
    assert ask(state, in_hand=True) == []
    assert "is being released" in rules.not_released(state).sentence


def test_a_release_that_is_no_longer_on_its_way_is_begun_anew() -> None:
    assert ask(rules.evolve(opened(5, "closed"), STARTED)) == [STARTED]


def test_a_round_waits_for_the_audit_it_asked_for_last_and_for_none_before_it_or_after_its_release() -> None:
    state = rules.evolve(opened(5, "closed"), STARTED)
    assert rules.awaits(state, NOW)
    assert not rules.awaits(state, NOW - timedelta(seconds=1))
    assert not rules.awaits(state.model_copy(update={"state": "released"}), NOW)
    assert not rules.awaits(opened(5, "closed"), NOW)


def test_a_release_that_could_not_be_finished_is_said_to_have_failed_until_it_is_asked_for_again() -> None:
    state = rules.evolve(opened(5, "closed"), STARTED)
    [event] = rules.fail_release(state, NOW)
    failed = rules.evolve(state, event)
    assert (failed.state, failed.release_asked_at, failed.release_failed_at) == ("closed", None, NOW)
    again = rules.evolve(failed, STARTED)
    assert (again.release_asked_at, again.release_failed_at) == (NOW, None)


def test_the_event_of_a_release_counts_what_is_shown_and_withheld_and_carries_no_figure() -> None:
    figures = [
        Figure(measure="plan", by="all", group=None, organisations=7, median=50),
        Figure(measure="plan", by="type", group="council", withheld="fewer-than-five-organisations"),
        Figure(measure="plan", by="type", group="charity", withheld="fewer-than-five-organisations"),
        Figure(measure="plan", by="type", group="nhs-body", withheld="gives-back-a-withheld-group"),
    ]
    [event] = rules.release(opened(7, "closed"), id_(8), figures, NOW)
    assert isinstance(event, RoundReleased)
    assert event.shown == 1
    assert event.withheld == {"fewer-than-five-organisations": 2, "gives-back-a-withheld-group": 1}
    released = rules.evolve(opened(7, "closed"), event)
    assert (released.state, released.release, released.released_at) == ("released", id_(8), NOW)


# Which organisation a row is ----------------------------------------------------------------------------------------

LINK = LinkRespondent(round=ROUND, respondent="NRS", organisation=ONS)


def row(code: str, organisation: str | None = None) -> Row:
    return Row(id=id_(50), respondent=code, name=code, organisation=organisation)


def test_an_operator_says_which_organisation_a_row_is_and_the_event_does_not() -> None:
    decision = rules.link(opened(), [row("NRS")], LINK, organisation_known=True)
    assert isinstance(decision, list)
    assert [event.model_dump() for event in decision] == [{"round": ROUND}]


def test_saying_it_again_changes_nothing() -> None:
    assert rules.link(opened(), [row("NRS", ONS)], LINK, organisation_known=True) == []


@pytest.mark.parametrize(
    ("rows", "known", "code"),
    [
        ([row("ACAS")], True, "unknown-respondent"),
        ([row("NRS")], False, "unknown-organisation"),
        ([row("NRS", ACAS)], True, "respondent-linked-already"),
        ([row("NRS"), row("ONS", ONS)], True, "one-row-an-organisation"),
    ],
)
def test_a_link_that_would_show_scores_to_the_wrong_stewards_is_refused(
    rows: list[Row], known: bool, code: str
) -> None:
    assert refused(rules.link(opened(), rows, LINK, organisation_known=known)).code == code
