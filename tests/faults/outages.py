"""NATS and services that go away and come back: killed, rolled back, robbed of a stream, stopped, out of time."""

from tests.faults.disturbance import Disturbance

DISTURBANCES: tuple[Disturbance, ...] = ()
