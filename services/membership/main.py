"""Membership as a process. It follows nobody: what it decides on, it owns."""

from services.membership.handlers import on
from shared.service import Service, run

SERVICE = Service(on)

if __name__ == "__main__":
    run(SERVICE)
