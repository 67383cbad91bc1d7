"""The certificate as a page: everything in it in words, nothing by colour alone, nothing injected."""

from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from deploy.pages import certificate as page
from services.events import planning
from shared.contracts.events import PlanView


class Reader(HTMLParser):
    """Reads a page as a person does: its words, and whether every element is closed in turn."""

    VOID = frozenset({"meta", "rect", "line", "col", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def plan(country: Any) -> PlanView:
    towns = ["Newcastle", "Bristol", "Birmingham", "Leeds", "York", "Cardiff", "London"]
    members = [
        country.member("north", "Newcastle", burden=120),
        country.member("south", "Bristol"),
        country.member("lost"),
    ]
    halls = [*(country.venue(town) for town in towns), country.venue("Manchester", capacity=3)]
    worked = planning.run({"inputs": country.inputs(members, halls).model_dump(mode="json")})
    names = {country.hall(town): f"{town} Hall" for town in [*towns, "Manchester"]}
    names |= {country.id(name): f"{name} <b>Network</b>" for name in ("north", "south", "lost")}
    return PlanView(
        id=country.id("plan"),
        umbrella=country.id("umbrella"),
        state="planned",
        asked_at=datetime(2026, 11, 23, tzinfo=UTC),
        code=None,
        sentence=None,
        conflicting=(),
        names=names | {country.id("umbrella"): "Wellbeing Networks"},
        **worked["planned"],
    )


def test_the_page_says_where_when_and_why(plan: PlanView) -> None:
    text = Reader(page.render(plan)).text
    for meeting in plan.meetings:
        assert plan.names[meeting.venue] in text
        assert f"{meeting.date.day} {meeting.date:%B %Y}" in text
    assert "Proven" in text
    assert plan.certificate
    assert plan.certificate.digest in text
    assert "lost <b>Network</b>" in text  # as text: a name is never read as markup


def test_every_figure_of_every_network_is_in_words(plan: PlanView) -> None:
    text = Reader(page.render(plan)).text
    assert plan.certificate
    for burden in plan.certificate.burdens:
        row = f"{burden.before} {' '.join(map(str, burden.minutes))} {burden.after}"
        assert row in text
    assert "(estimate)" in text


def test_every_venue_that_was_not_taken_has_its_reason(plan: PlanView) -> None:
    text = Reader(page.render(plan)).text
    assert "Manchester Hall no too small for the seats asked for" in text
    assert "instead of" in text


def test_the_page_stands_alone_and_its_drawings_have_words(plan: PlanView) -> None:
    reader = Reader(page.render(plan))
    assert reader.open == []
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in reader.seen}
    drawings = [attributes for tag, attributes in reader.seen if tag == "svg"]
    assert drawings
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in drawings)
    assert ("html", {"lang": "en-GB"}) in reader.seen


def test_a_plan_that_was_not_proven_says_so(plan: PlanView) -> None:
    assert plan.certificate
    stopped = plan.certificate.model_copy(update={"proof": "bounded", "bound": 17})
    text = Reader(page.render(plan.model_copy(update={"certificate": stopped}))).text
    assert "Not proven" in text
    assert "less than 17" in text


def test_a_plan_without_a_certificate_has_no_page(plan: PlanView) -> None:
    failed = plan.model_copy(update={"certificate": None, "state": "failed", "sentence": "No venue fits."})
    with pytest.raises(ValueError, match=r"No venue fits\."):
        page.render(failed)
