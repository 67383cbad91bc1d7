"""Events as a process: what it hears, and whose events it follows."""

from services.events.handlers import on
from shared.service import Service, run

SERVICE = Service(on, follows=("membership",))

if __name__ == "__main__":
    run(SERVICE)
