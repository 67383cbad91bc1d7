"""Notifications as a process: what it hears, and whose events it follows."""

from services.notifications import store
from services.notifications.handlers import on
from shared.service import Service, run

SERVICE = Service(
    on,
    follows=("membership", "events", "benchmark"),
    deliveries_waiting=store.deliveries_waiting,
    forget=store.forget_old_announcements,
)

if __name__ == "__main__":
    run(SERVICE)
