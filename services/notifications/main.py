"""Notifications as a process: what it hears, and whose events it follows."""

from services.notifications.handlers import on
from services.notifications.store import forget_old_announcements
from shared.service import Service, run

SERVICE = Service(on, follows=("membership", "events", "benchmark"), forget=forget_old_announcements)

if __name__ == "__main__":
    run(SERVICE)
