"""Messages that come several times, out of order, or broken."""

from tests.faults.disturbance import Disturbance

DISTURBANCES: tuple[Disturbance, ...] = ()
