"""Mailboxes on a store: what is mailed when, from where, and who sees what of it."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, delete, select, update

from services.notifications import mailing, store, tables
from services.notifications.domain.mailbox import Mailbox, Mailed
from services.notifications.store import MAILBOXES, deliveries_waiting
from shared import clock, history
from shared.contracts import events
from shared.contracts.notifications import (
    ChangeMailbox,
    ConfirmMailbox,
    EndMailbox,
    EndMailboxOf,
    ListAllMailboxes,
    MailboxView,
    RegisterMailbox,
    ResumeMailbox,
    ShowMailbox,
    Subscribe,
)
from shared.database import reading, writing
from shared.identity import DELIVERIES
from shared.outbox import OUTBOX
from shared.tasks import TASKS, TaskOutcome
from shared.timers import TIMERS
from shared.unit_of_work import Reader
from tests.conftest import StoreOf
from tests.stores.test_notifications import new_id
from tests.stores.test_webhooks import Posting

ADDRESS = "ada@example.org"
TAKEN = Mailed(status=250)


class Mailing(Posting):
    """Notifications on a store; ada and ben subscribe to everything of membership. Nobody has quiet hours."""

    def register_mailbox(self, principal: str = "ada", **wanted: Any) -> Any:
        quiet = {"quiet_from": "00:00", "quiet_until": "00:00"}
        return self.send(RegisterMailbox(**{"address": ADDRESS, **quiet, **wanted}), principal)

    def enter(self, principal: str = "ada", **wanted: Any) -> None:
        """Registers and confirms."""
        assert self.register_mailbox(principal, **wanted)["outcome"] == "done"
        self.end_mail(TAKEN, of=principal)
        assert self.send(ConfirmMailbox(code=str(self.box(principal).code)), principal)["outcome"] == "done"

    def box(self, principal: str = "ada") -> Mailbox:
        with reading(self.store) as connection:
            row = connection.execute(select(tables.mailboxes).where(tables.mailboxes.c.subscriber == principal)).one()
        return Mailbox.model_validate(dict(row._mapping))

    def mails(self) -> Sequence[Row[Any]]:
        return [task for task in self.tasks() if task.name == store.MAIL]

    def end_mail(self, mailed: Mailed | None, of: str = "ada") -> None:
        box = self.box(of)
        [task] = [task for task in self.mails() if (task.key, task.args["turn"]) == (box.id, box.turn)]
        outcome = TaskOutcome(task.id, task.name, task.key, task.args, 1, mailed and mailed.model_dump())
        self.hear_own(f"task.{task.name}.{task.id}", asdict(outcome))

    def come_due(self) -> None:
        """The moment of every mail there is has come."""
        for timer in self.timers("mail-is-due"):
            with writing(self.store) as connection:
                connection.execute(delete(TIMERS).where(TIMERS.c.key == timer.key))
            self.fall_due(timer)

    def to_mail(self, principal: str = "ada") -> list[int]:
        box = self.box(principal)
        with reading(self.store) as connection:
            found = store.to_mail(Reader(connection, clock.now(), "notifications"), box.id, box.turn)
        assert found is not None
        return [notice.sequence for notice in found.notices]

    def shown(self, principal: str = "ada") -> MailboxView:
        found = self.ask(ShowMailbox(), principal).mailbox
        assert isinstance(found, MailboxView)
        return found


@pytest.fixture
def platform(store_of: StoreOf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Mailing]:
    (tmp_path / "some.creds").touch()
    for name, value in {
        "CREDENTIALS": str(tmp_path / "some.creds"),
        "STORE": "sqlite:////tmp/unused.sqlite",
        "MAIL_SERVER": "smtp://mail.example.org",
        "MAIL_FROM": "concord@example.org",
        "MAIL_DOMAINS": "example.org,elsewhere.example",
    }.items():
        monkeypatch.setenv(f"CONCORD_{name}", value)
    mailing.post_office.cache_clear()
    found = Mailing(store_of("notifications"))
    found.subscribe("ada", "ben")
    yield found
    mailing.post_office.cache_clear()


def test_nothing_but_the_code_is_mailed_before_it_comes_back(platform: Mailing) -> None:
    platform.register_mailbox()
    [task] = platform.mails()
    assert task.args == {"mailbox": platform.box().id, "turn": 1}
    assert platform.to_mail() == []
    platform.end_mail(TAKEN)
    platform.happen(2)
    [timer] = platform.timers("mail-is-due")  # when the address is forgotten
    assert (platform.mails(), timer.due_at, platform.shown().waiting) == ([], platform.box().code_until, 0)
    assert platform.send(ConfirmMailbox(code="AAAAA-AAAAA"), "ada")["refusal"]["code"] == "wrong-code"
    platform.send(ConfirmMailbox(code=str(platform.box().code)), "ada")
    platform.come_due()
    assert platform.to_mail() == [1, 2]  # what was told since it was registered


def test_what_happens_together_is_mailed_together_and_only_once(platform: Mailing) -> None:
    platform.happen(2)
    platform.enter()
    platform.happen(2)
    platform.happen(1)
    assert platform.mails() == []
    platform.come_due()
    assert platform.to_mail() == [3, 4, 5]
    platform.happen(1)  # while it is sent
    assert platform.to_mail() == [3, 4, 5]
    platform.end_mail(TAKEN)
    assert (platform.shown().waiting, platform.mails()) == (1, [])
    platform.come_due()
    assert platform.to_mail() == [6]
    platform.end_mail(TAKEN)
    assert (platform.mails(), platform.timers("mail-is-due"), platform.shown().waiting) == ([], [], 0)


def test_a_digest_waits_for_its_day_and_counts_as_nothing_that_is_late(platform: Mailing) -> None:
    platform.enter(rhythm="weekly")
    platform.happen(3)
    [timer] = platform.timers("mail-is-due")
    assert timer.due_at.strftime("%a %H") in ("Mon 07", "Mon 08")
    with reading(platform.store) as connection:
        assert deliveries_waiting(connection)["mail"] == 0
    platform.come_due()
    with reading(platform.store) as connection:
        assert deliveries_waiting(connection)["mail"] == 3


def test_what_has_a_date_makes_the_digest_come_in_time(platform: Mailing) -> None:
    platform.enter(rhythm="weekly")
    assert platform.send(Subscribe(topic="meetings"), "ada")["outcome"] == "done"
    tomorrow = clock.now() + timedelta(days=1)
    network = new_id()
    platform.hear(
        events.MeetingBooked(
            meeting=new_id(), umbrella=network, plan=new_id(), number=1, date=tomorrow.date() + timedelta(days=1),
            starts_at=tomorrow, ends_at=tomorrow, venue=new_id(), venue_name="Hall", place="Leeds", region="London",
            host=new_id(), invited=(), booked_at=clock.now(),
        )
    )  # fmt: skip
    [timer] = platform.timers("mail-is-due")
    assert timer.due_at - clock.now() < timedelta(minutes=1)
    [notice] = platform.sent("ada")
    assert notice["data"]["due_at"] is not None


def test_a_failed_mail_goes_again_as_it_was(platform: Mailing) -> None:
    platform.enter()
    platform.happen(2)
    platform.come_due()
    platform.end_mail(Mailed(status=451, trouble="the mail server did not take it", chance=0.5))
    platform.happen(1)
    assert platform.shown().failing_since is not None
    platform.come_due()
    assert platform.to_mail() == [1, 2]
    platform.end_mail(TAKEN)
    platform.come_due()
    assert platform.to_mail() == [3]


def test_one_that_stopped_goes_on_when_it_is_resumed(platform: Mailing) -> None:
    platform.enter()
    platform.happen(2)
    platform.come_due()
    platform.end_mail(Mailed(status=550, trouble="no such mailbox", stop="refused"))
    platform.happen(1)
    assert (platform.shown().stopped, platform.mails(), platform.timers("mail-is-due")) == ("refused", [], [])
    assert platform.send(ResumeMailbox(), "ada")["done"]["events"] == ["mailbox-resumed"]
    assert platform.to_mail() == [1, 2]


def test_one_whose_task_was_lost_goes_on_when_it_is_resumed(platform: Mailing) -> None:
    platform.enter()
    platform.happen(2)
    platform.come_due()
    with writing(platform.store) as connection:
        connection.execute(delete(TASKS))  # as with an outcome that became a dead letter, and was discarded
    platform.happen(1)
    assert platform.mails() == []
    assert platform.send(ResumeMailbox(), "ada")["outcome"] == "done"
    assert len(platform.mails()) == 1


def test_an_outcome_that_comes_late_changes_nothing(platform: Mailing) -> None:
    platform.enter()
    platform.happen(2)
    platform.come_due()
    [late] = platform.mails()
    platform.send(EndMailbox(), "ada")
    platform.enter()
    platform.happen(1)
    platform.come_due()
    before = platform.box()
    assert before.under_way
    outcome = TaskOutcome(late.id, late.name, late.key, late.args, 1, TAKEN.model_dump())
    platform.hear_own(f"task.{late.name}.{late.id}", asdict(outcome))
    assert platform.box() == before


def test_what_is_kept_no_longer_is_passed_over(platform: Mailing) -> None:
    platform.enter()
    platform.happen(3)
    with writing(platform.store) as connection:
        connection.execute(delete(OUTBOX).where(OUTBOX.c.stream == DELIVERIES, OUTBOX.c.sequence <= 2))
    platform.come_due()
    assert platform.to_mail() == [3]
    platform.end_mail(Mailed(status=250, missed=2))
    assert (platform.shown().missed, platform.shown().waiting) == (2, 0)


def test_a_new_rhythm_moves_what_waits(platform: Mailing) -> None:
    platform.enter()
    platform.happen(1)
    platform.send(ChangeMailbox(rhythm="daily"), "ada")
    [timer] = platform.timers("mail-is-due")
    assert timer.due_at == platform.shown().next_attempt_at
    assert timer.due_at.minute == timer.due_at.second == 0


def test_who_cannot_be_mailed_to_is_refused_at_once(platform: Mailing) -> None:
    assert platform.register_mailbox(address="ada@gov.uk")["refusal"]["code"] == "address-not-allowed"
    assert (platform.mails(), platform.count(MAILBOXES.table)) == ([], 0)


def test_nobody_else_misses_anything_for_a_time_zone_that_is_no_more(platform: Mailing) -> None:
    platform.enter()
    with writing(platform.store) as connection:
        connection.execute(update(tables.mailboxes).values(time_zone="Mars/Base"))
    platform.happen(1)
    assert len(platform.sent("ben")) == len(platform.sent("ada")) == 1


def test_an_end_forgets_the_address_everywhere(platform: Mailing) -> None:
    platform.enter()
    platform.happen(1)
    assert platform.send(EndMailbox(), "ada")["done"]["events"] == ["mailbox-ended"]
    assert platform.ask(ShowMailbox(), "ada").mailbox is None
    assert (platform.timers("mail-is-due"), platform.box().address) == ([], "")
    platform.happen(1)
    assert platform.mails() == []
    assert platform.send(EndMailbox(), "ada")["refusal"]["code"] == "no-mailbox"


def test_an_operator_ends_mail_of_somebody_and_sees_no_address(platform: Mailing) -> None:
    platform.enter("ada")
    platform.enter("ben")
    page = platform.ask(ListAllMailboxes(limit=1), "operator")
    rest = platform.ask(ListAllMailboxes(limit=1, after=page.next), "operator")
    assert [one.subscriber for one in (*page.mailboxes, *rest.mailboxes)] == ["ada", "ben"]
    assert page.mailboxes[0].domain == "example.org"
    assert not {"address", "token", "code"} & page.mailboxes[0].model_dump().keys()
    assert platform.send(EndMailboxOf(subscriber="ada"), "operator")["outcome"] == "done"
    assert [one.subscriber for one in platform.ask(ListAllMailboxes(), "operator").mailboxes] == ["ben"]


def test_no_event_says_an_address_a_code_or_a_link(platform: Mailing) -> None:
    platform.register_mailbox()
    secrets = {platform.box().code, platform.box().token, ADDRESS}
    platform.end_mail(TAKEN)
    platform.send(ConfirmMailbox(code=str(platform.box().code)), "ada")
    platform.send(ChangeMailbox(rhythm="daily"), "ada")
    platform.happen(1)
    platform.come_due()
    platform.end_mail(Mailed(trouble="so", stop="refused"))
    platform.send(ResumeMailbox(), "ada")
    platform.send(EndMailbox(), "ada")
    with reading(platform.store) as connection:
        rows = history.page(connection, "NOTIFICATIONS", platform.box().id, after=0, until=None, limit=20)
    said = [row.payload.decode() for row in rows]
    assert len(said) == 6
    assert not [each for each in said for secret in secrets if secret and secret in each]


def test_each_subscriber_has_one_mailbox_also_after_it_ended(platform: Mailing) -> None:
    platform.enter()
    first = platform.box()
    platform.send(EndMailbox(), "ada")
    platform.enter(address="ada@elsewhere.example")
    assert platform.count(MAILBOXES.table) == 1
    assert (platform.box().id, platform.box().codes) == (first.id, 2)
