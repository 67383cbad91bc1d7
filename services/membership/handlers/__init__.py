"""What membership hears, and what it does about it: load, decide, save. One module for each rule area."""

from services.membership.handlers import (
    concerns,
    deputies,
    discussions,
    leavers,
    networks,
    organisation_changes,
    organisations,
    partners,
    peer_support,
    proposals,
    starter_paths,
    statements,
    steering_groups,
)
from services.membership.handlers.surface import on

__all__ = [
    "concerns",
    "deputies",
    "discussions",
    "leavers",
    "networks",
    "on",
    "organisation_changes",
    "organisations",
    "partners",
    "peer_support",
    "proposals",
    "starter_paths",
    "statements",
    "steering_groups",
]
