"""Organisations as membership tells of them, and which of them a row of a survey file is."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel

from services.benchmark.domain.disclosure import Place
from services.benchmark.domain.scores import Submission
from shared.contracts.membership import OrganisationRegistered, OrganisationType, Region
from shared.refusal import Refusal


class Organisation(BaseModel, frozen=True):
    """Our own copy of what is needed of an organisation. ``first_name`` is what it was registered as.

    ``plain_name`` is there to look it up by, and was made of ``plain_name_of``: if that is not its name, a version that
    keeps no plain names has written it since.
    """

    id: str
    slug: str
    name: str
    first_name: str
    plain_name: str | None = None
    plain_name_of: str | None = None
    abbreviation: str | None
    type: OrganisationType
    region: Region | None


class Row(BaseModel, frozen=True):
    """Who a submission is from, without its scores."""

    id: str
    respondent: str
    name: str | None
    organisation: str | None


def as_told(event: OrganisationRegistered, before: Organisation | None) -> Organisation:
    """The copy that an event of membership makes."""
    return Organisation(
        id=event.organisation,
        slug=event.slug,
        name=event.name,
        # Also where the first word of it that comes through is of a later change.
        first_name=before.first_name if before else (*event.former_names, event.name)[0],
        plain_name=plain_name(event.name),
        plain_name_of=event.name,
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


def links(rows: Sequence[Row], organisations: Sequence[Organisation]) -> Mapping[str, str]:
    """Which organisation each unlinked row of one round is: id of the row → organisation id, only where it is certain.

    ``organisations``: at least all whose plain name is that of a row.

    Certain is the same name, borne by one organisation and one row, and an organisation that no row has yet. It must
    be the name the organisation was registered with: whoever lists an organisation may rename it later, and would
    else take the row, and the scores, of any body whose name it gives itself. An abbreviation
    proves nothing (NRS is the National Records of Scotland, and the Nuclear Restoration Services too), and a wrong
    link would show one organisation's scores to another's steward.
    """
    taken = {row.organisation for row in rows}
    bearers = Counter(plain_name(organisation.name) for organisation in organisations)
    named = Counter(plain_name(row.name) for row in rows if row.name)
    by_name = {
        plain_name(organisation.name): organisation.id
        for organisation in organisations
        if plain_name(organisation.name) == plain_name(organisation.first_name)
    }
    found = {}
    for row in rows:
        name = plain_name(row.name or "")
        bearer = by_name.get(name) if name else None  # of a name in another script nothing is left to compare
        if row.organisation is None and bearer and bearers[name] == named[name] == 1 and bearer not in taken:
            found[row.id] = bearer
    return found


def linked(submissions: Iterable[Submission], found: Mapping[str, str]) -> list[Submission]:
    """The submissions, those in ``found`` now known to be an organisation."""
    return [
        submission.model_copy(update={"organisation": found[submission.id]}) if submission.id in found else submission
        for submission in submissions
    ]


def places(submissions: Iterable[Submission], organisations: Iterable[Organisation]) -> dict[str, Place]:
    """The peer groups of each respondent as they are known now."""
    known = {one.id: Place(type=one.type, region=one.region) for one in organisations}
    return {submission.respondent: known.get(submission.organisation or "", Place()) for submission in submissions}
