"""The diagrams in the documentation that are drawn from the code: ``make contracts`` writes them anew.

A diagram stands between two comments in a page, and everything between them is replaced.
"""

from pathlib import Path
from typing import Final, get_args

from services.membership.domain.proposal import TRANSITIONS
from shared.contracts.membership import Outcome, ProposalState

PAGE: Final = Path(__file__).parents[1] / "services" / "membership" / "README.md"
BEGIN: Final = "<!-- states of a proposal: written by make contracts -->"
END: Final = "<!-- end of the states of a proposal -->"


def proposal_states() -> str:
    """The states of a proposal and what leads from one to another, as a Mermaid state diagram.

    An arrow for each pair of states, with everything that takes this way: names of commands, or the deadline.
    """
    ways: dict[tuple[str, str], list[str]] = {}
    for each in TRANSITIONS:
        by = "its deadline" if each.by == "deadline" else each.by.wire.name
        ways.setdefault((each.before or "[*]", each.after), []).append(by)
    ends = [
        state for state in get_args(ProposalState) if all(after == state for before, after in ways if before == state)
    ]
    lines = [
        "stateDiagram-v2",
        *(f"    {before} --> {after}: {'<br/>'.join(by)}" for (before, after), by in ways.items()),
        *(f"    {state} --> [*]" for state in ends),
        "    note right of closed",
        f"        {', '.join(get_args(Outcome)[:-1])} or {get_args(Outcome)[-1]}",
        "    end note",
    ]
    return "\n".join(["```mermaid", *lines, "```"])


def drawn(page: str) -> str:
    """A page with its diagram as it should be. Raises ``ValueError`` where the page has no place for it."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no diagram between {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{proposal_states()}\n{END}{after}"


def stale(path: Path = PAGE) -> bool:
    """Whether ``write`` would change a page."""
    page = path.read_text(encoding="utf-8")
    return drawn(page) != page


def write(path: Path = PAGE) -> None:
    """Brings the diagram of a page up to date."""
    path.write_text(drawn(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()
