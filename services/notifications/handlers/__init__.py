"""What notifications hears: it keeps what it needs of the other services, and tells whoever is interested."""

from services.notifications.handlers import delivery_log, mail, subscriptions, telling, webhooks
from services.notifications.handlers.surface import on

__all__ = ["delivery_log", "mail", "on", "subscriptions", "telling", "webhooks"]
