"""Stores that are locked, full or away."""

from tests.faults.disturbance import Disturbance

DISTURBANCES: tuple[Disturbance, ...] = ()
