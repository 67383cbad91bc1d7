"""Whose turn it is to host: London seldom, nobody twice before the others.

A rule of rotation says how many meetings must lie between two that are alike, so each is a *gap*: the least distance
in the row of all meetings, past ones included. London at most once in any three meetings is a gap of three, which also
keeps it from coming twice running.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from shared.contracts.events import Rule
from shared.contracts.membership import Region

LONDON: Region = "London"
LONDON_ONE_IN = 3
ROTATION: tuple[Rule, ...] = ("london", "host-turn", "region-turn")


class Stop(NamedTuple):
    """What counts of a meeting's place: who hosts it and in which region."""

    host: str
    region: Region


class Turns(NamedTuple):
    """How many meetings each host and region sits out after its turn, and the gap between meetings in London."""

    hosts: Mapping[str, int]
    regions: Mapping[Region, int]
    london: int = LONDON_ONE_IN


def turns(candidates: Iterable[Stop], host_window: int, region_window: int) -> Turns:
    """The rules for these candidates: a window, or fewer meetings where fewer others could have a turn.

    Nobody waits for London: it has a cap, not a turn that is owed to it.
    """
    candidates = set(candidates)
    elsewhere = [stop for stop in candidates if stop.region != LONDON]
    hosts, regions = {stop.host for stop in elsewhere}, {stop.region for stop in elsewhere}
    return Turns(
        {stop.host: min(host_window, len(hosts - {stop.host})) for stop in candidates},
        {stop.region: min(region_window, len(regions - {stop.region})) for stop in candidates},
    )


def without(rule: Rule, rules: Turns) -> Turns:
    """The same rules with one of them given up."""
    if rule == "london":
        return rules._replace(london=0)
    if rule == "host-turn":
        return rules._replace(hosts={})
    return rules._replace(regions={})


def gaps(one: Stop, other: Stop, rules: Turns) -> dict[Rule, int]:
    """How far apart two meetings at these stops must lie, rule by rule; neighbours are one apart."""
    apart: dict[Rule, int] = {}
    if one.region == other.region == LONDON:
        apart["london"] = rules.london
    if one.host == other.host:
        apart["host-turn"] = rules.hosts.get(one.host, 0) + 1
    if one.region == other.region:
        apart["region-turn"] = rules.regions.get(one.region, 0) + 1
    return apart


def gap(one: Stop, other: Stop, rules: Turns) -> int:
    """How far apart two meetings at these stops must lie by all rules together."""
    return max(gaps(one, other, rules).values(), default=0)


def broken(row: Sequence[Stop], position: int, rules: Turns) -> tuple[Rule, ...]:
    """The rules that the meeting at ``position`` breaks with any other meeting of the row."""
    against = {
        rule
        for place, other in enumerate(row)
        if place != position
        for rule, apart in gaps(row[position], other, rules).items()
        if abs(place - position) < apart
    }
    return tuple(rule for rule in ROTATION if rule in against)
