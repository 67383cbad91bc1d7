"""Notifications as a process: what it hears, whose events it follows, and the pages it serves."""

from services.notifications import store
from services.notifications.handlers import on
from shared.service import Service, run

SERVICE = Service(
    on,
    follows=("membership", "events", "benchmark"),
    deliveries_waiting=store.deliveries_waiting,
    forget=store.forget_old_announcements,
    pages="services.notifications.pages:serve",
)

if __name__ == "__main__":
    run(SERVICE)
