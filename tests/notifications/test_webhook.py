"""A webhook: who may have which, how posting goes on, when it is given up, what is posted again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from pydantic import ValidationError

from services.notifications.domain.progress import GIVE_UP_AFTER
from services.notifications.domain.webhook import (
    MAX_WEBHOOKS,
    Posted,
    Webhook,
    after_posting,
    after_telling,
    begun,
    of_principal,
    register,
    resume,
)
from shared.contracts.notifications import RegisterWebhook, ResumeWebhook, WebhookResumed, WebhookStopped
from shared.refusal import Refusal

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
SECRET = "whsec_c2VjcmV0"  # noqa: S105  a made-up one
HOOK = "0190b0a5-0000-7000-8000-000000000001"


def webhook(**state: Any) -> Webhook:
    known = {"id": HOOK, "subscriber": "ada", "url": "https://hr.example/hook", "secret": SECRET}
    return Webhook(**{**known, "since": NOW, "after": 10, "last": 12, **state})


def ask(url: str = "https://hr.example/hook", *, has: list[Webhook] | None = None) -> Webhook | Refusal:
    return register(RegisterWebhook(url=url), has or [], webhook=HOOK, subscriber="ada", secret=SECRET, last=7, at=NOW)


def code(answer: Any) -> str:
    assert isinstance(answer, Refusal), answer
    return answer.code


def test_a_new_webhook_is_posted_what_comes_after_it() -> None:
    made = ask()
    assert isinstance(made, Webhook)
    assert (made.after, made.under_way, made.stopped) == (7, False, None)


@pytest.mark.parametrize(
    "url", ["https://ada:secret@hr.example/", "https://ada@hr.example/", "https://hr.example/#part"]
)
def test_an_address_that_cannot_be_posted_to_as_it_is_is_refused(url: str) -> None:
    assert code(ask(url)) == "unusable-address"


@pytest.mark.parametrize(
    "url", ["hr.example", "ftp://hr.example/", "https://", "file:///etc/passwd", "https://a/" + "b" * 2100]
)
def test_what_is_no_web_address_is_malformed(url: str) -> None:
    with pytest.raises(ValidationError):
        RegisterWebhook(url=url)


def test_the_same_address_is_registered_once() -> None:
    refusal = ask(has=[webhook()])
    assert code(refusal) == "already-registered"
    assert refusal.data == {"webhook": HOOK, "after": 10}


def test_nobody_has_more_than_ten() -> None:
    others = [webhook(url=f"https://hr.example/{number}") for number in range(MAX_WEBHOOKS)]
    assert isinstance(ask(has=others[:-1]), Webhook)
    assert code(ask(has=others)) == "too-many-webhooks"


def test_nobody_learns_of_somebody_elses_webhook() -> None:
    refusals = [of_principal(webhook(), HOOK, "ben"), of_principal(None, HOOK, "ben")]
    assert refusals[0] == refusals[1]
    assert code(refusals[0]) == "unknown-webhook"
    assert of_principal(webhook(), HOOK, "ada") == webhook()


def test_telling_begins_a_webhook_that_rests_and_no_other() -> None:
    assert after_telling(webhook(last=10), 11) == webhook(last=11, under_way=True)
    for state in ({"under_way": True}, {"next_attempt_at": NOW}, {"stopped": "gone"}):
        assert after_telling(webhook(last=11, **state), 12) == webhook(last=12, **state)


TOOK = {"status": 204}
FAILED = {"status": 503, "trouble": "it was not taken"}


def ends(hook: Webhook, at: datetime = NOW, **came_of_it: Any) -> tuple[Webhook, list[Any]]:
    """A task that was under way has ended."""
    return after_posting(hook.model_copy(update={"under_way": True}), Posted(**came_of_it), at)


def test_a_webhook_that_took_everything_rests() -> None:
    after, said = ends(webhook(), up_to=12, **TOOK)
    assert (after.after, after.under_way, after.status, after.trouble, after.answered_at) == (12, False, 204, None, NOW)
    assert said == []


def test_what_came_meanwhile_or_was_left_is_posted_next() -> None:
    after, _ = ends(webhook(last=13), up_to=12, **TOOK)
    assert (after.after, after.under_way) == (12, True)


def test_what_was_kept_no_longer_is_passed_over_and_counted() -> None:
    after, _ = ends(webhook(last=15, missed=1, status=503), up_to=15, missed=5)
    assert (after.after, after.missed, after.under_way) == (15, 6, False)
    assert (after.status, after.answered_at) == (503, None)  # nobody was asked


def test_after_a_failure_it_is_tried_again_once_the_pause_is_over() -> None:
    after, said = ends(webhook(last=13), up_to=10, asked=30, **FAILED)
    assert (after.next_attempt_at, after.under_way, after.failures) == (NOW + timedelta(seconds=30), False, 1)
    assert (after.failing_since, after.after, after.trouble, said) == (NOW, 10, "it was not taken", [])


@pytest.mark.parametrize(
    ("failures", "chance", "seconds"), [(0, 0, 2), (0, 1, 1), (1, 0, 4), (5, 0.5, 48), (11, 0, 3600), (500, 1, 1800)]
)
def test_pauses_double_up_to_an_hour_less_a_random_part(failures: int, chance: float, seconds: float) -> None:
    after, _ = ends(webhook(failures=failures, failing_since=NOW), up_to=10, chance=chance, **FAILED)
    assert after.next_attempt_at == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize("asked", [86_401.0, 1e12, 1e300, float("inf")])
def test_nobody_is_put_off_for_more_than_a_day(asked: float) -> None:
    after, _ = ends(webhook(), up_to=10, asked=asked, **FAILED)
    assert after.next_attempt_at == NOW + timedelta(days=1)


def test_a_notice_that_is_not_taken_for_three_days_stops_the_webhook_where_it_stands() -> None:
    hook, _ = ends(webhook(), up_to=10, **FAILED)
    hook, said = ends(begun(hook), NOW + GIVE_UP_AFTER - timedelta(seconds=1), up_to=10, **FAILED)
    assert (hook.failures, hook.stopped, said) == (2, None, [])
    hook, said = ends(begun(hook), NOW + GIVE_UP_AFTER, up_to=10, **FAILED)
    assert said == [WebhookStopped(webhook=HOOK, subscriber="ada", reason="given-up", after=10)]
    assert (hook.stopped, hook.after, hook.next_attempt_at, hook.under_way) == ("given-up", 10, None, False)


def test_each_notice_has_three_days_of_its_own() -> None:
    hook, _ = ends(webhook(), up_to=10, **FAILED)
    later = NOW + GIVE_UP_AFTER + timedelta(days=1)
    after, said = ends(begun(hook), later, up_to=11, **FAILED)  # it took one, and failed at the next
    assert (after.failing_since, after.failures, said) == (later, 1, [])
    well, _ = ends(begun(hook.model_copy(update={"last": 11})), later, up_to=11, **TOOK)
    assert (well.failing_since, well.failures, well.trouble) == (None, 0, None)
    after, said = ends(begun(well), later, up_to=11, **FAILED)
    assert (after.failing_since, after.failures, said) == (later, 1, [])


@pytest.mark.parametrize("reason", ["gone", "not-allowed"])
def test_a_receiver_that_is_gone_is_left_alone_at_once(reason: Any) -> None:
    gone = {"status": 410, "trouble": "it is gone", "stop": reason}
    after, [said] = ends(webhook(last=13), up_to=11, **gone)
    assert said == WebhookStopped(webhook=HOOK, subscriber="ada", reason=reason, after=11)
    assert (after.stopped, after.under_way, after.next_attempt_at) == (reason, False, None)


def go_on(hook: Webhook, after: int | None = None) -> Any:
    return resume(hook, ResumeWebhook(webhook=HOOK, after=after))


FAILING = {"failures": 3, "failing_since": NOW}


@pytest.mark.parametrize("state", [{"stopped": "gone"}, {"next_attempt_at": NOW, **FAILING}])
def test_a_webhook_that_stopped_or_fails_goes_on_at_once_where_it_stands(state: dict[str, Any]) -> None:
    hook, said = go_on(webhook(**state))
    assert hook == webhook(under_way=True)
    assert said == WebhookResumed(webhook=HOOK, subscriber="ada", after=10)


@pytest.mark.parametrize("after", [3, 12])
def test_any_webhook_can_be_led_back_to_post_again_or_on_past_what_is_not_taken(after: int) -> None:
    hook, said = go_on(webhook(), after=after)
    assert (hook.after, hook.under_way) == (after, True)
    assert said == WebhookResumed(webhook=HOOK, subscriber="ada", after=after)


@pytest.mark.parametrize(
    "came_of_it",
    [TOOK, {**FAILED, "asked": 60}, {"status": 410, "trouble": "it is gone", "stop": "gone"}],
    ids=["took", "failed", "gone"],
)
def test_one_that_is_being_posted_to_goes_on_elsewhere_once_that_has_ended(came_of_it: dict[str, Any]) -> None:
    hook, _ = go_on(webhook(under_way=True, **FAILING), after=3)
    assert (hook.after, hook.under_way, hook.resume_at) == (10, True, 3)
    after, said = ends(hook, NOW + GIVE_UP_AFTER, up_to=10, **came_of_it)
    assert (after.after, after.under_way, after.resume_at, after.next_attempt_at) == (3, True, None, None)
    assert (after.failures, after.failing_since, after.stopped, said) == (0, None, None, [])


def test_a_webhook_that_is_well_has_nothing_to_be_resumed() -> None:
    assert code(go_on(webhook(last=10))) == code(go_on(webhook(under_way=True))) == "nothing-to-resume"


def test_one_that_fails_and_is_just_being_tried_again_can_be_resumed() -> None:
    hook, _ = go_on(webhook(under_way=True, **FAILING))
    assert hook.resume_at == 10


def test_one_that_lost_its_task_goes_on() -> None:
    hook, _ = go_on(webhook())  # it rests, and yet something waits
    assert hook.under_way


def test_one_that_lost_its_task_forgets_where_that_was_to_go_on() -> None:
    hook, _ = go_on(webhook(resume_at=3), after=7)
    assert (hook.after, hook.resume_at) == (7, None)


def test_what_has_not_been_told_yet_cannot_be_skipped() -> None:
    refusal = go_on(webhook(), after=13)
    assert code(refusal) == "unknown-sequence"
    assert refusal.data == {"last": 12}


class Story(RuleBasedStateMachine):
    """A webhook, its subscriber's sequence and its receiver, in any order of what can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.hook, self.at = webhook(after=0, last=0), NOW
        self.seen = 0  # the last sequence that the task under way has read of
        self.taken: list[int] = []
        self.due = 1  # what is to be taken next

    @rule(count=st.integers(1, 3))
    def tell(self, count: int) -> None:
        before, self.hook = self.hook, after_telling(self.hook, self.hook.last + count)
        self._read(before)

    @precondition(lambda self: self.hook.under_way)
    @rule(count=st.integers(0, 3), came_of_it=st.sampled_from([TOOK, FAILED, {**FAILED, "stop": "gone"}]))
    def post(self, count: int, came_of_it: dict[str, Any]) -> None:
        up_to = min(self.seen, self.hook.after + count)
        for sequence in range(self.hook.after + 1, up_to + 1):
            assert sequence == self.due
            self.taken.append(sequence)
            self.due += 1
        if up_to == self.seen:
            came_of_it = TOOK
        if self.hook.resume_at is not None:
            self.due = self.hook.resume_at + 1
        self.hook, _ = after_posting(self.hook, Posted(up_to=up_to, **came_of_it), self.at)
        self._read(None)

    @precondition(lambda self: self.hook.next_attempt_at is not None)
    @rule()
    def pause(self) -> None:
        assert self.hook.next_attempt_at is not None
        self.at = max(self.at, self.hook.next_attempt_at)
        before, self.hook = self.hook, begun(self.hook)
        self._read(before)

    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        after = data.draw(st.none() | st.integers(0, self.hook.last))
        decided = go_on(self.hook, after)
        if isinstance(decided, Refusal):
            return
        before, (self.hook, said) = self.hook, decided
        if not before.under_way:
            self.due = said.after + 1
            self._read(before)

    def _read(self, before: Webhook | None) -> None:
        """A task that has just begun reads what there is."""
        if self.hook.under_way and not (before and before.under_way):
            self.seen = self.hook.last

    @invariant()
    def what_waits_is_posted_or_will_be_or_the_webhook_has_stopped(self) -> None:
        hook = self.hook
        does = [hook.under_way, hook.next_attempt_at is not None, hook.stopped is not None]
        assert sum(does) == 1 if hook.after < hook.last else sum(does) <= 1
        assert hook.resume_at is None or hook.under_way

    @invariant()
    def what_fails_says_so(self) -> None:
        assert (self.hook.failing_since is None) == (self.hook.failures == 0)


TestStory = Story.TestCase
