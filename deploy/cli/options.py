"""Options that many commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

COMMON = "Common options"

ServiceName = Literal["membership", "events", "benchmark", "notifications"]
RoleName = Literal[
    "operator", "member", "publisher", "subscriber", "membership", "events", "benchmark", "notifications"
]

AsJson = Annotated[
    bool, typer.Option("--json", rich_help_panel=COMMON, help="Write one JSON document instead of text.")
]
Data = Annotated[
    Path,
    typer.Option(
        "--data",
        rich_help_panel=COMMON,
        envvar="CONCORD_DATA",
        metavar="DIR",
        file_okay=False,
        help="The directory of the local stack that is meant.",
    ),
]
As = Annotated[
    str,
    typer.Option(
        "--as",
        rich_help_panel=COMMON,
        envvar="CONCORD_AS",
        metavar="NAME",
        help="Whose credentials to use (DIR/creds/NAME.creds).",
    ),
]
Patience = Annotated[
    float,
    typer.Option(
        "--timeout", rich_help_panel=COMMON, min=0.1, metavar="SECONDS", help="How long to wait for the answer."
    ),
]

DATA = Path(".concord")
AS = "operator"
PATIENCE = 30.0
