"""A webhook: who may have which, how posting goes on, when it is given up, what is posted again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.notifications.domain.webhook import (
    GIVE_UP_AFTER,
    MAX_WEBHOOKS,
    Posted,
    Webhook,
    after_posting,
    after_telling,
    mine,
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
    return Webhook(**{**known, "since": NOW, "posted_up_to": 10, **state})


def ask(url: str = "https://hr.example/hook", *, has: list[Webhook] | None = None) -> Webhook | Refusal:
    return register(RegisterWebhook(url=url), has or [], webhook=HOOK, subscriber="ada", secret=SECRET, last=7, at=NOW)


def code(answer: Any) -> str:
    assert isinstance(answer, Refusal), answer
    return answer.code


def test_a_new_webhook_is_posted_what_comes_after_it() -> None:
    made = ask()
    assert isinstance(made, Webhook)
    assert (made.posted_up_to, made.under_way, made.stopped) == (7, False, None)


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
    assert refusal.data == {"webhook": HOOK}


def test_nobody_has_more_than_ten() -> None:
    others = [webhook(url=f"https://hr.example/{number}") for number in range(MAX_WEBHOOKS)]
    assert isinstance(ask(has=others[:-1]), Webhook)
    assert code(ask(has=others)) == "too-many-webhooks"


def test_nobody_learns_of_somebody_elses_webhook() -> None:
    refusals = [mine(webhook(), HOOK, "ben"), mine(None, HOOK, "ben")]
    assert refusals[0] == refusals[1]
    assert code(refusals[0]) == "unknown-webhook"
    assert mine(webhook(), HOOK, "ada") == webhook()


def test_telling_begins_a_webhook_that_rests_and_no_other() -> None:
    assert after_telling(webhook()).under_way
    for busy in (webhook(under_way=True), webhook(next_attempt_at=NOW), webhook(stopped="gone")):
        assert after_telling(busy) == busy


def test_a_webhook_that_took_everything_rests() -> None:
    after, said = after_posting(webhook(under_way=True), Posted(up_to=12, answer="204"), 12, NOW)
    assert (after.posted_up_to, after.under_way, after.answered, after.answered_at) == (12, False, "204", NOW)
    assert said == []


def test_what_came_meanwhile_is_posted_next() -> None:
    after, _ = after_posting(webhook(under_way=True), Posted(up_to=12, answer="204"), 13, NOW)
    assert after.under_way


def test_after_a_failure_it_is_tried_again_once_the_pause_is_over() -> None:
    after, said = after_posting(webhook(under_way=True), Posted(up_to=10, answer="503", pause=30), 12, NOW)
    assert (after.next_attempt_at, after.under_way, after.failures) == (NOW + timedelta(seconds=30), False, 1)
    assert (after.failing_since, after.posted_up_to, said) == (NOW, 10, [])


def failed(hook: Webhook, at: datetime, up_to: int = 10) -> tuple[Webhook, list[Any]]:
    return after_posting(
        hook.model_copy(update={"under_way": True}), Posted(up_to=up_to, answer="503", pause=9), 99, at
    )


def test_a_notice_that_is_not_taken_for_three_days_stops_the_webhook_where_it_stands() -> None:
    hook, _ = failed(webhook(), NOW)
    hook, said = failed(hook, NOW + GIVE_UP_AFTER - timedelta(seconds=1))
    assert (hook.failures, hook.stopped, said) == (2, None, [])
    hook, said = failed(hook, NOW + GIVE_UP_AFTER)
    assert said == [WebhookStopped(webhook=HOOK, subscriber="ada", reason="given-up", posted_up_to=10)]
    assert (hook.stopped, hook.posted_up_to, hook.next_attempt_at, hook.under_way) == ("given-up", 10, None, False)


def test_each_notice_has_three_days_of_its_own() -> None:
    hook, _ = failed(webhook(), NOW)
    later = NOW + GIVE_UP_AFTER + timedelta(days=1)
    hook, said = failed(hook, later, up_to=11)  # it took one, and failed at the next
    assert (hook.failing_since, hook.failures, said) == (later, 1, [])


@pytest.mark.parametrize("reason", ["gone", "not-allowed"])
def test_a_receiver_that_is_gone_is_left_alone_at_once(reason: Any) -> None:
    after, [said] = after_posting(webhook(under_way=True), Posted(up_to=11, answer="410", stop=reason), 99, NOW)
    assert said == WebhookStopped(webhook=HOOK, subscriber="ada", reason=reason, posted_up_to=11)
    assert (after.stopped, after.under_way, after.next_attempt_at) == (reason, False, None)


def go_on(hook: Webhook, after: int | None = None, last: int = 12) -> Any:
    return resume(hook, ResumeWebhook(webhook=HOOK, after=after), last)


@pytest.mark.parametrize("state", [{"stopped": "gone"}, {"next_attempt_at": NOW, "failures": 3, "failing_since": NOW}])
def test_a_webhook_that_stopped_or_fails_goes_on_at_once_where_it_stands(state: dict[str, Any]) -> None:
    hook, said = go_on(webhook(**state))
    assert hook == webhook(under_way=True)
    assert said == WebhookResumed(webhook=HOOK, subscriber="ada", after=10)


def test_one_that_has_nothing_to_post_rests_when_it_is_resumed() -> None:
    hook, _ = go_on(webhook(stopped="gone"), last=10)
    assert hook == webhook()


def test_any_webhook_can_be_posted_to_again_from_any_place() -> None:
    hook, said = go_on(webhook(), after=3)
    assert (hook.posted_up_to, hook.under_way) == (3, True)
    assert said == WebhookResumed(webhook=HOOK, subscriber="ada", after=3)


def test_one_that_is_being_posted_to_goes_back_once_that_has_ended() -> None:
    hook, _ = go_on(webhook(under_way=True), after=3)
    assert (hook.posted_up_to, hook.under_way, hook.go_back_to) == (10, True, 3)
    for came_of_it in (Posted(up_to=12, answer="204"), Posted(up_to=10, answer="503", pause=60)):
        after, _ = after_posting(hook, came_of_it, 12, NOW)
        assert (after.posted_up_to, after.under_way, after.go_back_to, after.next_attempt_at) == (3, True, None, None)


def test_a_webhook_that_is_well_has_nothing_to_be_resumed() -> None:
    assert code(go_on(webhook())) == code(go_on(webhook(under_way=True))) == "nothing-to-resume"


def test_what_has_not_been_told_yet_cannot_be_skipped() -> None:
    refusal = go_on(webhook(), after=13, last=12)
    assert code(refusal) == "unknown-sequence"
    assert refusal.data == {"last": 12}


@given(
    st.builds(webhook, failures=st.integers(0, 5), go_back_to=st.none() | st.integers(0, 20)),
    st.builds(
        Posted,
        up_to=st.integers(10, 20),
        answer=st.sampled_from(["204", "503"]),
        pause=st.none() | st.floats(0, 1e5),
        stop=st.sampled_from([None, "gone"]),
    ),
    st.integers(20, 25),
)
def test_a_webhook_that_is_behind_is_posted_to_will_be_or_has_stopped(hook: Webhook, posted: Posted, last: int) -> None:
    after, _ = after_posting(hook.model_copy(update={"under_way": True}), posted, last, NOW)
    does = [after.under_way, after.next_attempt_at is not None, after.stopped is not None]
    assert sum(does) == 1 if after.posted_up_to < last else sum(does) <= 1
