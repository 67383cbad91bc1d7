"""The public language of Concord: one file per owner. Services share nothing else about each other."""

from shared.contracts import benchmark, events, membership, notifications, platform

__all__ = ["benchmark", "events", "membership", "notifications", "platform"]
