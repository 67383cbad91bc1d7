"""Every list of membership comes in pages of one order: glued together they are the whole, also while it grows."""

from collections.abc import Iterator
from typing import Any

import pytest

from shared import clock
from shared.contracts.membership import ListComments, ListContributions, ListSignatures
from shared.contracts.message import Query, contracts
from tests.stores.random_story import RandomStory
from tests.stores.test_membership import Service, service

__all__ = ["service"]  # a fixture

LISTS: list[Any] = [each for each in contracts("query", "membership") if each.wire.name.startswith("list-")]
IN_ANOTHER_ORDER = {"list-comments": "network", "list-signatures": "organisation", "list-organisations": "key",
                    "list-steering-groups": "network", "list-publisher-links": "publisher"}  # fmt: skip
"""What the rows of a list are known and ordered by, where that is not their id."""
ROUNDS = 9
MORE_ROUNDS = 20
"""A story that has not filled two pages of each list by then never will."""


def questions(story: RandomStory) -> Iterator[Query[Any]]:
    """Every list, of everything that it can list."""
    for contract in LISTS:
        if contract in (ListComments, ListSignatures):
            for statement in story.ids["statement"]:
                yield contract(statement=statement)
        elif contract is ListContributions:
            for proposal in story.ids["proposal"]:
                yield contract(proposal=proposal)
        else:
            yield contract()


def rows(page: Any) -> tuple[Any, ...]:
    """The rows of a page, which are its one field that is neither their number nor where to go on."""
    [name] = set(type(page).model_fields) - {"total", "next"}
    found: tuple[Any, ...] = getattr(page, name)
    return found


def known_by(query: Query[Any], page: Any) -> list[str]:
    field = IN_ANOTHER_ORDER.get(query.wire.name, "id")
    return [getattr(row, field) for row in rows(page)]


def too_short(service: Service, story: RandomStory) -> set[Any]:
    """The lists of which there is no second page, with one row on each."""
    long = {type(query) for query in questions(story) if len(rows(service.ask(query))) > 1}
    return set(LISTS) - long


def test_every_list_has_pages() -> None:
    assert len(LISTS) >= 10
    for contract in LISTS:
        assert {"limit", "after"} <= set(contract.model_fields), contract
        assert {"total", "next"} <= set(contract.result().model_fields), contract


@pytest.mark.parametrize("size", [1, 3])
def test_pages_glued_together_are_the_whole_also_while_rows_are_added_and_as_of_before(
    service: Service, size: int
) -> None:
    story = RandomStory(service, seed=size)
    story.tell(ROUNDS)
    for _ in range(MORE_ROUNDS):
        if not (lacking := too_short(service, story)):
            break
        story.tell(1)
    assert not lacking
    for query in questions(story):
        moment = clock.now()
        whole = service.ask(query.model_copy(update={"limit": 100}))
        there = known_by(query, whole)
        assert whole.next is None
        assert (len(there), sorted(there)) == (whole.total, there), query
        glued: list[str] = []
        then: list[Any] = []
        page = service.ask(query.model_copy(update={"limit": size}))
        while True:
            assert len(rows(page)) <= size
            glued += known_by(query, page)
            if page.next is None:
                break
            if len(glued) < 6 * size:
                story.go_on()
            page = service.ask(query.model_copy(update={"limit": size, "after": page.next}))
        assert glued == sorted(set(glued)), query  # nothing twice, and in order
        gone = set(there) - set(known_by(query, service.ask(query.model_copy(update={"limit": 100}))))
        assert set(there) - gone <= set(glued), query  # nothing missed that was there all the time
        if "as_of" in type(query).model_fields:
            page = None
            while page is None or page.next is not None:
                after: str | None = page.next if page else None
                page = service.ask(query.model_copy(update={"limit": size, "after": after, "as_of": moment}))
                then += known_by(query, page)
            assert then == there
