"""Webhooks on a store: when something is posted, from where, and who sees what of it."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Row, delete, select, update

from services.notifications import store, tables
from services.notifications.domain.webhook import Posted
from services.notifications.handlers import on
from services.notifications.posting import post_in_order
from services.notifications.store import deliveries_waiting
from shared import clock, dead_letters, history
from shared.contracts.notifications import (
    EndAllWebhooks,
    EndWebhook,
    ListAllWebhooks,
    ListWebhooks,
    RegisterWebhook,
    ResumeWebhook,
    ShowWebhookSecret,
    Subscribe,
    WebhookView,
)
from shared.database import reading, writing
from shared.identity import DELIVERIES
from shared.outbox import OUTBOX
from shared.refusal import Refusal
from shared.surface import Received
from shared.tasks import TASKS, TaskOutcome
from shared.timers import TIMERS
from shared.unit_of_work import Reader
from tests.conftest import StoreOf
from tests.stores.test_notifications import Platform, new_id, registered

URL = "https://hr.example/hook?key=1"


class Posting(Platform):
    """Notifications on a store; ada and ben subscribe to everything of membership."""

    def subscribe(self, *principals: str) -> None:
        for principal in principals:
            assert self.send(Subscribe(topic="membership"), principal)["outcome"] == "done"

    def happen(self, count: int = 1) -> None:
        """Something that is told: in one transaction."""
        self.hear(*(registered(new_id(), f"Network {n}", "uma") for n in range(count)))

    def register(self, principal: str = "ada", url: str = URL) -> str:
        return str(self.send(RegisterWebhook(url=url), principal)["done"]["id"])

    def tasks(self) -> Sequence[Row[Any]]:
        with reading(self.store) as connection:
            return connection.execute(select(TASKS).order_by(TASKS.c.id)).all()

    def timers(self, name: str = "try-webhook-again") -> Sequence[Row[Any]]:
        with reading(self.store) as connection:
            return connection.execute(select(TIMERS).where(TIMERS.c.name == name)).all()

    def end(self, posted: Posted | None, error: str | None = None, of: str = "ada") -> None:
        """The only task there is for somebody comes to its end."""
        hooks = {one.id for one in self.ask(ListAllWebhooks(subscriber=of), "operator").webhooks}
        [task] = [task for task in self.tasks() if task.key in hooks or not hooks]
        result = posted.model_dump() if posted else None
        outcome = TaskOutcome(task.id, task.name, task.key, task.args, 1, result, error)
        self.hear_own(f"task.{task.name}.{task.id}", asdict(outcome))

    def fall_due(self, timer: Row[Any]) -> None:
        """The moment of a timer has come."""
        said = {"name": timer.name, "key": timer.key, "due_at": timer.due_at.isoformat(), "data": {}}
        self.hear_own(f"timer.{timer.name}.{timer.key}", said)

    def hear_own(self, subject: str, said: Any) -> None:
        self._run(on.read(Received(subject, {}, json.dumps(said).encode())))
        with reading(self.store) as connection:
            assert [letter.error for letter in dead_letters.page(connection, None, 10)] == []

    def to_post(self, webhook: str, limit: int = 100) -> store.ToPost:
        with reading(self.store) as connection:
            found = store.to_post(Reader(connection, clock.now(), "notifications"), webhook, limit)
        assert found is not None
        return found

    def waiting(self, webhook: str, limit: int = 100) -> list[int]:
        return [notice.sequence for notice in self.to_post(webhook, limit).notices]

    def one(self, principal: str = "ada") -> WebhookView:
        [found] = self.ask(ListWebhooks(), principal).webhooks
        assert isinstance(found, WebhookView)
        return found


@pytest.fixture
def platform(store_of: StoreOf) -> Posting:
    found = Posting(store_of("notifications"))
    found.subscribe("ada", "ben")
    return found


def test_what_is_told_after_the_registration_is_posted_and_nothing_before(platform: Posting) -> None:
    platform.happen(2)
    hook = platform.register()
    assert (platform.tasks(), platform.waiting(hook)) == ([], [])
    platform.happen(3)
    [task] = platform.tasks()
    assert (task.name, task.key, task.args) == ("post-to-webhook", hook, {"webhook": hook, "after": 2})
    assert platform.waiting(hook) == [3, 4, 5]
    assert platform.one().waiting == 3


def test_the_post_is_the_message_of_the_delivery_subject(platform: Posting) -> None:
    hook = platform.register()
    platform.happen()
    [notice], [sent] = platform.to_post(hook).notices, platform.sent("ada")
    assert json.loads(notice.payload) == {name: value for name, value in sent.items() if name != "nats_subject"}
    assert notice.id == sent["id"]


def test_a_few_are_posted_at_a_time(platform: Posting) -> None:
    hook = platform.register()
    platform.happen(5)
    assert platform.waiting(hook, limit=3) == [1, 2, 3]


def test_one_task_at_a_time_posts_to_a_webhook_whatever_comes_meanwhile(platform: Posting) -> None:
    hook = platform.register()
    for _ in range(3):
        platform.happen(2)
    [first] = platform.tasks()
    platform.end(Posted(up_to=4, status=204))
    [second] = platform.tasks()
    assert second.id != first.id
    assert platform.waiting(hook) == [5, 6]
    platform.end(Posted(up_to=6, status=204))
    assert platform.tasks() == []
    assert (platform.one().after, platform.one().waiting, platform.one().status) == (6, 0, 204)
    platform.happen()
    assert len(platform.tasks()) == 1


def test_each_subscriber_is_posted_what_is_its_own(platform: Posting) -> None:
    hers, his = platform.register("ada"), platform.register("ben")
    platform.happen()
    assert sorted(task.key for task in platform.tasks()) == sorted([hers, his])
    assert platform.one("ada").id == hers
    assert (
        platform.ask(ShowWebhookSecret(webhook=hers), "ada").secret
        != platform.ask(ShowWebhookSecret(webhook=his), "ben").secret
    )


def test_a_failure_waits_for_its_pause_and_is_tried_again(platform: Posting) -> None:
    hook = platform.register()
    platform.happen(2)
    platform.end(Posted(up_to=1, status=503, trouble="it was not taken", asked=3600))
    [timer] = platform.timers()
    assert timer.key == hook
    assert timedelta(minutes=59) < timer.due_at - clock.now() < timedelta(minutes=61)
    platform.happen()  # which waits too
    assert platform.tasks() == []
    state = platform.one()
    assert (state.after, state.waiting, state.status, state.stopped) == (1, 2, 503, None)
    assert state.next_attempt_at == timer.due_at
    platform.fall_due(timer)
    assert [task.key for task in platform.tasks()] == [hook]
    assert platform.one().next_attempt_at is None


def test_a_timer_of_before_begins_nothing(platform: Posting) -> None:
    hook = platform.register()
    platform.happen(2)
    platform.end(Posted(up_to=0, status=503, trouble="it was not taken", asked=3600))
    [timer] = platform.timers()
    platform.send(ResumeWebhook(webhook=hook), "ada")
    assert platform.timers() == []
    platform.end(Posted(up_to=2, status=204))
    platform.fall_due(timer)
    assert platform.tasks() == []


def test_a_receiver_that_is_gone_is_posted_nothing_until_it_is_resumed(platform: Posting) -> None:
    hook = platform.register()
    platform.happen(2)
    platform.end(Posted(up_to=1, status=410, trouble="it is gone", stop="gone"))
    platform.happen()
    assert platform.tasks() == []
    assert (platform.one().stopped, platform.one().waiting) == ("gone", 2)
    assert platform.send(ResumeWebhook(webhook=hook), "ada")["done"]["events"] == ["webhook-resumed"]
    assert (platform.one().stopped, platform.waiting(hook)) == (None, [2, 3])
    assert len(platform.tasks()) == 1


def test_what_was_posted_can_be_posted_again_from_any_place(platform: Posting) -> None:
    hook = platform.register()
    platform.happen(3)
    platform.end(Posted(up_to=3, status=204))
    assert platform.send(ResumeWebhook(webhook=hook, after=1), "ada")["outcome"] == "done"
    assert platform.waiting(hook) == [2, 3]
    assert platform.send(ResumeWebhook(webhook=hook, after=4), "ada")["refusal"]["code"] == "unknown-sequence"


def test_a_task_that_was_given_up_is_begun_anew_after_a_pause(platform: Posting) -> None:
    platform.register()
    platform.happen()
    platform.end(None, error="the store is away")
    assert (platform.one().trouble, platform.one().waiting) == ("nothing could be posted", 1)
    assert len(platform.timers()) == 1


def test_one_whose_task_was_lost_goes_on_when_it_is_resumed(platform: Posting) -> None:
    hook = platform.register()
    platform.happen()
    with writing(platform.store) as connection:
        connection.execute(delete(TASKS))  # as with an outcome that became a dead letter, and was discarded
    platform.happen()
    assert platform.tasks() == []
    assert platform.send(ResumeWebhook(webhook=hook), "ada")["outcome"] == "done"
    assert len(platform.tasks()) == 1


@pytest.mark.parametrize("missed", [True, False])
def test_what_was_told_while_it_was_being_registered_is_found_soon_after(platform: Posting, missed: bool) -> None:
    hook = platform.register()
    [timer] = platform.timers("look-again-at-new-webhook")
    platform.happen()
    platform.end(Posted(up_to=1, status=204))
    if missed:  # another replica told of it, and had not seen the webhook yet
        with writing(platform.store) as connection:
            connection.execute(update(tables.webhooks).values(after=0, last=0))
    platform.fall_due(timer)
    assert [task.key for task in platform.tasks()] == ([hook] if missed else [])
    assert platform.one().waiting == missed


def test_an_outcome_that_comes_late_changes_nothing(platform: Posting) -> None:
    hook = platform.register()
    platform.happen(3)
    [lost] = platform.tasks()
    with writing(platform.store) as connection:
        connection.execute(delete(TASKS))
    platform.send(ResumeWebhook(webhook=hook, after=1), "ada")
    result = Posted(up_to=3, status=204).model_dump()
    platform.hear_own(
        f"task.{lost.name}.{lost.id}", asdict(TaskOutcome(lost.id, lost.name, hook, lost.args, 1, result))
    )
    assert (platform.one().after, len(platform.tasks())) == (1, 1)


def test_what_is_kept_no_longer_is_passed_over_and_begins_nothing_anew(platform: Posting) -> None:
    hook = platform.register()
    platform.happen(4)
    with writing(platform.store) as connection:
        connection.execute(delete(OUTBOX).where(OUTBOX.c.stream == DELIVERIES, OUTBOX.c.sequence <= 2))
    assert platform.waiting(hook) == [3, 4]
    with writing(platform.store) as connection:
        connection.execute(delete(OUTBOX).where(OUTBOX.c.stream == DELIVERIES))
    came_of_it = asyncio.run(post_in_order(platform.to_post(hook), ()))
    platform.end(came_of_it)
    assert platform.tasks() == []
    assert (platform.one().after, platform.one().missed, platform.one().waiting) == (4, 4, 0)


def test_an_ended_webhook_is_gone_with_its_secret_its_timer_and_what_comes_of_its_task(platform: Posting) -> None:
    hook = platform.register()
    platform.happen(2)
    platform.end(Posted(up_to=1, status=503, trouble="it was not taken", asked=3600))
    assert platform.send(EndWebhook(webhook=hook), "ada")["done"]["events"] == ["webhook-ended"]
    assert (platform.count(tables.webhooks), platform.timers(), platform.timers("look-again-at-new-webhook")) == (
        0,
        [],
        [],
    )
    other = platform.register()
    platform.happen()
    platform.send(EndWebhook(webhook=other), "ada")
    platform.end(Posted(up_to=3, status=204))
    assert (platform.count(tables.webhooks), platform.tasks()) == (0, [])


def test_nobody_reaches_the_webhook_of_somebody_else(platform: Posting) -> None:
    hook = platform.register("ada")
    for message in (EndWebhook(webhook=hook), ResumeWebhook(webhook=hook, after=0)):
        assert platform.send(message, "ben")["refusal"]["code"] == "unknown-webhook"
    secret = platform.ask(ShowWebhookSecret(webhook=hook), "ben")
    assert isinstance(secret, Refusal)
    assert secret.code == "unknown-webhook"
    assert platform.ask(ListWebhooks(), "ben").webhooks == ()


def test_an_operator_sees_and_ends_webhooks_and_learns_neither_secret_nor_address(platform: Posting) -> None:
    hooks = [platform.register("ada", f"https://hr.example/{n}") for n in range(3)]
    platform.register("ben")
    page = platform.ask(ListAllWebhooks(subscriber="ada", limit=2), "operator")
    rest = platform.ask(ListAllWebhooks(subscriber="ada", limit=2, after=page.next), "operator")
    assert [one.id for one in (*page.webhooks, *rest.webhooks)] == hooks
    assert rest.next is None
    assert page.webhooks[0].host == "hr.example"
    assert not {"secret", "url"} & page.webhooks[0].model_dump().keys()
    assert platform.send(EndAllWebhooks(subscriber="ada"), "operator")["done"]["counts"] == {"ended": 3}
    assert [one.subscriber for one in platform.ask(ListAllWebhooks(), "operator").webhooks] == ["ben"]


def test_no_event_says_where_is_posted_to_or_with_which_secret(platform: Posting) -> None:
    hook = platform.register()
    secret = platform.ask(ShowWebhookSecret(webhook=hook), "ada").secret
    platform.happen()
    platform.end(Posted(up_to=0, status=410, trouble="it is gone", stop="gone"))
    platform.send(ResumeWebhook(webhook=hook), "ada")
    platform.send(EndWebhook(webhook=hook), "ada")
    with reading(platform.store) as connection:
        said = [
            row.payload.decode()
            for row in history.page(connection, "NOTIFICATIONS", hook, after=0, until=None, limit=9)
        ]
    assert len(said) == 4
    assert not [each for each in said if secret in each or "hr.example" in each]
    assert secret.startswith("whsec_")


def test_what_webhooks_that_have_not_stopped_have_not_taken_is_counted(platform: Posting) -> None:
    def waiting() -> int:
        with reading(platform.store) as connection:
            return deliveries_waiting(connection)["webhook"]

    assert waiting() == 0
    platform.register("ada")
    platform.register("ben")
    platform.happen(3)
    assert waiting() == 6
    with writing(platform.store) as connection:
        connection.execute(
            update(tables.webhooks).where(tables.webhooks.c.subscriber == "ben").values(stopped="gone", under_way=False)
        )
    assert waiting() == 3


def test_a_webhook_of_somebody_who_was_told_nothing_yet_begins_at_nothing(platform: Posting) -> None:
    platform.subscribe("zoe")
    hook = platform.register("zoe")
    assert platform.one("zoe").after == 0
    platform.happen()
    assert platform.waiting(hook) == [1]


def test_everything_a_webhook_needs_is_heard() -> None:
    assert {"register-webhook", "resume-webhook", "end-webhook", "end-all-webhooks"} <= on.commands.keys()
    assert {"list-webhooks", "show-webhook-secret", "list-all-webhooks"} <= on.queries.keys()
