"""The page of an organisation's standing: what it says, to whom, and that it can be read without colour."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from deploy.pages.standing import WIDTH, render
from services.benchmark.domain import standing as rules
from services.benchmark.domain.disclosure import REASONS, Figure
from shared.contracts.benchmark import Measure, OwnScore, Standing, WithheldCode

ID = "00000000-0000-7000-8000-000000000001"
STRESS = Measure(code="HSE_index", wording="Proxy Stress Index", unit="index", decimals=3)
ALL = Figure(
    measure="HSE_index",
    by="all",
    group=None,
    organisations=103,
    median=26.616,
    lower_quartile=24.5,
    upper_quartile=28.4,
)
PEERS = Figure(
    measure="HSE_index",
    by="type",
    group="council",
    withheld="fewer-than-five-organisations",
    quartiles_withheld="fewer-than-five-organisations",
)


def own(shown: float | WithheldCode = 30.7, everyone: Figure = ALL, measure: Measure = STRESS) -> OwnScore:
    return rules.own(measure, shown, {("HSE_index", "all"): everyone, ("HSE_index", "type"): PEERS})


def page(*scores: OwnScore, **fields: Any) -> str:
    known: dict[str, Any] = {
        "round": ID,
        "instrument_name": "people-survey",
        "label": "2023",
        "source": "Cabinet Office",
        "released_at": datetime(2026, 3, 2, tzinfo=UTC),
        "organisation": ID,
        "name": "Acas",
        "type": "council",
        "region": None,
        "scores": scores or (own(),),
    }
    return render(Standing(**known | fields))


def marks(html: str) -> list[tuple[str, str]]:
    """Box, median and own score of the strips, by their place along the scale."""
    strips = html.split("<tbody>")[1]
    found = re.findall(r'<(rect) x="([\d.]+)"|<(line) x1="([\d.]+)" y1="2"|<(path) d="M ([\d.]+)', strips)
    return [tuple(part for part in match if part) for match in found]  # type: ignore[misc]


def test_it_says_the_own_score_and_where_it_lies_in_words() -> None:
    html = page()
    assert "Acas" in html
    assert "released on 2 March 2026" in html
    assert "Median 26.6 of 103 organisations, quartiles 24.5 and 28.4; you are above the upper quartile." in html


def test_it_draws_box_median_and_own_score_along_the_scale() -> None:
    # from 10 to 50, the tenths of the range around everything shown
    along = [round((value - 10) / 40 * WIDTH, 1) for value in (24.5, 26.616, 30.7)]
    assert marks(page()) == [("rect", str(along[0])), ("line", str(along[1])), ("path", str(along[2]))]


def test_each_mark_has_a_shape_of_its_own_and_each_strip_its_words_so_that_colour_is_not_needed() -> None:
    html = page()
    assert {shape for shape, _ in marks(html)} == {"rect", "line", "path"}
    assert html.count("<svg") == html.count('role="img" aria-label="')


@pytest.mark.parametrize("reason", ["no-score", "gives-back-a-withheld-answer", "fewer-than-ten-answers"])
def test_a_withheld_score_has_its_reason_in_words_and_no_mark(reason: WithheldCode) -> None:
    html = page(own(reason))
    assert REASONS[reason] in html
    assert "path" not in dict(marks(html))
    assert "<strong>1</strong> withheld" in html


def test_a_withheld_group_has_its_reason_in_words_and_no_strip() -> None:
    html = page()
    assert f"Withheld. {REASONS['fewer-than-five-organisations']}" in html
    assert html.split("<tbody>")[1].count("<svg") == 1


def test_withheld_quartiles_have_their_reason_and_no_box() -> None:
    small = ALL.model_copy(
        update={
            "organisations": 9,
            "lower_quartile": None,
            "upper_quartile": None,
            "quartiles_withheld": "fewer-than-twenty-organisations",
        }
    )
    html = page(own(everyone=small))
    assert REASONS["fewer-than-twenty-organisations"] in html
    assert [shape for shape, _ in marks(html)] == ["line", "path"]


def test_two_numbers_that_one_decimal_would_make_alike_are_told_apart() -> None:
    assert "Median 26.616" in page(own(26.62))
    assert ">26.620<" in page(own(26.62))


def test_a_measure_without_a_highest_score_is_drawn_as_far_as_its_figures_go() -> None:
    rate = STRESS.model_copy(update={"highest": None})
    assert ">120<" in page(own(103.398, measure=rate))


def test_it_stands_alone_and_text_from_outside_stays_text() -> None:
    html = page(name="<script>alert(1)</script>")
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert not re.search(r"(src|href|url)\s*[=(]", html)
