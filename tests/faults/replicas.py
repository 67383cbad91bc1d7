"""Several processes of one service on one store."""

from tests.faults.disturbance import Disturbance

DISTURBANCES: tuple[Disturbance, ...] = ()
