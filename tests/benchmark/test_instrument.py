"""Questionnaires as data: what makes one sound, and that a version stands for one content."""

from services.benchmark.domain import instrument
from services.benchmark.domain.instrument import Instrument
from shared.contracts.benchmark import InstrumentLoaded, LoadInstrument, Measure
from shared.refusal import Refusal

ID = "00000000-0000-7000-8000-000000000001"
OTHER = "00000000-0000-7000-8000-000000000002"
PLAN = Measure(code="plan", wording="There is a plan", unit="% of the standard met")


def command(*measures: Measure, name: str = "thriving-at-work", title: str = "Thriving at Work") -> LoadInstrument:
    return LoadInstrument(name=name, version="1", title=title, measures=measures or (PLAN,))


def loaded(command: LoadInstrument) -> Instrument:
    decision = instrument.load(None, command, ID)
    assert isinstance(decision, list)
    [event] = decision
    assert isinstance(event, InstrumentLoaded)
    return instrument.evolve(None, event)


def codes(*measures: Measure) -> list[str]:
    return [problem.code for problem in instrument.measure_problems(measures)]


def test_a_questionnaire_is_loaded_and_not_coded() -> None:
    assert loaded(command()) == Instrument(
        id=ID, name="thriving-at-work", version="1", title="Thriving at Work", measures=(PLAN,)
    )


def test_the_same_version_loaded_again_changes_nothing() -> None:
    assert instrument.load(loaded(command()), command(), OTHER) == []


def test_another_content_under_the_same_version_is_refused_since_rounds_rest_on_it() -> None:
    decision = instrument.load(loaded(command()), command(title="Something else"), OTHER)
    assert isinstance(decision, Refusal)
    assert (decision.code, decision.field) == ("instrument-version-taken", "version")


def test_the_name_of_the_people_survey_is_kept_for_its_files() -> None:
    decision = instrument.load(None, command(name="people-survey"), ID)
    assert isinstance(decision, Refusal)
    assert "import-people-survey" in decision.sentence


def test_a_code_that_two_measures_share_is_refused() -> None:
    assert codes(PLAN, PLAN) == ["measure-code-twice"]


def test_a_measure_whose_lowest_score_is_not_below_its_highest_is_refused() -> None:
    assert codes(PLAN.model_copy(update={"lowest": 5, "highest": 1})) == ["measure-without-range"]


def test_a_question_needs_at_least_two_answers_and_they_are_percentages() -> None:
    yes, no = (Measure(code=c, wording="Is there a plan?", unit="%", question="plan") for c in ("plan_yes", "plan_no"))
    assert codes(yes, no) == []
    assert codes(yes) == ["question-with-one-answer"]
    assert codes(yes, no.model_copy(update={"highest": 7})) == ["answer-not-a-percentage"]


def test_every_problem_of_a_questionnaire_is_told_at_once_by_field() -> None:
    decision = instrument.load(None, command(PLAN, PLAN, PLAN.model_copy(update={"highest": -1})), ID)
    assert isinstance(decision, Refusal)
    assert decision.code == "instrument-malformed"
    assert [problem["field"] for problem in decision.data["problems"]] == [
        "measures.1.code",
        "measures.2.code",
        "measures.2.highest",
    ]
    assert decision.data["count"] == 3
