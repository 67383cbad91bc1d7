"""How long it is remembered who was told what."""

from datetime import UTC, datetime, timedelta

from services.notifications.domain.delivery_log import LOG_KEPT, forgotten_at


def test_a_whole_day_is_forgotten_at_once_and_nothing_before_its_time() -> None:
    early, late = datetime(2026, 3, 9, 0, 0, tzinfo=UTC), datetime(2026, 3, 9, 23, 59, 59, tzinfo=UTC)
    assert forgotten_at(early) == forgotten_at(late)
    assert forgotten_at(late) - late == LOG_KEPT + timedelta(seconds=1)


def test_what_was_told_a_year_ago_can_still_be_looked_up() -> None:
    assert timedelta(days=366) < LOG_KEPT
