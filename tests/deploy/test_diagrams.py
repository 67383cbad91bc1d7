"""The diagrams of the documentation are those of the code."""

from pathlib import Path

import pytest

from deploy import diagrams
from services.membership.domain.proposal import TRANSITIONS


def test_the_diagram_in_the_readme_is_drawn_from_the_rules_as_they_are() -> None:
    assert not diagrams.stale(), "the diagram of a proposal is stale: run `make contracts`"


def test_the_diagram_holds_every_transition_and_no_other() -> None:
    drawn = set()
    for line in diagrams.proposal_states().splitlines():
        states, _, by = line.strip().partition(": ")
        before, arrow, after = states.partition(" --> ")
        if arrow and after != "[*]":
            drawn |= {(before, each, after) for each in by.split("<br/>")}
    assert drawn == {
        (each.before or "[*]", "its deadline" if each.by == "deadline" else each.by.wire.name, each.after)
        for each in TRANSITIONS
    }


def test_a_diagram_that_was_changed_by_hand_is_stale_and_is_drawn_anew_and_nothing_else_is(tmp_path: Path) -> None:
    page, wanted = tmp_path / "README.md", diagrams.PAGE.read_text(encoding="utf-8")
    page.write_text(wanted.replace("open --> closed: close-proposal", "open --> closed: majority"), encoding="utf-8")
    assert diagrams.stale(page)
    diagrams.write(page)
    assert page.read_text(encoding="utf-8") == wanted


@pytest.mark.parametrize("text", ["A page.", diagrams.BEGIN, f"{diagrams.END} {diagrams.BEGIN}"])
def test_a_page_without_a_place_for_the_diagram_is_named_as_such(text: str) -> None:
    with pytest.raises(ValueError, match="no diagram between"):
        diagrams.drawn(text)
