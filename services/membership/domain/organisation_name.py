"""Which organisation a text means: every candidate with a score, and which of them, if any, is certain.

A name is compared as a bag of words without what is written now one way and now another. A word that is in the name of
any organisation is taken at its word; only a word that nobody has can be a misspelling of one. So *East London* is
never a misspelt *West London*, while *Tresury* is the Treasury. Rare words weigh more than words that many names share.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import log
from typing import Final, cast

from rapidfuzz import process
from rapidfuzz.distance import OSA

from services.membership.domain.organisation import Organisation
from shared.contracts.membership import CalledBy

CERTAIN = 0.85
"""The least score of a candidate that may be certain."""
CLEAR = 0.03
"""How far a certain candidate is ahead of every other organisation."""
MOST_MISSPELT = 0.95
"""What is not the name word for word scores less than what is."""
MOST_WITH_OTHER_WORDS = 0.84
"""So much and never certain: a word too many or too few is another body as often as not (Newcastle upon Tyne is a
council, Newcastle upon Tyne Hospitals a trust)."""
LEAST_RIGHT = 1 / 3
"""The share of a name, by weight, that a misspelt text has right; else it scores as with other words. Of *Boston
Council*, in a register without Boston, only the commonest word is right, and it is no misspelt Bolton."""
EDITS: Final = ((7, 2), (4, 1))
"""Letters of a word, and how many of its letters may be wrong, missing, too many or swapped; in a shorter one none."""
MAX_CANDIDATES = 5
LETTERS_OF_INITIALS = (3, 8)

WEIGHT: Final[Mapping[CalledBy, float]] = {
    "name": 1.0,
    "other-name": 0.97,
    "former-name": 0.97,
    "abbreviation": 0.97,
    "key": 0.97,
    "predecessor": 0.94,
    "former-body": 0.94,
    "initials": 0.95,
}
"""How much it says to be called so: the name of one body outdoes the by-name of another."""
NEVER_CERTAIN: Final[frozenset[CalledBy]] = frozenset({"initials"})
"""Initials are a guess of ours, and no register says them. They stand beside an abbreviation that is just as good: NRS
is the Nuclear Restoration Services to a register and the National Records of Scotland to many."""

PASSED_OVER: Final = frozenset({"a", "and", "at", "for", "in", "of", "on", "s", "the", "to", "y", "ar"})
"""Words that are left out and put in as one likes; ``s`` is what a key makes of an apostrophe."""

SHORT_FOR: Final[Mapping[str, str]] = {
    "assoc": "association",
    "auth": "authority",
    "cttee": "committee",
    "ctte": "committee",
    "dep": "department",
    "dept": "department",
    "gov": "government",
    "govt": "government",
    "hosp": "hospital",
    "ltd": "limited",
    "min": "ministry",
    "nat": "national",
    "natl": "national",
    "org": "organisation",
    "organization": "organisation",
    "saint": "st",
    "svc": "service",
    "uni": "university",
    "univ": "university",
}
AS_ONE: Final[Mapping[str, str]] = {
    "ft": "foundation trust",
    "gb": "great britain",
    "her majestys": "hm",
    "his majestys": "hm",
    "icb": "integrated care board",
    "national health service": "nhs",
    "ni": "northern ireland",
    "uk": "united kingdom",
    # Welsh, as the bodies write themselves: kinds of body, places, and bodies whose names are no sum of these.
    "cyngor bwrdeistref sirol": "county borough council",
    "cyngor celfyddydau cymru": "arts council wales",
    "cyngor dinas a sir": "city county council",
    "dinas a sir": "city county",
    "cyngor dinas": "city council",
    "cyngor sir": "county council",
    "cyngor": "council",
    "ynys mon": "isle anglesey",
    "sir ynys mon": "isle anglesey county",
    "sir y fflint": "flintshire",
    "sir ddinbych": "denbighshire",
    "sir gaerfyrddin": "carmarthenshire",
    "sir gar": "carmarthenshire",
    "sir benfro": "pembrokeshire",
    "sir fynwy": "monmouthshire",
    "bro morgannwg": "vale glamorgan",
    "castell nedd port talbot": "neath port talbot",
    "pen y bont ar ogwr": "bridgend",
    "merthyr tudful": "merthyr tydfil",
    "abertawe": "swansea",
    "caerdydd": "cardiff",
    "caerffili": "caerphilly",
    "casnewydd": "newport",
    "wrecsam": "wrexham",
    "llywodraeth cymru": "welsh government",
    "iechyd cyhoeddus cymru": "public health wales",
    "cyfoeth naturiol cymru": "natural resources wales",
    "comisiynydd y gymraeg": "welsh language commissioner",
    "gyrfa cymru": "careers wales",
    "chwaraeon cymru": "sport wales",
    "cymru": "wales",
}
"""Phrases that are one and the same as another."""

_phrases = re.compile(rf"\b({'|'.join(sorted(AS_ONE, key=len, reverse=True))})\b")
_kind_of_council = re.compile(
    r"\b(City of|City and County of|City|County Borough|County|Metropolitan Borough|Metropolitan District|Borough|"
    r"District|London Borough of|Royal Borough of) "
)
_dots_of_initials = re.compile(r"\b(\w)\.(?=\w\b|\W|$)")
_between_words = re.compile(r"[\W_]+")
_apostrophes = str.maketrans("", "", "'’‘ʼ`´")


@dataclass(frozen=True)
class Called:
    """Something an organisation is called, and what makes it so."""

    organisation: str
    by: CalledBy
    text: str


@dataclass(frozen=True)
class Candidate:
    """An organisation that may be meant: 1 is its name word for word, 0 nothing in common. ``text`` is what fits."""

    organisation: str
    score: float
    by: CalledBy
    text: str


@lru_cache(maxsize=20_000)
def words(text: str) -> tuple[str, ...]:
    """What counts of a name, in the order it is written.

    >>> words("The Dept. for Environment, Food & Rural Affairs")
    ('department', 'environment', 'food', 'rural', 'affair')
    """
    plain = _plain(text)
    found = [_singular(SHORT_FOR.get(word, word)) for word in plain if word not in PASSED_OVER]
    return tuple(found or plain)


def _plain(text: str) -> list[str]:
    letters = unicodedata.normalize("NFKD", text.casefold().replace("&", " and ").translate(_apostrophes))
    shown = "".join(c for c in letters if not unicodedata.combining(c) and unicodedata.category(c) != "Cf")
    spaced = " ".join(_between_words.sub(" ", _dots_of_initials.sub(r"\1", shown)).split())
    return _phrases.sub(lambda found: AS_ONE[found[0]], spaced).split()


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


@lru_cache(maxsize=20_000)
def initials(name: str) -> frozenset[str]:
    """What the first letters of a name spell, with and without its little words."""
    plain = _plain(name)
    spelt = {"".join(word[0] for word in plain), "".join(word[0] for word in plain if word not in PASSED_OVER)}
    least, most = LETTERS_OF_INITIALS
    return frozenset(each for each in spelt if least <= len(each) <= most)


class Names:
    """Everything that organisations are called, ready to be asked."""

    def __init__(self, called: Iterable[Called]) -> None:
        self._called = [each for each in called if words(each.text)]
        self._bags = [Counter(words(each.text)) for each in self._called]
        self._of_word: dict[str, list[int]] = defaultdict(list)
        self._joined: dict[str, list[int]] = defaultdict(list)
        self._initials: dict[str, list[int]] = defaultdict(list)
        bearers: dict[str, set[str]] = defaultdict(set)
        for number, (each, bag) in enumerate(zip(self._called, self._bags, strict=True)):
            self._joined["".join(words(each.text))].append(number)
            for word in bag:
                self._of_word[word].append(number)
                bearers[word].add(each.organisation)
            if each.by == "name":
                for spelt in initials(each.text):
                    self._initials[spelt].append(number)
        everybody = len({each.organisation for each in self._called}) + 1
        self._weight = {word: log(everybody / len(bearing)) for word, bearing in bearers.items()}
        self._weight_of_unknown = log(everybody)

    @cached_property
    def _vocabulary(self) -> list[str]:
        return list(self._of_word)

    def candidates(self, text: str) -> list[Candidate]:
        """Every organisation with anything in common, the likeliest first; ties by the id of the organisation."""
        asked = words(text)
        meanings = [self._meanings(word) for word in asked]
        numbers = {number for options in meanings for word in options for number in self._of_word[word]}
        best: dict[str, Candidate] = {}
        for number in numbers:
            self._keep(best, number, self._alike(asked, meanings, number))
        for number in self._joined.get("".join(asked), ()):
            self._keep(best, number, 1.0)
        if len(asked) == 1:
            for number in self._initials.get("".join(_plain(text)), ()):
                self._keep(best, number, 1.0, "initials")
        return sorted(best.values(), key=lambda candidate: (-candidate.score, candidate.organisation))

    def _keep(self, best: dict[str, Candidate], number: int, alike: float, by: CalledBy | None = None) -> None:
        called = self._called[number]
        score = round(alike * WEIGHT[by or called.by], 3)
        known = best.get(called.organisation)
        if score > 0 and (known is None or score > known.score):
            best[called.organisation] = Candidate(called.organisation, score, by or called.by, called.text)

    def _meanings(self, word: str) -> Mapping[str, float]:
        """The words of the register that a word may stand for, with how alike they are."""
        if word in self._of_word:
            return {word: 1.0}
        near = process.extract(word, self._vocabulary, scorer=OSA.distance, score_cutoff=_edits(word), limit=20)
        return {found: 1 - distance / (2 * len(word)) for found, distance, _ in near}

    def _alike(self, asked: Sequence[str], meanings: Sequence[Mapping[str, float]], number: int) -> float:
        """The weight of the words in common as a share of all words, from 0 to 1."""
        left = self._bags[number].copy()
        common = of_asked = right = 0.0
        others = 0
        for word, options in zip(asked, meanings, strict=True):
            near = max((each for each in options if left[each]), key=options.__getitem__, default=None)
            if near is None:
                others += 1
                of_asked += self._weight.get(word, self._weight_of_unknown)
                continue
            right += self._weight[near] if near == word else 0
            left[near] -= 1
            common += self._weight[near] * options[near]
            of_asked += self._weight[near]
        others += left.total()
        of_name = sum(self._weight[word] * count for word, count in self._bags[number].items())
        if right == common and not others:
            return 1.0
        most = MOST_WITH_OTHER_WORDS if others or right < of_name * LEAST_RIGHT else MOST_MISSPELT
        return min(2 * common / (of_asked + of_name), most)


def _edits(word: str) -> int:
    return next((edits for letters, edits in EDITS if len(word) >= letters), 0)


def certain(candidates: Sequence[Candidate], known: Mapping[str, Organisation]) -> Candidate | None:
    """The one that is meant, where there is no doubt: it scores enough, no other comes close, and it is not closed."""
    if not candidates:
        return None
    first, *others = candidates
    if first.score < CERTAIN or first.by in NEVER_CERTAIN or known[first.organisation].closed_at is not None:
        return None
    if others and round(first.score - others[0].score, 3) < CLEAR:
        return None
    return first


def called(organisations: Collection[Organisation]) -> tuple[Called, ...]:
    """Everything that organisations are called. What a closed one was called speaks for its only successor."""
    by_id = {organisation.id: organisation for organisation in organisations}
    return tuple(
        Called(heir, by if heir == organisation.id else "predecessor", text)
        for organisation in organisations
        for heir in [_heir(organisation, by_id)]
        for by, text in _names(organisation)
    )


def _heir(organisation: Organisation, by_id: Mapping[str, Organisation]) -> str:
    while organisation.closed_at and len(organisation.successors) == 1 and organisation.successors[0] in by_id:
        organisation = by_id[organisation.successors[0]]
    return organisation.id


def _names(organisation: Organisation) -> Iterator[tuple[CalledBy, str]]:
    yield "name", organisation.name
    yield "key", organisation.key
    if organisation.abbreviation:
        yield "abbreviation", organisation.abbreviation
        yield "name", f"{organisation.name} ({organisation.abbreviation})"
    if organisation.type == "council" and (short := _kind_of_council.sub("", organisation.name)) != organisation.name:
        yield "other-name", short
    for by, texts in (
        ("other-name", organisation.other_names),
        ("former-name", organisation.former_names),
        ("former-body", organisation.supersedes),
    ):
        for text in texts:
            yield cast("CalledBy", by), text


def in_words(candidates: Sequence[Candidate], known: Mapping[str, Organisation]) -> str:
    """Which organisation is meant, or why that is not certain."""
    if not candidates:
        return "No organisation is called anything like this."
    first = candidates[0]
    name = known[first.organisation].name
    if known[first.organisation].closed_at is not None:
        after = [known[id_].name for id_ in known[first.organisation].successors if id_ in known]
        then = f"after it came {', '.join(after)}" if after else "nobody is known to have come after it"
        return f"None is certain: the likeliest is {name}, which is closed; {then}."
    if certain(candidates, known):
        return f"Certain: {name}."
    if first.by in NEVER_CERTAIN:
        return f"None is certain: the likeliest is {name}, but only its initials say so."
    if first.score < CERTAIN:
        return f"None is certain: the likeliest is {name} with {first.score:g}, and {CERTAIN:g} is needed."
    return f"None is certain: {name} and {known[candidates[1].organisation].name} are too close to one another."
