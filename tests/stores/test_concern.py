"""Concerns from command to row to answer, and what is kept of who raised one without a name: on both stores alike."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from services.membership import tables
from services.membership.domain.concern import CHASE_EVERY, MIN_CROWD
from services.membership.handlers import on
from shared import clock
from shared.contracts import cloudevent
from shared.contracts.membership import (
    AdmitMemberNetwork,
    ApplyForMembership,
    CloseConcern,
    EndorseConcern,
    GivenUmbrellaRules,
    ListConcerns,
    RaiseConcern,
    RecordConcernResponse,
    RegisterNetwork,
    ShowConcern,
    SubmitConcern,
    TakeBackEndorsement,
    WithdrawConcern,
    WithdrawMemberNetwork,
)
from shared.contracts.message import Command, subject_of
from shared.contracts.platform import DiscardDeadLetter, ReplayDeadLetter
from shared.database import reading, writing
from shared.dead_letters import DEAD_LETTERS
from shared.inbox import INBOX
from shared.surface import Arrival, Received
from shared.timers import TIMERS
from tests.conftest import StoreOf
from tests.stores.test_membership import Service, new_id, until

MEMBERS = ("leeds", "york", "hull", "ripon", "selby")
RAISER = "ripon"
PHRASE = "seven herons on a quiet roof"
HR = "HR of the Cabinet Office"


@pytest.fixture
def service(store_of: StoreOf) -> Service:
    return Service(store_of("membership"))


def a_concern(umbrella: str, **more: Any) -> RaiseConcern:
    said = {"title": "Quiet rooms", "text": "There is none.", "suggestion": "One on every floor."}
    return RaiseConcern.model_validate({"umbrella": umbrella, **said, **more})


def submitted(service: Service, umbrella: str, after: timedelta, **more: Any) -> str:
    concern = service.do(a_concern(umbrella, **more), RAISER)
    service.do(SubmitConcern(concern=concern, addressee=HR, reply_by=clock.now() + after))
    return concern


def everything(engine: Engine) -> Counter[str]:
    """Every row of every table that there is, as text."""
    found = MetaData()
    found.reflect(engine)
    with reading(engine) as connection:
        return Counter(
            f"{table.name} {dict(row._mapping)}"
            for table in found.sorted_tables
            for row in connection.execute(select(table))
        )


def from_(principal: str, command: Command, id_: str) -> Arrival:
    """A command as somebody sends it who says who they are wherever they can."""
    attributes: dict[str, Any] = {
        "correlationid": f"{principal}-began-it",
        "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
    }
    payload = cloudevent.write(command, id=id_, source=f"/{principal}", subject=None, time=clock.now(), **attributes)
    headers = {"content-type": cloudevent.STRUCTURED, "x-device": f"desk-of-{principal}"}
    return on.read(Received(subject_of(type(command), principal), headers, payload))


# ---- collective voice ----------------------------------------------------------------------------------------------


def test_a_concern_is_endorsed_submitted_answered_and_closed_and_shows_its_course(service: Service) -> None:
    umbrella = service.umbrella()
    networks = service.members(umbrella, *MEMBERS)
    concern = service.do(a_concern(umbrella), RAISER)
    for name in ("york", "leeds", "hull"):
        service.do(EndorseConcern(concern=concern, network=networks[name]), name)
    service.do(TakeBackEndorsement(concern=concern, network=networks["hull"]), "hull")
    reply_by = clock.now() + timedelta(days=28)
    service.do(SubmitConcern(concern=concern, addressee=HR, reply_by=reply_by))
    assert service.due() == [("chase-concern", concern, reply_by)]
    service.do(RecordConcernResponse(concern=concern, response="One in each building."))
    assert service.due() == []
    service.do(CloseConcern(concern=concern, outcome="partly-resolved", reason="Not on every floor."))

    shown = service.ask(ShowConcern(concern=concern))
    assert (shown.raised_by, shown.addressee, shown.response) == (RAISER, HR, "One in each building.")
    assert [each.name for each in shown.endorsements] == ["leeds", "york"]
    assert [step.step for step in shown.course] == ["raised", "endorsed", "endorsed", "submitted", "answered", "closed"]
    assert service.told_names(concern) == [
        "concern-raised",
        "concern-endorsed",
        "concern-endorsed",
        "concern-endorsed",
        "endorsement-taken-back",
        "concern-submitted",
        "concern-answered",
        "concern-closed",
    ]
    assert set(service.told(concern)[-1]["data"]["endorsed_by"]) == {networks["leeds"], networks["york"]}


def test_two_voices_of_one_network_in_the_same_batch_are_one_and_the_table_holds_no_second(service: Service) -> None:
    umbrella = service.umbrella()
    leeds = service.members(umbrella, "leeds", "york")["leeds"]
    concern = service.do(a_concern(umbrella), "york")
    twice = [service.arrival(EndorseConcern(concern=concern, network=leeds), "leeds") for _ in range(2)]
    assert [reply["done"]["events"] for reply in service.run(*twice)] == [["concern-endorsed"], []]
    with reading(service.engine) as connection:
        [row] = connection.execute(select(tables.endorsements)).mappings().all()
    with pytest.raises(IntegrityError), writing(service.engine) as connection:
        connection.execute(insert(tables.endorsements), dict(row))


@pytest.mark.parametrize("ending", ["submitted", "closed", "withdrawn"])
def test_a_network_that_leaves_while_a_concern_is_open_stands_behind_it_no_more(service: Service, ending: str) -> None:
    umbrella = service.umbrella()
    networks = service.members(umbrella, "leeds", "york", "hull")
    concern = service.do(a_concern(umbrella), "hull")
    for name in networks:
        service.do(EndorseConcern(concern=concern, network=networks[name]), name)
    service.do(WithdrawMemberNetwork(umbrella=umbrella, network=networks["leeds"]), "leeds")

    def behind() -> tuple[list[str], int]:
        [listed] = service.ask(ListConcerns()).concerns
        return [each.name for each in service.ask(ShowConcern(concern=concern)).endorsements], listed.endorsements

    assert behind() == (["hull", "york"], 2)
    endings = {
        "submitted": SubmitConcern(concern=concern, addressee=HR, reply_by=clock.now() + timedelta(days=1)),
        "closed": CloseConcern(concern=concern, outcome="not-submitted", reason="It is settled."),
        "withdrawn": WithdrawConcern(concern=concern, reason="It is settled."),
    }
    service.do(endings[ending], "hull" if ending == "withdrawn" else "sam")
    service.do(WithdrawMemberNetwork(umbrella=umbrella, network=networks["york"]), "york")
    assert behind() == (["hull", "york"], 2)
    assert set(service.told(concern)[-1]["data"]["endorsed_by"]) == {networks["york"], networks["hull"]}


def test_a_network_that_left_does_not_count_for_being_a_member_where_another_concern_is(service: Service) -> None:
    here = service.umbrella()
    home = service.organisation("scottish-government", "devolved-government")
    elsewhere = service.do(
        RegisterNetwork(name="Another", reach="national", organisation=home, umbrella=GivenUmbrellaRules())
    )
    leeds = service.members(here, "leeds", "york")["leeds"]
    service.do(ApplyForMembership(umbrella=elsewhere, network=leeds), "leeds")
    service.do(AdmitMemberNetwork(umbrella=elsewhere, network=leeds))
    concern = service.do(a_concern(here), "york")
    service.do(a_concern(elsewhere), "leeds")
    service.do(EndorseConcern(concern=concern, network=leeds), "leeds")
    service.do(WithdrawMemberNetwork(umbrella=here, network=leeds), "leeds")
    [listed] = service.ask(ListConcerns(umbrella=here)).concerns
    assert listed.endorsements == len(service.ask(ShowConcern(concern=concern)).endorsements) == 0


def test_members_raise_and_endorse_and_the_steering_group_leads_and_strangers_do_neither(service: Service) -> None:
    umbrella = service.umbrella()
    networks = service.members(umbrella, "leeds", "york")
    assert service.refused(a_concern(umbrella), "stranger") == "not-a-member"
    concern = service.do(a_concern(umbrella), "leeds")
    service.do(WithdrawMemberNetwork(umbrella=umbrella, network=networks["york"]), "york")
    assert service.refused(EndorseConcern(concern=concern, network=networks["york"]), "york") == "no-voice-here"
    for command in (
        SubmitConcern(concern=concern, addressee=HR, reply_by=clock.now() + timedelta(days=1)),
        RecordConcernResponse(concern=concern, response="Yes."),
        CloseConcern(concern=concern, outcome="not-submitted", reason="No."),
    ):
        assert service.refused(command, "leeds") == "not-of-the-steering-group"
    assert service.refused(WithdrawConcern(concern=concern, reason="Mine."), "york") == "not-the-raiser"
    service.do(WithdrawConcern(concern=concern, reason="It is settled."), "leeds")
    assert service.refused(WithdrawConcern(concern=new_id(), reason="It is settled."), "leeds") == "concern-unknown"


def test_an_overdue_reply_is_chased_by_a_timer_until_it_comes_and_the_list_says_since_when(service: Service) -> None:
    umbrella = service.umbrella()
    service.members(umbrella, RAISER)
    concern = submitted(service, umbrella, timedelta(seconds=0.5))
    in_time = submitted(service, umbrella, timedelta(days=1))
    assert service.ask(ListConcerns(umbrella=umbrella, overdue=True)).total == 0
    until(lambda: service.run() == [] and "concern-reply-overdue" in service.told_names(concern))
    [overdue] = service.ask(ListConcerns(umbrella=umbrella, overdue=True)).concerns
    assert (overdue.id, overdue.overdue_since) == (concern, overdue.reply_by)
    [again] = [due for _, key, due in service.due() if key == concern]
    assert again == service.ask(ShowConcern(concern=concern)).course[-1].at + CHASE_EVERY

    with writing(service.engine) as connection:  # a week later
        c = tables.concerns.c
        connection.execute(update(tables.concerns).where(c.id == concern).values(reminded_at=again - 2 * CHASE_EVERY))
        connection.execute(update(TIMERS).where(TIMERS.c.key == concern).values(due_at=clock.now()))
    service.run()
    assert [each["data"].get("reminder") for each in service.told(concern)][-2:] == [1, 2]
    service.do(RecordConcernResponse(concern=concern, response="Sorry, in May."))
    assert [key for _, key, _ in service.due()] == [in_time]
    page = service.ask(ListConcerns(umbrella=umbrella))
    assert [(each.id, each.state, each.overdue_since) for each in page.concerns] == [
        (concern, "answered", None),
        (in_time, "submitted", None),
    ]
    assert [step.step for step in service.ask(ShowConcern(concern=concern)).course][-3:] == [
        "fell-due",
        "chased",
        "answered",
    ]


def test_concerns_are_listed_by_state_and_in_pages(service: Service) -> None:
    umbrella = service.umbrella()
    leeds = service.members(umbrella, "leeds")["leeds"]
    first, second = (service.do(a_concern(umbrella), "leeds") for _ in range(2))
    service.do(EndorseConcern(concern=first, network=leeds), "leeds")
    service.do(CloseConcern(concern=second, outcome="not-submitted", reason="Said twice."))
    page = service.ask(ListConcerns(limit=1))
    assert ([each.endorsements for each in page.concerns], page.total, page.next) == ([1], 2, first)
    assert [each.outcome for each in service.ask(ListConcerns(after=first)).concerns] == ["not-submitted"]
    assert [each.id for each in service.ask(ListConcerns(umbrella=umbrella, state="open")).concerns] == [first]


# ---- without a name ------------------------------------------------------------------------------------------------


def test_no_row_of_any_table_names_who_raised_a_concern_without_a_name_or_took_it_back(service: Service) -> None:
    umbrella = service.umbrella()
    networks = service.members(umbrella, *MEMBERS)
    before = everything(service.engine)
    [done] = service.run(from_(RAISER, a_concern(umbrella, anonymous=True, withdrawal_phrase=PHRASE), "of-ripon"))
    concern = done["done"]["id"]
    wrong = WithdrawConcern(concern=concern, reason="Settled.", withdrawal_phrase="eight herons on a roof")
    assert service.refused(wrong, RAISER) == "not-the-raiser"
    assert service.refused(WithdrawConcern(concern=concern, reason="Settled."), RAISER) == "not-the-raiser"
    taking_back = WithdrawConcern(concern=concern, reason="Settled.", withdrawal_phrase=PHRASE)
    assert service.run(from_(RAISER, taking_back, "of-ripon-too"))[0]["outcome"] == "done"

    added = everything(service.engine) - before
    assert {row.partition(" ")[0] for row in added} >= {"concerns", "inbox", "outbox", "withdrawal_keys"}
    for told in (RAISER, networks[RAISER], PHRASE, "b" * 16):
        assert [row for row in added if told in row] == []
    shown = service.ask(ShowConcern(concern=concern))
    assert (shown.raised_by, shown.state) == (None, "withdrawn")


def test_a_refused_attempt_to_raise_without_a_name_names_nobody_either(service: Service) -> None:
    umbrella = service.umbrella()
    networks = service.members(umbrella, *MEMBERS[: MIN_CROWD - 1])
    before = everything(service.engine)
    assert service.refused(a_concern(umbrella, anonymous=True), RAISER) == "too-few-to-hide-among"
    assert service.refused(a_concern(umbrella), "stranger") == "not-a-member"
    added = everything(service.engine) - before
    assert len(added) == 2
    assert not [row for row in added for told in (RAISER, networks[RAISER], "stranger") if told in row]


def test_what_is_kept_of_a_sealed_command_is_the_same_whoever_sent_it(service: Service) -> None:
    command, id_ = a_concern(new_id(), anonymous=True), new_id()
    one, other = (from_(principal, command, id_) for principal in ("leeds", RAISER))
    assert (one.key, one.digest) == (other.key, other.digest)
    assert one.envelope is not None
    assert other.envelope is not None
    assert id_ not in repr(one.envelope)  # what the event says caused it is nothing that its sender ever said
    assert one.envelope.id != other.envelope.id


def test_a_sealed_command_that_is_repeated_is_carried_out_once_and_gets_the_first_reply(service: Service) -> None:
    umbrella = service.umbrella()
    service.members(umbrella, *MEMBERS)
    command, id_ = a_concern(umbrella, anonymous=True), new_id()
    first = service.run(from_(RAISER, command, id_))
    assert first == service.run(from_(RAISER, command, id_))
    assert service.count(tables.concerns) == 1
    [other] = service.run(from_(RAISER, a_concern(umbrella), id_))
    assert other["refusal"]["code"] == "id-used-before"


def test_a_dead_letter_of_a_concern_keeps_where_it_failed_and_nothing_of_who_sent_it(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    umbrella = service.umbrella()
    networks = service.members(umbrella, *MEMBERS)
    service.do(a_concern(umbrella), "york")
    with writing(service.engine) as connection:
        connection.execute(text("CREATE UNIQUE INDEX one_concern_only ON concerns (umbrella)"))
    before, id_ = everything(service.engine), new_id()
    command = a_concern(umbrella, anonymous=True, text="It is about the third floor.")
    [failed] = service.run(from_(RAISER, command, id_))
    assert failed["outcome"] == "failed"
    added = everything(service.engine) - before
    assert [row.partition(" ")[0] for row in added] == ["dead_letters"]
    log = capsys.readouterr().out
    assert "a message became a dead letter" in log
    for told in (RAISER, networks[RAISER], id_, "third floor"):
        assert told not in f"{added} {log}"
    with reading(service.engine) as connection:
        [letter] = connection.execute(select(DEAD_LETTERS)).all()
    assert (letter.subject, letter.payload) == ("membership.v1.command.raise-concern._", b"")
    assert letter.error.startswith("NotWritten from IntegrityError from ")
    assert "unit_of_work.py" in letter.trace

    def of_the_letter(asked: Command) -> dict[str, Any]:
        payload = cloudevent.write(asked, id=new_id(), source="/operator", subject=None, time=clock.now())
        subject = subject_of(type(asked), "operator", "membership")
        return service.run(on.read(Received(subject, {"content-type": cloudevent.STRUCTURED}, payload)))[0]

    assert of_the_letter(ReplayDeadLetter(letter=letter.id))["refusal"]["code"] == "sealed-command"
    assert service.count(DEAD_LETTERS) == 1
    with writing(service.engine) as connection:
        connection.execute(text("DROP INDEX one_concern_only"))
    [done] = service.run(from_(RAISER, command, id_))  # as its sender was told to
    assert done["outcome"] == "done"
    assert of_the_letter(DiscardDeadLetter(letter=letter.id, reason="Sent again."))["outcome"] == "done"
    assert service.count(DEAD_LETTERS) == 0


def test_a_command_with_a_sender_is_still_known_by_its_sender(service: Service) -> None:
    umbrella = service.umbrella()
    service.members(umbrella, "leeds")
    with reading(service.engine) as connection:
        count = select(func.count()).select_from(INBOX).where(INBOX.c.key.startswith("command leeds "))
        assert connection.scalar(count) == 1
