"""What membership hears, and what it does about it: load, decide, save. One module for each rule area."""

from services.membership.handlers import concerns, networks, organisations, proposals, steering_groups
from services.membership.handlers.surface import on

__all__ = ["concerns", "networks", "on", "organisations", "proposals", "steering_groups"]
