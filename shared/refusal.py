"""A refusal: a rule said no. It is a value that travels back to whoever asked, never an exception."""

from typing import Any

from pydantic import BaseModel, Field


class Refusal(BaseModel, frozen=True):
    """Why something was not done, in words for a person and in data for a program.

    ``code`` is kebab-case, stable and names the rule (``six-fte-exceeded``). ``sentence`` says what was asked, which
    rule said no and what would be allowed. ``field`` is the dotted path of the offending field (``seats.0.fte``) where
    there is one. ``data`` carries the figures of the sentence; for several problems at once (a form, a file) it holds
    ``problems``, a list of refusals as plain data.
    """

    code: str = Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")
    sentence: str
    field: str | None = None
    data: dict[str, Any] = Field(default_factory=dict)
