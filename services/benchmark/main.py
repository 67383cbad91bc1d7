"""Runs benchmark: what it hears, whose events it follows."""

from services.benchmark.handlers import on
from shared.service import Service, run

SERVICE = Service(on, follows=("membership",))

if __name__ == "__main__":
    run(SERVICE)
