"""Benchmark from command to row to answer, on SQLite and on PostgreSQL alike."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import uuid_utils
from alembic import command as alembic
from pydantic import BaseModel
from sqlalchemy import Engine, Row, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from deploy import people_survey_file
from services.benchmark import auditing, tables
from services.benchmark.handlers import on
from shared import clock, dead_letters
from shared.contracts import cloudevent
from shared.contracts.benchmark import (
    CloseRound,
    CompareWithPublished,
    DistributionPage,
    ImportPeopleSurvey,
    LinkRespondent,
    ListRespondents,
    ListRounds,
    LoadInstrument,
    Measure,
    NameDataSteward,
    OpenRound,
    PublishedComparison,
    ReleaseRound,
    RemoveDataSteward,
    RespondentPage,
    RoundPage,
    RoundSummary,
    Score,
    ShowDistribution,
    ShowInstrument,
    ShowStanding,
    Standing,
    SubmitScores,
    SurveyRow,
)
from shared.contracts.membership import OrganisationRegistered, OrganisationType, Region
from shared.contracts.message import Command, Event, Query, subject_of
from shared.database import reading, writing
from shared.migration import config, upgrade
from shared.outbox import OUTBOX
from shared.surface import Arrival, Received
from shared.tasks import TASKS, TaskOutcome, run_in_process
from shared.transaction import Transaction
from shared.unit_of_work import Reader
from tests.conftest import StoreOf

MEASURES = (
    Measure(code="plan", wording="There is a plan", unit="%"),
    Measure(code="talk", wording="People talk openly", unit="%"),
)
BULLIED = tuple(
    Measure(code=f"E03_{a}", wording="Have you been bullied?", unit=f"% {a}", question="E03", decimals=3)
    for a in ("yes", "no")
)


def new_id() -> str:
    return str(uuid_utils.uuid7())


class Service:
    """Benchmark on one store, without the wire."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(self, *arrivals: Arrival) -> list[dict[str, Any]]:
        with writing(self.engine) as connection:
            committed = Transaction(connection, on, 500).run(arrivals, [])
        return [json.loads(reply or b"null") for reply in committed.replies]

    @staticmethod
    def arrival(command: Command, by: str) -> Arrival:
        payload = cloudevent.write(command, id=new_id(), source=f"/{by}", subject=None, time=clock.now())
        return on.read(Received(subject_of(type(command), by), {"content-type": cloudevent.STRUCTURED}, payload))

    def send(self, command: Command, by: str = "operator") -> dict[str, Any]:
        return self.run(self.arrival(command, by))[0]

    def do(self, command: Command, by: str = "operator") -> dict[str, Any]:
        reply = self.send(command, by)
        assert reply["outcome"] == "done", reply
        return dict(reply["done"])

    def refused(self, command: Command, by: str = "operator") -> str:
        reply = self.send(command, by)
        assert reply["outcome"] == "refused", reply
        return str(reply["refusal"]["code"])

    def ask(self, query: Query[Any], by: str = "operator") -> Any:
        with reading(self.engine) as connection:
            answer = on.queries[query.wire.name].run(query, Reader(connection, clock.now(), by))
        if isinstance(answer, BaseModel):
            answer.model_validate_json(answer.model_dump_json())  # as the wire would carry it
        return answer

    def tell(self, event: Event, sequence: int = 1) -> None:
        payload = cloudevent.write(
            event,
            id=new_id(),
            source="/concord/membership",
            subject=event.aggregate,
            time=clock.now(),
            sequence=sequence,
        )
        subject = subject_of(type(event), event.aggregate)
        self.run(on.read(Received(subject, {"content-type": cloudevent.STRUCTURED}, payload)))

    def told(self) -> list[dict[str, Any]]:
        with reading(self.engine) as connection:
            rows = connection.execute(select(OUTBOX).order_by(OUTBOX.c.position)).all()
        return [json.loads(row.payload) for row in rows]

    def told_names(self) -> list[str]:
        return [event["type"].removeprefix("concord.benchmark.").removesuffix(".v1") for event in self.told()]

    def count(self, table: Any) -> int:
        with reading(self.engine) as connection:
            return int(connection.execute(select(func.count()).select_from(table)).scalar_one())

    # What many tests begin with -------------------------------------------------------------------------------------

    def organisation(self, name: str, type: OrganisationType = "council", region: Region = "London") -> str:
        event = OrganisationRegistered(
            organisation=new_id(),
            slug=name.lower().replace(" ", "-"),
            name=name,
            type=type,
            format=None,
            abbreviation=None,
            nation=None,
            region=region,
            place=None,
            latitude=None,
            longitude=None,
            parents=(),
            unknown_parents=(),
            supersedes=(),
            register_name=None,
        )
        self.tell(event)
        return event.organisation

    def open(self, label: str = "2026") -> str:
        loaded = self.do(LoadInstrument(name="thriving", version="1", title="Thriving at Work", measures=MEASURES))
        return str(self.do(OpenRound(instrument=loaded["id"], label=label))["id"])

    def submit(self, round_: str, organisation: str, principal: str, plan: float | None, talk: float = 50) -> None:
        self.do(NameDataSteward(organisation=organisation, principal=principal))
        scores = {"plan": Score(value=plan), "talk": Score(value=talk, answers=12)}
        self.do(SubmitScores(round=round_, organisation=organisation, scores=scores), principal)

    def round_of(self, councils: int, bodies: int = 0, label: str = "2026") -> tuple[str, list[str]]:
        """An open round in which these have handed in; organisation ``i`` has steward ``s<i>`` and score 10 + i."""
        round_ = self.open(label)
        organisations = [
            self.organisation(f"Body {i}", "council" if i < councils else "nhs-body") for i in range(councils + bodies)
        ]
        for i, organisation in enumerate(organisations):
            self.submit(round_, organisation, f"s{i}", 10 + i)
        return round_, organisations

    def release(self, round_: str) -> None:
        """Closes a round that is open, and has it released."""
        self.do(CloseRound(round=round_))
        self.do(ReleaseRound(round=round_))
        self.work()

    def tasks(self) -> Sequence[Row[Any]]:
        with reading(self.engine) as connection:
            return connection.execute(select(TASKS).order_by(TASKS.c.id)).all()

    def work(self) -> None:
        """Does every task there is, as the runner would in another process, until there is none."""
        while rows := self.tasks():
            for row in rows:
                self.end(row, self.audit(row))

    def audit(self, task: Row[Any]) -> dict[str, Any]:
        with reading(self.engine) as connection:
            audited = auditing.audit(Reader(connection, clock.now(), "benchmark"), task.args["round"])
        return audited.model_dump(mode="json")

    def end(self, task: Row[Any], result: Any = None, error: str | None = None) -> None:
        outcome = TaskOutcome(task.id, task.name, task.key, task.args, 1, result, error)
        payload = json.dumps(asdict(outcome)).encode()
        self.run(on.read(Received(f"task.{task.name}.{task.id}", {}, payload)))
        with reading(self.engine) as connection:
            assert [letter.error for letter in dead_letters.page(connection, None, 10)] == []

    def rounds(self) -> RoundPage:
        page = self.ask(ListRounds())
        assert isinstance(page, RoundPage)
        return page

    def distribution(self, round_: str, by: Any = "all", measure: str = "plan") -> DistributionPage:
        page = self.ask(ShowDistribution(round=round_, measure=measure, by=by), "anyone")
        assert isinstance(page, DistributionPage), page
        return page


@pytest.fixture
def benchmark(store_of: StoreOf) -> Service:
    return Service(store_of("benchmark"))


def survey(count: int = 6, label: str = "2023", shift: float = 0) -> ImportPeopleSurvey:
    rows = [SurveyRow(line=2, code="CS_MEDIAN", name="Median", scores=(12.5, 87.5))]
    rows += [
        SurveyRow(line=3 + i, code=f"B{i}", name=f"Body {i}", scores=(10 + i + shift, 90 - i - shift))
        for i in range(count)
    ]
    return ImportPeopleSurvey(label=label, source="Made up", measures=BULLIED, rows=tuple(rows))


# A round from its opening to its release ----------------------------------------------------------------------------


def test_a_round_is_opened_filled_closed_and_released_and_every_step_is_told(benchmark: Service) -> None:
    round_, _ = benchmark.round_of(councils=5)
    benchmark.release(round_)
    names = [name for name in benchmark.told_names() if name != "data-steward-named"]
    assert names == [
        "instrument-loaded",
        "round-opened",
        *["scores-submitted"] * 5,
        "round-closed",
        "round-release-started",
        "round-released",
    ]
    assert [e["sequence"] for e in benchmark.told() if e["subject"] == round_] == list(range(1, 10))
    [summary] = benchmark.rounds().rounds
    assert (summary.id, summary.state, summary.respondents) == (round_, "released", 5)


def test_no_event_tells_a_score_or_which_organisation_took_part(benchmark: Service) -> None:
    round_, organisations = benchmark.round_of(councils=5)
    benchmark.release(round_)
    told = [e for e in benchmark.told() if "data-steward" not in e["type"]]
    assert not any(organisation in json.dumps(told) for organisation in organisations)
    submitted = [e["data"] for e in told if e["type"].endswith("scores-submitted.v1")]
    assert submitted[0] == {"round": round_, "respondents": 1, "amended": False}
    with reading(benchmark.engine) as connection:  # nor does the history say who handed in
        rows = connection.execute(select(OUTBOX.c.subject, OUTBOX.c.principal)).all()
    assert {row.principal for row in rows if "scores-submitted" in row.subject} == {None}
    assert {row.principal for row in rows if "round-closed" in row.subject} == {"operator"}


def test_a_second_submission_replaces_the_first_until_the_close(benchmark: Service) -> None:
    round_, organisations = benchmark.round_of(councils=5)
    benchmark.do(SubmitScores(round=round_, organisation=organisations[0], scores={"plan": Score(value=99)}), "s0")
    assert benchmark.count(tables.submissions) == 5
    benchmark.release(round_)
    [everyone] = benchmark.distribution(round_).distributions
    assert (everyone.organisations, everyone.median) == (5, 13)  # 11, 12, 13, 14, 99
    late = SubmitScores(round=round_, organisation=organisations[0], scores={"plan": Score(value=1)})
    assert benchmark.refused(late, "s0") == "round-not-open"


def test_scores_are_taken_from_a_steward_of_the_organisation_alone(benchmark: Service) -> None:
    round_, organisations = benchmark.round_of(councils=2)
    command = SubmitScores(round=round_, organisation=organisations[0], scores={"plan": Score(value=1)})
    for other in ("s1", "operator", "nobody"):
        assert benchmark.refused(command, other) == "not-a-data-steward"


def test_a_refused_submission_leaves_nothing_behind(benchmark: Service) -> None:
    round_, organisations = benchmark.round_of(councils=1)
    before = benchmark.told()
    bad = SubmitScores(round=round_, organisation=organisations[0], scores={"plan": Score(value=101)})
    assert benchmark.refused(bad, "s0") == "scores-malformed"
    assert benchmark.told() == before


def test_figures_are_not_shown_before_the_release(benchmark: Service) -> None:
    round_, organisations = benchmark.round_of(councils=5)
    assert benchmark.ask(ShowDistribution(round=round_, measure="plan")).code == "round-not-released"
    standing = ShowStanding(round=round_, organisation=organisations[0])
    assert benchmark.ask(standing, "s0").code == "round-not-released"
    assert benchmark.refused(ReleaseRound(round=round_)) == "round-still-open"


def test_a_release_happens_once_and_stays_as_it_is_whatever_organisations_become(benchmark: Service) -> None:
    round_, organisations = benchmark.round_of(councils=6, bodies=6)
    benchmark.release(round_)
    before = benchmark.distribution(round_, "type")
    assert [d.group for d in before.distributions] == ["council", "nhs-body"]
    event = OrganisationRegistered.model_validate(
        {
            "organisation": organisations[0],
            "slug": "body-0",
            "name": "Body 0",
            "type": "nhs-body",
            "region": "Wales",
            **dict.fromkeys(
                ["format", "abbreviation", "nation", "place", "latitude", "longitude", "register_name"], None
            ),
            **dict.fromkeys(["parents", "unknown_parents", "supersedes"], ()),
        }
    )
    benchmark.tell(event, 2)
    assert benchmark.do(ReleaseRound(round=round_))["events"] == []
    assert benchmark.distribution(round_, "type") == before
    standing = benchmark.ask(ShowStanding(round=round_, organisation=organisations[0]), "s0")
    assert (standing.type, standing.region) == ("council", "London")


def test_groups_of_fewer_than_five_are_withheld_with_the_reason_and_so_is_the_one_that_would_give_them_back(
    benchmark: Service,
) -> None:
    round_, _ = benchmark.round_of(councils=9, bodies=3)
    benchmark.release(round_)
    council, nhs = benchmark.distribution(round_, "type").distributions
    assert nhs.withheld is not None
    assert (nhs.withheld.code, nhs.median) == ("fewer-than-five-organisations", None)
    assert council.withheld is not None
    assert council.withheld.code == "too-close-to-another-figure"
    [everyone] = benchmark.distribution(round_).distributions
    assert everyone.median == 15.5
    released = next(e["data"] for e in benchmark.told() if e["type"].endswith("round-released.v1"))
    assert released["withheld"] == {"fewer-than-five-organisations": 2, "too-close-to-another-figure": 2}
    assert released["shown"] == 4  # two measures, all and London, which are the same organisations


def test_a_later_round_that_differs_by_one_organisation_is_withheld(benchmark: Service) -> None:
    benchmark.do(survey(8))
    first = benchmark.rounds().rounds[0].id
    benchmark.release(first)
    benchmark.do(survey(9, label="2023 again"))
    second = benchmark.rounds().rounds[0].id
    benchmark.release(second)
    [figure] = benchmark.distribution(second, measure="E03_yes").distributions
    assert figure.withheld is not None
    assert figure.withheld.code == "too-close-to-another-figure"
    [figure] = benchmark.distribution(first, measure="E03_yes").distributions
    assert figure.median == 13.5


def test_a_later_round_with_scores_of_its_own_is_shown(benchmark: Service) -> None:
    for label, shift in (("2022", 0), ("2023", 0.5)):
        benchmark.do(survey(8, label=label, shift=shift))
        benchmark.release(benchmark.rounds().rounds[0].id)
    [figure] = benchmark.distribution(benchmark.rounds().rounds[0].id, measure="E03_yes").distributions
    assert figure.median == 14


# A release that is being audited --------------------------------------------------------------------------------------


def being_released(benchmark: Service, label: str = "2023", count: int = 8) -> str:
    """The round of a survey, whose release was asked for."""
    round_ = str(benchmark.do(survey(count, label))["id"])
    assert benchmark.do(ReleaseRound(round=round_))["events"] == ["round-release-started"]
    return round_


def summary(benchmark: Service, round_: str) -> RoundSummary:
    return next(one for one in benchmark.rounds().rounds if one.id == round_)


def test_a_release_is_answered_at_once_and_nothing_is_shown_until_its_audit_is_through(benchmark: Service) -> None:
    round_ = being_released(benchmark)
    [task] = benchmark.tasks()
    result = benchmark.audit(task)  # worked out, and not yet heard of
    asked = summary(benchmark, round_)
    assert (asked.state, asked.release_asked_at is None) == ("closed", False)
    refusal = benchmark.ask(ShowDistribution(round=round_, measure="E03_yes"))
    assert refusal.code == "round-not-released"
    assert "is being released" in refusal.sentence
    assert (benchmark.count(tables.releases), benchmark.count(tables.figures)) == (0, 0)
    benchmark.end(task, result)
    assert summary(benchmark, round_).state == "released"
    assert benchmark.told_names()[-2:] == ["round-release-started", "round-released"]


def test_a_release_asked_for_again_while_it_is_audited_is_audited_once(benchmark: Service) -> None:
    round_ = being_released(benchmark)
    assert benchmark.do(ReleaseRound(round=round_))["events"] == []
    assert len(benchmark.tasks()) == 1


def test_no_score_is_written_down_with_a_task_since_a_dead_letter_would_show_it(benchmark: Service) -> None:
    round_ = being_released(benchmark)
    [task] = benchmark.tasks()
    assert task.args.keys() == {"round", "asked_at"}
    assert task.args["round"] == round_


def test_of_two_rounds_audited_beside_each_other_the_second_is_audited_anew_beside_the_first(
    benchmark: Service,
) -> None:
    first, second = being_released(benchmark, "2023"), being_released(benchmark, "2023 again", 9)
    one, other = benchmark.tasks()
    unseen = benchmark.audit(other)
    assert unseen["figures"][0]["withheld"] is None  # alone it would be shown
    benchmark.end(one, benchmark.audit(one))
    benchmark.end(other, unseen)
    assert [summary(benchmark, round_).state for round_ in (first, second)] == ["released", "closed"]
    assert benchmark.ask(ShowDistribution(round=second, measure="E03_yes")).code == "round-not-released"
    assert [task.key for task in benchmark.tasks()] == [second]
    benchmark.work()
    [figure] = benchmark.distribution(second, measure="E03_yes").distributions
    assert figure.withheld is not None
    assert figure.withheld.code == "too-close-to-another-figure"


def test_two_outcomes_in_one_transaction_are_held_against_each_other(benchmark: Service) -> None:
    first, second = being_released(benchmark, "2023"), being_released(benchmark, "2023 again", 9)
    outcomes = [
        TaskOutcome(task.id, task.name, task.key, task.args, 1, benchmark.audit(task)) for task in benchmark.tasks()
    ]
    benchmark.run(*(on.read(Received(f"task.{o.name}.{o.task}", {}, json.dumps(asdict(o)).encode())) for o in outcomes))
    assert [summary(benchmark, round_).state for round_ in (first, second)] == ["released", "closed"]


def test_an_outcome_that_comes_twice_is_released_once(benchmark: Service) -> None:
    being_released(benchmark)
    [task] = benchmark.tasks()
    for _ in range(2):
        benchmark.end(task, benchmark.audit(task))
    assert benchmark.told_names().count("round-released") == 1


def test_an_audit_that_breaks_down_fails_its_release_and_it_may_be_asked_for_again(benchmark: Service) -> None:
    round_ = being_released(benchmark)
    benchmark.end(benchmark.tasks()[0], error="E03_yes is 11.5 at B1")
    told = benchmark.told()[-1]
    assert told["type"] == "concord.benchmark.round-release-failed.v1"
    assert "11.5" not in json.dumps(told)
    failed = summary(benchmark, round_)
    assert (failed.state, failed.release_asked_at, failed.release_failed_at is None) == ("closed", None, False)
    benchmark.release(round_)
    assert summary(benchmark, round_).state == "released"


def test_a_release_whose_audit_was_lost_is_begun_anew_when_it_is_asked_for_again(benchmark: Service) -> None:
    round_ = being_released(benchmark)
    lost = benchmark.tasks()[0]
    with writing(benchmark.engine) as connection:
        connection.execute(delete(TASKS))  # its outcome became a dead letter, and that was discarded
    assert benchmark.do(ReleaseRound(round=round_))["events"] == ["round-release-started"]
    [task] = benchmark.tasks()
    assert task.id != lost.id
    benchmark.end(task, benchmark.audit(task))
    assert summary(benchmark, round_).state == "released"


async def test_the_audit_reads_the_store_it_is_told_of_in_a_process_of_its_own(
    benchmark: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    being_released(benchmark)
    [task] = benchmark.tasks()
    credentials = tmp_path / "benchmark.creds"
    credentials.touch()
    monkeypatch.setenv("CONCORD_CREDENTIALS", str(credentials))
    monkeypatch.setenv("CONCORD_STORE", benchmark.engine.url.render_as_string(hide_password=False))
    assert await run_in_process("services.benchmark.auditing:run", task.args) == benchmark.audit(task)


# Who sees what ------------------------------------------------------------------------------------------------------


def test_an_organisation_sees_itself_against_all_and_against_its_peers(benchmark: Service) -> None:
    round_, organisations = benchmark.round_of(councils=7, bodies=7)
    benchmark.release(round_)
    standing = benchmark.ask(ShowStanding(round=round_, organisation=organisations[5]), "s5")
    assert isinstance(standing, Standing)
    plan = standing.scores[0]
    assert (plan.value, plan.everyone.distribution.median, plan.everyone.position) == (15, 16.5, "below-median")
    assert plan.same_type is not None
    assert (plan.same_type.distribution.median, plan.same_type.position) == (13, "above-median")
    assert standing.name == "Body 5"


def test_nobody_but_its_stewards_sees_an_organisations_standing(benchmark: Service) -> None:
    round_, organisations = benchmark.round_of(councils=5)
    benchmark.release(round_)
    query = ShowStanding(round=round_, organisation=organisations[0])
    for other in ("s1", "operator", "nobody"):
        assert benchmark.ask(query, other).code == "not-a-data-steward"
    benchmark.do(RemoveDataSteward(principal="s0"))
    assert benchmark.ask(query, "s0").code == "not-a-data-steward"
    assert benchmark.told_names()[-1] == "data-steward-removed"


def test_the_refusal_is_the_same_for_a_round_that_is_not_there(benchmark: Service) -> None:
    round_, organisations = benchmark.round_of(councils=5)
    there, away = (benchmark.ask(ShowStanding(round=r, organisation=organisations[0]), "x") for r in (round_, new_id()))
    assert there == away


def test_a_score_that_was_not_handed_in_is_withheld_and_not_zero(benchmark: Service) -> None:
    round_, organisations = benchmark.round_of(councils=6)
    benchmark.submit(round_, organisations[0], "s0", None)
    benchmark.release(round_)
    standing = benchmark.ask(ShowStanding(round=round_, organisation=organisations[0]), "s0")
    assert standing.scores[0].value is None
    assert standing.scores[0].withheld.code == "no-score"
    assert standing.scores[0].everyone.distribution.organisations == 5


# The People Survey --------------------------------------------------------------------------------------------------


def test_a_survey_is_taken_in_once_and_a_second_time_changes_nothing(benchmark: Service) -> None:
    first = benchmark.do(survey())
    assert first["events"] == ["instrument-loaded", "round-opened", "scores-imported", "round-closed"]
    told = benchmark.told()
    again = benchmark.do(survey())
    assert (again["id"], again["events"]) == (first["id"], [])
    assert benchmark.told() == told
    assert (benchmark.count(tables.rounds), benchmark.count(tables.submissions)) == (1, 6)


def test_a_survey_with_a_problem_leaves_nothing_behind(benchmark: Service) -> None:
    good = survey()
    bad = good.model_copy(update={"rows": (*good.rows, SurveyRow(line=9, code="X", name="X", scores=(101, 0)))})
    assert benchmark.refused(bad) == "people-survey-malformed"
    assert benchmark.told() == []
    assert (benchmark.count(tables.instruments), benchmark.count(tables.submissions)) == (0, 0)


def test_a_changed_survey_under_the_same_label_is_refused(benchmark: Service) -> None:
    benchmark.do(survey())
    assert benchmark.refused(survey(7)) == "round-label-taken"


def test_rows_are_linked_by_name_whichever_comes_first_and_the_rest_by_an_operator(benchmark: Service) -> None:
    before = benchmark.organisation("The Body 0")
    round_ = benchmark.do(survey())["id"]
    after = benchmark.organisation("BODY 1")
    other = benchmark.organisation("Something Else")
    benchmark.run()  # the links are made by a timer
    page = benchmark.ask(ListRespondents(round=round_))
    assert isinstance(page, RespondentPage)
    assert [r.organisation for r in page.respondents] == [before, after, None, None, None, None]
    assert (page.total, page.unlinked) == (6, 4)
    benchmark.do(LinkRespondent(round=round_, respondent="B2", organisation=other))
    assert benchmark.refused(LinkRespondent(round=round_, respondent="B3", organisation=other)) == (
        "one-row-an-organisation"
    )
    page = benchmark.ask(ListRespondents(round=round_, unlinked_only=True))
    assert [r.code for r in page.respondents] == ["B3", "B4", "B5"]


def test_an_organisation_whose_plain_name_another_version_did_not_keep_is_linked_too(benchmark: Service) -> None:
    known = benchmark.organisation("The Body 0")
    with writing(benchmark.engine) as connection:
        connection.execute(tables.organisations.update().values(plain_name=None, plain_name_of=None))
    round_ = benchmark.do(survey())["id"]
    benchmark.run()
    page = benchmark.ask(ListRespondents(round=round_))
    assert [r.organisation for r in page.respondents] == [known, None, None, None, None, None]


def test_an_organisation_that_another_version_renamed_bears_the_name_it_has_now(benchmark: Service) -> None:
    renamed, other = benchmark.organisation("Body A"), benchmark.organisation("Body 0")
    with writing(benchmark.engine) as connection:
        mine = tables.organisations.c.id == renamed
        connection.execute(tables.organisations.update().where(mine).values(name="Body 0"))
    round_ = benchmark.do(survey())["id"]
    benchmark.run()
    page = benchmark.ask(ListRespondents(round=round_))
    assert page.respondents[0].organisation is None, f"two bear that name, {renamed} and {other}"


def test_a_store_from_before_plain_names_were_kept_has_them_after_it_was_brought_to_the_newest_level(
    engine: Engine,
) -> None:
    with writing(engine) as connection:
        settings = config("benchmark")
        settings.attributes["connection"] = connection
        alembic.upgrade(settings, "0005")
        columns = "(id, sequence, slug, name, first_name, type)"
        row = "('o', 1, 'dft', 'The Department for Transport', 'DfT', 'ministerial-department')"
        connection.execute(text(f"INSERT INTO organisations {columns} VALUES {row}"))  # noqa: S608  both stand here
    upgrade(engine, "benchmark")
    with reading(engine) as connection:
        kept = connection.execute(select(tables.organisations)).one()
        assert (kept.plain_name, kept.plain_name_of) == ("department for transport", "The Department for Transport")


def test_a_release_groups_by_what_is_known_at_that_moment(benchmark: Service) -> None:
    round_ = benchmark.do(survey(6))["id"]
    for i in range(6):
        benchmark.organisation(f"Body {i}", "executive-agency", "Wales")
    benchmark.release(round_)
    [agencies] = benchmark.distribution(round_, "type", "E03_yes").distributions
    assert (agencies.group, agencies.median) == ("executive-agency", 12.5)


def test_the_comparison_with_published_medians_is_answered_for_an_imported_round(benchmark: Service) -> None:
    round_ = benchmark.do(survey())["id"]
    comparison = benchmark.ask(CompareWithPublished(round=round_))
    assert isinstance(comparison, PublishedComparison)
    assert (comparison.reproduced, comparison.compared, comparison.respondents) == (2, 2, 6)
    assert benchmark.ask(CompareWithPublished(round=benchmark.open())).code == "round-not-imported"


@pytest.mark.parametrize(("year", "at_least"), [("2022", 101), ("2023", 99)])
def test_a_real_survey_is_imported_released_and_compared(
    benchmark: Service, real_data: Path, year: str, at_least: int
) -> None:
    content = (real_data / f"people_survey_{year}_organisations.csv").read_bytes()
    command = people_survey_file.read(content, year)
    assert isinstance(command, ImportPeopleSurvey)
    round_ = benchmark.do(command)["id"]
    assert benchmark.do(command)["events"] == []
    assert benchmark.ask(CompareWithPublished(round=round_)).reproduced >= at_least
    benchmark.release(round_)
    page = benchmark.distribution(round_, measure="B01")
    published = {"2022": 89.808, "2023": 90.211}
    assert page.distributions[0].median == pytest.approx(published[year], abs=0.0006)


# Questions ----------------------------------------------------------------------------------------------------------


def test_rounds_are_listed_the_latest_first_page_by_page(benchmark: Service) -> None:
    for label in ("2021", "2022", "2023"):
        benchmark.do(survey(label=label))
    first = benchmark.ask(ListRounds(limit=2))
    assert ([r.label for r in first.rounds], first.total) == (["2023", "2022"], 3)
    second = benchmark.ask(ListRounds(limit=2, after=first.next))
    assert ([r.label for r in second.rounds], second.next) == (["2021"], None)
    assert [r.label for r in benchmark.ask(ListRounds(label="2022")).rounds] == ["2022"]


def test_an_instrument_shows_its_measures(benchmark: Service) -> None:
    benchmark.open()
    instrument = benchmark.ask(ShowInstrument(instrument=benchmark.rounds().rounds[0].instrument))
    assert instrument.measures == MEASURES


def test_what_is_not_there_is_said_to_be_unknown(benchmark: Service) -> None:
    round_, _ = benchmark.round_of(councils=5)
    benchmark.release(round_)
    assert benchmark.ask(ShowDistribution(round=round_, measure="B99")).code == "unknown-measure"
    assert benchmark.ask(ShowDistribution(round=new_id(), measure="plan")).code == "unknown-round"
    assert benchmark.ask(ShowInstrument(instrument=new_id())).code == "unknown-instrument"
    assert benchmark.ask(ListRespondents(round=new_id())).code == "unknown-round"


# The second wall ----------------------------------------------------------------------------------------------------


def test_the_store_itself_refuses_a_figure_of_four_or_one_without_figure_and_reason(benchmark: Service) -> None:
    round_, _ = benchmark.round_of(councils=5)
    benchmark.release(round_)
    for wrong in ({"organisations": 4}, {"median": None}, {"withheld": "no-score"}, {"lower_quartile": 1.0}):
        with pytest.raises(IntegrityError), writing(benchmark.engine) as connection:
            connection.execute(update(tables.figures).values(**wrong))


def test_the_store_itself_refuses_a_second_submission_of_an_organisation(benchmark: Service) -> None:
    _round, _ = benchmark.round_of(councils=1)
    with reading(benchmark.engine) as connection:
        row = dict(connection.execute(select(tables.submissions)).mappings().one())
    with pytest.raises(IntegrityError), writing(benchmark.engine) as connection:
        connection.execute(insert(tables.submissions).values({**row, "id": new_id(), "respondent": "other"}))
