"""Organisations as membership tells of them, and which of them a row of a survey file is."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

from pydantic import BaseModel

from services.benchmark.domain.scores import Submission
from shared.contracts.membership import OrganisationRegistered, OrganisationType, Region
from shared.refusal import Refusal


class Organisation(BaseModel, frozen=True):
    """Our own copy of what is needed of an organisation."""

    id: str
    slug: str
    name: str
    abbreviation: str | None
    type: OrganisationType
    region: Region | None


def as_told(event: OrganisationRegistered) -> Organisation:
    """The copy that an event of membership makes."""
    return Organisation(
        id=event.organisation,
        slug=event.slug,
        name=event.name,
        abbreviation=event.abbreviation,
        type=event.type,
        region=event.region,
    )


def unknown(id_: str) -> Refusal:
    """There is no such organisation."""
    return Refusal(
        code="unknown-organisation",
        sentence=f"No organisation has the id {id_}; membership's list-organisations shows them.",
        field="organisation",
    )


def plain_name(name: str) -> str:
    """A name without what is written now one way and now another: case, accents, punctuation, "and", a leading "the".

    >>> plain_name("The Foreign, Commonwealth & Development Office")
    'foreign commonwealth and development office'
    """
    letters = unicodedata.normalize("NFKD", name.casefold().replace("&", " and ").replace("'", "").replace("’", ""))
    words = re.sub(r"[^a-z0-9]+", " ", "".join(c for c in letters if not unicodedata.combining(c))).split()
    return " ".join(words[1:] if words[:1] == ["the"] else words)


def links(submissions: Iterable[Submission], organisations: Iterable[Organisation]) -> Mapping[str, str]:
    """Which organisation each unlinked row of one round is: submission id → organisation id, only where it is certain.

    Certain is the same name, borne by one organisation and one row, and an organisation that no row has yet. An
    abbreviation proves nothing (NRS is the National Records of Scotland, and the Nuclear Restoration Services too),
    and a wrong link would show one organisation's scores to another's steward.
    """
    submissions, organisations = list(submissions), list(organisations)
    taken = {submission.organisation for submission in submissions}
    bearers = Counter(plain_name(organisation.name) for organisation in organisations)
    rows = Counter(plain_name(submission.name) for submission in submissions if submission.name)
    by_name = {plain_name(o.name): o.id for o in organisations if bearers[plain_name(o.name)] == 1}
    found = {}
    for submission in submissions:
        if submission.organisation is None and submission.name:
            name = plain_name(submission.name)
            organisation = by_name.get(name)
            if organisation is not None and organisation not in taken and rows[name] == 1:
                found[submission.id] = organisation
    return found
