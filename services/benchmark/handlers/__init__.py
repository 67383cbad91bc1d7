"""What benchmark hears and does: load, decide, save. What a figure may show is decided in ``domain/disclosure.py``."""

from services.benchmark.handlers import linking, questions, rounds, stewards
from services.benchmark.handlers.surface import on

__all__ = ["linking", "on", "questions", "rounds", "stewards"]
