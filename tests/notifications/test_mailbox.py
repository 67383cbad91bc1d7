"""Who is mailed to, when the next mail goes, and when it is given up."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.notifications.domain.mailbox import (
    AHEAD,
    CODE_LASTS,
    GATHERED,
    MAX_CODES_A_DAY,
    MOST_IN_A_MAIL,
    MUST_BE_LEFT,
    Mailbox,
    Mailed,
    after_mailing,
    after_telling,
    begun,
    change,
    confirm,
    end,
    goes_at,
    of_principal,
    register,
    resume,
    when_due,
)
from services.notifications.domain.progress import GIVE_UP_AFTER
from shared.contracts.notifications import (
    ChangeMailbox,
    ConfirmMailbox,
    MailboxConfirmed,
    MailboxResumed,
    MailboxStopped,
    RegisterMailbox,
    ResumeMailbox,
)
from shared.refusal import Refusal

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)  # a Tuesday, in winter
BOX = "0190b0a5-0000-7000-8000-000000000001"
LONDON = ZoneInfo("Europe/London")
CODE = "ABCDE-FGHJK"
FAILED = Mailed(status=451, trouble="the mail server did not take it")
TOKEN, LINK = "t", "the link that was sent"


def mailbox(**state: Any) -> Mailbox:
    known = {"id": BOX, "subscriber": "ada", "address": "ada@example.org", "token": "t", "rhythm": "as-it-happens"}
    when = {"quiet_from": "19:00", "quiet_until": "07:00", "time_zone": "Europe/London", "confirmed_at": NOW}
    return Mailbox(**{**known, **when, "since": NOW, "after": 10, "last": 12, **state})


def unconfirmed(**state: Any) -> Mailbox:
    waits = {"confirmed_at": None, "code": CODE, "code_until": NOW + CODE_LASTS, "codes": 1, "codes_since": NOW}
    return mailbox(**{**waits, **state})


def ask(before: Mailbox | None = None, at: datetime = NOW, **wanted: Any) -> Mailbox | Refusal:
    command = RegisterMailbox(**{"address": "ada@example.org", **wanted})
    decided = register(command, before, mailbox=BOX, subscriber="ada", code=CODE, token=TOKEN, last=7, at=at)
    return decided if isinstance(decided, Refusal) else decided[0]


def made(answer: Any) -> Mailbox:
    assert not isinstance(answer, Refusal), answer
    return answer if isinstance(answer, Mailbox) else answer[0]


def code(answer: Any) -> str:
    assert isinstance(answer, Refusal), answer
    return answer.code


def comes_due(box: Mailbox) -> Mailbox:
    assert box.next_attempt_at is not None
    return when_due(box, box.next_attempt_at)[0]


def local(year: int, month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=LONDON)


# ---- whose it is ---------------------------------------------------------------------------------------------------


def test_a_new_mailbox_is_mailed_its_code_and_nothing_else() -> None:
    box = made(ask())
    assert (box.under_way, box.turn, box.confirmed_at, box.code, box.after) == (True, 1, None, CODE, 7)
    told = after_telling(after_mailing(box, Mailed(status=250), NOW)[0], 9, None, NOW)
    assert (told.under_way, told.next_attempt_at) == (False, told.code_until)


@pytest.mark.parametrize(
    "address",
    ["ada", "ada@", "@example.org", "ada@example", "ada @example.org", "ada@example.org\nBcc: x@y.z", "a,b@example.org",
     "<ada@example.org>", ".ada@example.org", "ada@-example.org", "=?utf-8?q?x?=@example.org", "a%b@example.org",
     "b!a@example.org", "é@example.org", "a" * 250 + "@example.org"],
)  # fmt: skip
def test_what_is_no_mail_address_is_malformed(address: str) -> None:
    with pytest.raises(ValidationError):
        RegisterMailbox(address=address)


@pytest.mark.parametrize("zone", ["Mars/Base", "../../etc/passwd", "/etc/localtime", "Europe"])
def test_a_time_zone_that_there_is_not_is_refused(zone: str) -> None:
    assert code(ask(time_zone=zone)) == "unknown-time-zone"
    assert code(change(mailbox(), ChangeMailbox(time_zone=zone), NOW)) == "unknown-time-zone"


@pytest.mark.parametrize("given", [CODE, "abcde-fghjk", "ABCDEFGHJK", " abcde fghjk "])
def test_the_code_is_taken_however_it_is_typed(given: str) -> None:
    decided = confirm(unconfirmed(), ConfirmMailbox(code=given), 12, NOW)
    assert not isinstance(decided, Refusal)
    box, said = decided
    assert (box.confirmed_at, box.code, box.next_attempt_at) == (NOW, None, NOW + GATHERED)
    assert isinstance(said, MailboxConfirmed)


def test_a_code_that_is_wrong_old_or_no_longer_needed_is_refused() -> None:
    assert code(confirm(unconfirmed(), ConfirmMailbox(code="ABCDE-FGHJL"), 12, NOW)) == "wrong-code"
    assert code(confirm(unconfirmed(code="é"), ConfirmMailbox(code="è"), 12, NOW)) == "wrong-code"
    assert code(confirm(unconfirmed(), ConfirmMailbox(code=CODE), 12, NOW + CODE_LASTS)) == "code-too-old"
    assert code(confirm(mailbox(), ConfirmMailbox(code=CODE), 12, NOW)) == "already-confirmed"


def test_nobody_has_more_than_a_few_codes_a_day_sent_also_not_by_ending_in_between() -> None:
    box: Mailbox | None = None
    for number in range(MAX_CODES_A_DAY):
        box = end(made(ask(box, NOW + timedelta(minutes=number))))[0]
    assert code(ask(box, NOW + timedelta(hours=23))) == "too-many-codes"
    assert made(ask(box, NOW + timedelta(days=1))).codes == 1
    assert made(ask(box, NOW - timedelta(days=300))).codes == 1  # the clock was wrong


def test_what_ends_keeps_neither_address_nor_link() -> None:
    ended, _ = end(mailbox(under_way=True, turn=3))
    assert (ended.address, ended.token, ended.code, ended.stopped, ended.under_way) == ("", "", None, "ended", False)
    assert ended.turn == 4  # what comes of the task is too late
    assert code(of_principal(ended, "ada")) == code(of_principal(None, "ada")) == "no-mailbox"


def test_another_address_takes_the_place_of_the_one_before_and_misses_nothing() -> None:
    moved = made(ask(mailbox(after=3, last=7), address="ada@elsewhere.example"))
    assert (moved.after, moved.confirmed_at, moved.address) == (3, None, "ada@elsewhere.example")
    assert code(ask(mailbox())) == "already-confirmed"
    assert made(ask(mailbox(stopped="refused"))).stopped is None
    anew = made(ask(end(mailbox(after=3))[0]))
    assert anew.after == 7  # who had ended it begins where things are


# ---- when the next mail goes ---------------------------------------------------------------------------------------


def goes(at: datetime, **state: Any) -> datetime:
    return goes_at(mailbox(**state), at).astimezone(LONDON)


def test_what_happens_is_mailed_soon_and_outside_the_quiet_hours() -> None:
    assert goes(NOW) == NOW + GATHERED
    assert goes(local(2026, 3, 10, 19)) == local(2026, 3, 11, 7)
    assert goes(local(2026, 3, 11, 2)) == local(2026, 3, 11, 7)
    assert goes(local(2026, 3, 11, 7)) == local(2026, 3, 11, 7) + GATHERED
    assert goes(local(2026, 3, 10, 13), quiet_from="12:00", quiet_until="14:30") == local(2026, 3, 10, 14, 30)
    assert goes(local(2026, 3, 11, 2), quiet_from="00:00", quiet_until="00:00") == local(2026, 3, 11, 2) + GATHERED


def test_digests_go_in_the_morning_of_every_day_or_of_monday() -> None:
    assert goes(local(2026, 3, 10, 7, 59), rhythm="daily") == local(2026, 3, 10, 8)
    assert goes(local(2026, 3, 10, 8), rhythm="daily") == local(2026, 3, 11, 8)
    assert goes(local(2026, 3, 10, 8), rhythm="weekly") == local(2026, 3, 16, 8)
    assert goes(local(2026, 3, 16, 7), rhythm="weekly") == local(2026, 3, 16, 8)
    assert goes(local(2026, 3, 10, 12), rhythm="daily", quiet_until="09:30") == local(2026, 3, 11, 9, 30)


def test_the_clock_is_the_subscribers_own_in_summer_as_in_winter() -> None:
    before = local(2026, 3, 28, 12)  # the night after this one has an hour less
    assert goes(before, rhythm="daily").astimezone(UTC) == datetime(2026, 3, 29, 7, tzinfo=UTC)
    assert goes_at(mailbox(rhythm="daily", time_zone="Asia/Tokyo"), NOW) == datetime(2026, 3, 10, 23, tzinfo=UTC)


def test_what_has_a_date_comes_two_days_before_it_whatever_the_rhythm() -> None:
    at, by = local(2026, 3, 10, 12), local(2026, 3, 14, 12)
    assert goes(at, rhythm="weekly", due_at=by) == by - AHEAD
    assert goes(at, rhythm="weekly", due_at=local(2026, 3, 20, 12)) == local(2026, 3, 16, 8)  # the digest is in time
    assert goes(at, rhythm="weekly", due_at=local(2026, 3, 11, 12)) == at + GATHERED


def test_only_what_cannot_wait_disturbs_quiet_hours() -> None:
    at = local(2026, 3, 10, 22)
    end_of_quiet = local(2026, 3, 11, 7)
    assert goes(at, due_at=end_of_quiet + MUST_BE_LEFT) == end_of_quiet
    assert goes(at, due_at=end_of_quiet + MUST_BE_LEFT - timedelta(seconds=1)) == at + GATHERED
    assert goes(at, due_at=at - timedelta(hours=1)) == end_of_quiet  # it is past


@given(
    at=st.datetimes(datetime(2026, 1, 1), datetime(2028, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
    rhythm=st.sampled_from(["as-it-happens", "daily", "weekly"]),
    quiet=st.tuples(*[st.times().map(lambda time: f"{time:%H:%M}")] * 2),
    zone=st.sampled_from(["Europe/London", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe"]),
    ahead=st.none() | st.timedeltas(timedelta(minutes=1), timedelta(days=30)),
)
def test_no_mail_comes_too_late_or_in_quiet_hours_without_need(
    at: datetime, rhythm: str, quiet: tuple[str, str], zone: str, ahead: timedelta | None
) -> None:
    box = mailbox(rhythm=rhythm, quiet_from=quiet[0], quiet_until=quiet[1], time_zone=zone, due_at=ahead and at + ahead)
    due = goes_at(box, at)
    assert at < due <= at + timedelta(days=8, hours=2)
    now, (begin, finish) = f"{due.astimezone(ZoneInfo(zone)):%H:%M}", quiet
    is_quiet = begin <= now < finish if begin <= finish else (now >= begin or now < finish)
    if ahead is None:
        assert not is_quiet
    elif ahead > AHEAD + timedelta(days=1):
        assert due <= at + ahead - AHEAD + timedelta(days=1)
    else:
        assert due - at <= max(GATHERED, ahead - MUST_BE_LEFT)
    if ahead is not None and is_quiet:
        assert at + ahead - due < MUST_BE_LEFT + timedelta(days=1)


def test_what_happens_together_is_one_mail() -> None:
    box = mailbox(after=12)
    for number in range(5):
        box = after_telling(box, 13 + number, None, NOW + timedelta(seconds=number))
    assert box.next_attempt_at == NOW + GATHERED
    sent = comes_due(box)
    assert (sent.under_way, sent.up_to, sent.next_attempt_at) == (True, 17, None)


def test_something_that_presses_makes_a_digest_come_early_and_takes_the_rest_along() -> None:
    box = after_telling(mailbox(after=12, rhythm="weekly"), 13, None, NOW)
    assert box.next_attempt_at == local(2026, 3, 16, 8)
    box = after_telling(box, 14, NOW + timedelta(days=1), NOW)
    assert box.next_attempt_at == NOW + GATHERED
    sent, _ = after_mailing(comes_due(box), Mailed(status=250), NOW + GATHERED)
    assert (sent.after, sent.due_at, sent.next_attempt_at) == (14, None, None)


def test_a_mailbox_that_is_not_to_be_mailed_to_only_takes_note() -> None:
    for state in ({"under_way": True}, {"stopped": "refused"}, {"failures": 1, "next_attempt_at": NOW}):
        assert after_telling(mailbox(**state), 13, None, NOW) == mailbox(last=13, **state)


def test_another_rhythm_holds_for_what_waits() -> None:
    waits = after_telling(mailbox(after=12), 13, None, NOW)
    changed = made(change(waits, ChangeMailbox(rhythm="daily", quiet_from="22:00"), NOW))
    assert (changed.next_attempt_at, changed.quiet_from, changed.quiet_until) == (
        local(2026, 3, 11, 8), "22:00", "07:00",
    )  # fmt: skip
    failing = mailbox(failures=1, next_attempt_at=NOW)
    assert made(change(failing, ChangeMailbox(rhythm="daily"), NOW)).next_attempt_at == NOW
    with pytest.raises(ValidationError):
        ChangeMailbox()


# ---- what becomes of it --------------------------------------------------------------------------------------------


def test_what_came_while_a_mail_was_sent_waits_for_its_own() -> None:
    box = begun(mailbox())
    after, _ = after_mailing(after_telling(box, 13, None, NOW), Mailed(status=250), NOW)
    assert (after.after, after.up_to, after.next_attempt_at) == (12, None, NOW + GATHERED)


def test_what_does_not_fit_into_a_mail_goes_in_another_at_once() -> None:
    box = begun(mailbox(after=0, last=MOST_IN_A_MAIL + 1))
    after, _ = after_mailing(box, Mailed(status=250), NOW)
    assert (after.after, after.under_way, after.up_to) == (MOST_IN_A_MAIL, True, MOST_IN_A_MAIL + 1)


def test_a_mail_that_failed_is_tried_again_as_it_was() -> None:
    failed, said = after_mailing(begun(mailbox()), FAILED, NOW)
    assert (failed.after, failed.up_to, failed.next_attempt_at, said) == (10, 12, NOW + timedelta(seconds=2), [])
    again = comes_due(after_telling(failed, 15, None, NOW))
    assert (again.up_to, again.last, again.under_way) == (12, 15, True)


def test_a_mail_that_is_not_taken_for_three_days_is_given_up() -> None:
    box = begun(mailbox(failures=9, failing_since=NOW))
    assert after_mailing(box, FAILED, NOW + GIVE_UP_AFTER - timedelta(seconds=1))[0].stopped is None
    stopped, [said] = after_mailing(box, FAILED, NOW + GIVE_UP_AFTER)
    assert (stopped.stopped, stopped.next_attempt_at, stopped.failures) == ("given-up", None, 0)
    assert isinstance(said, MailboxStopped)


def test_who_is_not_there_is_mailed_to_no_more_until_it_is_resumed() -> None:
    stopped, [said] = after_mailing(begun(mailbox()), Mailed(trouble="so", stop="refused"), NOW)
    assert (stopped.stopped, said.model_dump()["reason"]) == ("refused", "refused")
    assert when_due(stopped, NOW + timedelta(days=9)) == (stopped, [])
    resumed = made(resume(stopped, ResumeMailbox()))
    assert (resumed.under_way, resumed.stopped, resumed.after) == (True, None, 10)


def test_a_trouble_of_the_platforms_own_is_never_given_up_for() -> None:
    box = begun(mailbox(failures=99, failing_since=NOW))
    ours = Mailed(trouble="no connection to the mail server", ours=True)
    after, said = after_mailing(box, ours, NOW + 10 * GIVE_UP_AFTER)
    assert (after.stopped, said, after.failing_since) == (None, [], NOW)
    assert after.next_attempt_at == NOW + 10 * GIVE_UP_AFTER + timedelta(hours=1)


def test_a_code_is_sent_again_only_by_registering_which_is_counted() -> None:
    moved = made(ask(mailbox(), address="ada@elsewhere.example"))  # with something that waits
    sent, _ = after_mailing(moved, Mailed(status=250), NOW)
    assert code(resume(sent, ResumeMailbox())) == "not-confirmed"
    assert code(resume(sent, ResumeMailbox(skip=True))) == "not-confirmed"
    assert made(ask(sent, address="ada@elsewhere.example")).codes == moved.codes + 1


@pytest.mark.parametrize("came", [Mailed(status=250), FAILED])
def test_an_address_that_nobody_confirms_is_forgotten_after_a_day(came: Mailed) -> None:
    box, _ = after_mailing(made(ask()), came, NOW)
    while box.next_attempt_at is not None and box.next_attempt_at < NOW + CODE_LASTS:
        box, _ = after_mailing(comes_due(box), came, box.next_attempt_at)
    ended, [said] = when_due(box, NOW + CODE_LASTS)
    assert (ended.address, ended.stopped, said.wire.name) == ("", "ended", "mailbox-ended")


def test_who_corrects_an_address_misses_nothing_and_keeps_the_link_of_earlier_mails() -> None:
    by = NOW + timedelta(days=1)
    first = made(ask(mailbox(after=3, last=7, due_at=by, token=LINK), address="typo@example.org"))
    told = after_telling(first, 8, None, NOW)
    right = made(ask(told, address="ada@elsewhere.example"))
    assert (right.after, right.due_at, right.token, right.last) == (3, by, LINK, 7)
    lost_its_code = made(ask(after_telling(made(ask()), 9, None, NOW)))
    assert lost_its_code.after == 7


def test_what_is_told_before_the_code_comes_back_is_mailed_in_time_too() -> None:
    box = after_telling(unconfirmed(rhythm="weekly"), 13, NOW + timedelta(days=1), NOW)
    assert box.next_attempt_at is None
    decided = confirm(box, ConfirmMailbox(code=CODE), 13, NOW)
    assert made(decided).next_attempt_at == NOW + GATHERED


def test_a_retry_takes_no_date_off_what_is_not_in_it() -> None:
    box, _ = after_mailing(begun(mailbox(rhythm="weekly")), FAILED, NOW)
    box = after_telling(box, 13, NOW + timedelta(days=1), NOW)
    sent, _ = after_mailing(comes_due(box), Mailed(status=250), NOW + timedelta(seconds=5))
    assert sent.next_attempt_at == NOW + timedelta(seconds=5) + GATHERED


def test_a_date_that_is_past_hides_none_that_is_to_come() -> None:
    box = after_telling(mailbox(after=12, rhythm="weekly"), 13, NOW - timedelta(hours=1), NOW)
    box = after_telling(box, 14, NOW + timedelta(days=1), NOW)
    assert box.next_attempt_at == NOW + GATHERED
    late = after_telling(mailbox(rhythm="weekly", due_at=NOW - timedelta(hours=1)), 13, NOW + timedelta(days=1), NOW)
    assert late.next_attempt_at == NOW + GATHERED


def test_of_a_time_zone_that_is_no_more_mail_still_goes() -> None:
    assert goes_at(mailbox(time_zone="Mars/Base", rhythm="daily"), NOW) == datetime(2026, 3, 11, 8, tzinfo=UTC)
    with pytest.raises(ValidationError):
        ChangeMailbox(time_zone="")


def test_who_resumes_may_leave_out_what_was_told_meanwhile() -> None:
    decided = resume(mailbox(stopped="given-up", up_to=11, last=20), ResumeMailbox(skip=True))
    assert not isinstance(decided, Refusal)
    box, said = decided
    assert (box.after, box.up_to, box.under_way, box.stopped) == (20, None, False, None)
    assert isinstance(said, MailboxResumed)


def test_what_goes_well_or_is_being_sent_is_not_resumed() -> None:
    for state in ({"after": 12}, {"next_attempt_at": NOW}):
        assert code(resume(mailbox(**state), ResumeMailbox())) == "nothing-to-resume"
    assert code(resume(mailbox(under_way=True, failing_since=NOW), ResumeMailbox())) == "under-way"


def test_what_was_kept_no_longer_is_counted() -> None:
    after, _ = after_mailing(begun(mailbox(missed=1)), Mailed(missed=2), NOW)
    assert (after.after, after.missed) == (12, 3)
