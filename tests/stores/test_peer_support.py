"""Peer support on a store: what becomes of a request, and who can find out that there is one."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, get_args

import pytest
from sqlalchemy import Engine, MetaData, insert, select, update
from sqlalchemy.exc import IntegrityError

from services.membership import tables
from services.membership.domain.peer_support import ANSWER_WITHIN, MAX_REQUESTS
from services.membership.handlers import on
from shared import clock
from shared.contracts.membership import (
    AcceptPeer,
    ApplyForMembership,
    AppointRepresentative,
    AskForHelp,
    ConfirmNetworkHome,
    DeclinePeer,
    EndOffer,
    MyPeerSupport,
    OfferExperience,
    PeerTopic,
    RecordWhetherItHelped,
    ShowMyPeerSupport,
    ShowNetwork,
    ShowPeerSupportFigures,
    StandDownRepresentative,
    WithdrawHelpRequest,
)
from shared.database import reading, writing
from shared.timers import TIMERS
from shared.unit_of_work import Reader
from tests.conftest import StoreOf
from tests.stores.test_membership import Service, new_id

ASKER = "asker-in-confidence"
WORDS = "My whole team is in tears."


class Peers(Service):
    """Membership with an umbrella whose members leeds, york and hull are of different organisations."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        umbrella = self.umbrella(open=True)
        self.networks = self.members_of_their_own(umbrella, "leeds", "york", "hull")

    def members_of_their_own(self, umbrella: str, *names: str) -> dict[str, str]:
        networks = {name: self.network(name, self.organisation(f"{name}-council", "council")) for name in names}
        for name, network in networks.items():
            self.do(ConfirmNetworkHome(network=network))
            self.do(ApplyForMembership(umbrella=umbrella, network=network), name)
        return networks

    def mine(self, principal: str) -> MyPeerSupport:
        self.run()  # what is due by itself: matching, and asking mentors
        with reading(self.engine) as connection:
            answer = on.queries[ShowMyPeerSupport.wire.name].run(
                ShowMyPeerSupport(), Reader(connection, clock.now(), principal)
            )
        assert isinstance(answer, MyPeerSupport)
        return answer

    def offer(self, name: str, **changes: Any) -> str:
        fields = {"network": self.networks[name], "topics": ("funding",), "size": "50-to-249"}
        return self.do(OfferExperience.model_validate(fields | changes), name)

    def ask_for_help(self, name: str = "leeds", by: str = ASKER) -> str:
        """Somebody of a network, not known as anything else, asks for help."""
        appointed = AppointRepresentative(network=self.networks[name], person=new_id(), principal=by)
        self.do(appointed, f"{name}-steward")
        command = AskForHelp(network=self.networks[name], topic="funding", size="50-to-249", words=WORDS)
        return self.do(command, by)

    def answer(self, by: str) -> dict[str, str]:
        """What somebody answers to, as it is shown to them: the request asked of them, or else their own."""
        mine = self.mine(by)
        [shown] = mine.asked_of_me or mine.requests
        assert shown.offer
        return {"request": shown.id, "offer": shown.offer}

    def accept(self, by: str) -> None:
        self.do(AcceptPeer.model_validate(self.answer(by)), by)

    def decline(self, by: str) -> None:
        self.do(DeclinePeer.model_validate(self.answer(by)), by)

    def stand_down(self, name: str) -> None:
        """The one who represents a network as it began does so no longer."""
        [person] = self.ask(ShowNetwork(network=self.networks[name])).representatives
        self.do(StandDownRepresentative(network=self.networks[name], person=person.person), name)

    def late(self, name: str) -> None:
        """Lets the time for an answer run out."""
        with writing(self.engine) as connection:
            past = clock.now() - timedelta(seconds=1)
            connection.execute(update(tables.help_requests).values(answer_by=past))
            connection.execute(update(TIMERS).where(TIMERS.c.name == name).values(due_at=past))


@pytest.fixture
def peers(store_of: StoreOf) -> Peers:
    return Peers(store_of("membership"))


def rows_that_say(peers: Peers, words: Sequence[str]) -> set[str]:
    """The tables in which any of the words stands, in any column."""
    metadata = MetaData()
    metadata.reflect(peers.engine)
    with reading(peers.engine) as connection:
        return {
            table.name
            for table in metadata.sorted_tables
            for row in connection.execute(select(table))
            if any(
                word in (value.decode(errors="replace") if isinstance(value, bytes) else str(value))
                for value in row
                for word in words
            )
        }


def test_help_is_asked_for_matched_accepted_by_both_and_said_to_have_helped(peers: Peers) -> None:
    peers.offer("york")
    request = peers.ask_for_help()
    [asked] = peers.mine(ASKER).requests
    assert (asked.state, asked.peer_network, asked.peer, asked.score) == ("proposed", "york", None, 5)
    assert peers.mine("york").asked_of_me == ()
    peers.accept(ASKER)
    [seen] = peers.mine("york").asked_of_me
    assert (seen.topic, seen.state, seen.asker, seen.network, seen.words) == ("funding", "asked", None, None, None)
    peers.accept("york")
    [seen] = peers.mine("york").asked_of_me
    assert (seen.asker, seen.network, seen.words) == (ASKER, peers.networks["leeds"], WORDS)
    assert peers.mine(ASKER).requests[0].peer == "york"
    peers.do(RecordWhetherItHelped(request=request, helped="yes"), ASKER)
    assert peers.mine(ASKER).requests == peers.mine("york").asked_of_me == ()
    assert peers.ask(ShowPeerSupportFigures()).closed is None
    assert peers.due() == []


def test_who_asked_is_in_no_event_and_in_no_table_but_the_one_of_requests(peers: Peers) -> None:
    offer = peers.offer("york")
    before = len(peers.told())
    request = peers.ask_for_help()
    peers.mine(ASKER)
    peers.accept(ASKER)
    peers.mine("york")
    peers.accept("york")
    appointed, asked = peers.told()[before:]
    assert appointed["type"] == "concord.membership.representative-appointed.v1"
    assert asked["data"] == {"offer": offer, "mentor": "york"}
    assert (ASKER in json.dumps(asked), peers.networks["leeds"] in json.dumps(asked)) == (False, False)
    # What an asker sends has an id of theirs, which would tell who caused the event.
    assert asked["causationid"].startswith("timer ")
    assert asked["correlationid"].startswith("timer ")
    # Nor does anything in it tell which request it is: that would tell when it was made, and link all who are asked.
    assert request not in json.dumps(asked)
    assert rows_that_say(peers, [WORDS]) == {"help_requests"}
    # Among the representatives, and in the event that they became one; what an asker sends is sealed.
    assert rows_that_say(peers, [ASKER]) == {"help_requests", "representatives", "outbox"}
    assert not [event for event in peers.told() if ASKER in json.dumps(event) and event != appointed]


def test_once_it_is_over_nothing_is_left_of_who_asked_or_whom(peers: Peers) -> None:
    offer = peers.offer("york")
    request = peers.ask_for_help()
    peers.mine(ASKER)
    for by in (ASKER, "york"):
        peers.accept(by)
    peers.do(RecordWhetherItHelped(request=request, helped="no"), ASKER)
    with reading(peers.engine) as connection:
        [row] = connection.execute(select(tables.help_requests)).mappings()
    kept = {name for name, value in row.items() if value not in (None, [], False)}
    assert kept - {"sequence"} == {"id", "topic", "state", "helped", "place"}
    assert offer not in map(str, row.values())
    again = peers.ask_for_help("hull", "another-asker")
    peers.do(WithdrawHelpRequest(request=again), "another-asker")
    assert peers.count(tables.help_requests) == 1


def test_a_peer_who_is_declined_never_hears_of_it_and_another_is_found(peers: Peers) -> None:
    york = peers.offer("york")
    request = peers.ask_for_help()
    assert peers.mine(ASKER).requests[0].peer_network == "york"
    peers.decline(ASKER)
    assert peers.mine(ASKER).requests[0].state == "waiting"
    peers.offer("hull")
    assert peers.mine(ASKER).requests[0].peer_network == "hull"
    assert peers.told_names(york) == ["experience-offered"]
    assert peers.refused(AcceptPeer(request=request, offer=york), "york") == "no-such-request"


def test_a_yes_to_a_peer_who_is_not_proposed_any_more_asks_nobody(peers: Peers) -> None:
    peers.offer("york")
    peers.ask_for_help()
    meant = AcceptPeer.model_validate(peers.answer(ASKER))
    hull = peers.offer("hull")
    peers.do(EndOffer(), "york")
    assert peers.mine(ASKER).requests[0].offer == hull
    assert peers.refused(meant, ASKER) == "another-peer"
    assert peers.refused(DeclinePeer(request=meant.request, offer=meant.offer), ASKER) == "another-peer"
    assert peers.mine(ASKER).requests[0].state == "proposed"
    assert peers.told_names(hull) == ["experience-offered"]


def test_the_peer_answers_by_an_id_made_when_they_were_asked(peers: Peers) -> None:
    york = peers.offer("york")
    request = peers.ask_for_help()
    peers.accept(ASKER)
    [seen] = peers.mine("york").asked_of_me
    assert seen.id != request
    assert peers.refused(AcceptPeer(request=request, offer=york), "york") == "no-such-request"
    assert peers.do(AcceptPeer(request=seen.id, offer=york), "york") == seen.id
    assert peers.do(DeclinePeer(request=seen.id, offer=york), "york") == seen.id
    assert peers.refused(DeclinePeer(request=seen.id, offer=york), "york") == "no-such-request"


def test_a_mentor_who_is_none_any_more_is_not_asked(peers: Peers) -> None:
    york = peers.offer("york")
    peers.ask_for_help()
    yes = AcceptPeer.model_validate(peers.answer(ASKER))
    peers.stand_down("york")
    hull = peers.offer("hull")
    peers.do(yes, ASKER)
    assert peers.mine("york").asked_of_me == ()
    assert [(each.state, each.offer) for each in peers.mine(ASKER).requests] == [("proposed", hull)]
    assert peers.told_names(york) == ["experience-offered"]


def test_a_mentor_who_is_none_any_more_learns_nothing_by_accepting(peers: Peers) -> None:
    peers.offer("york")
    peers.ask_for_help()
    peers.accept(ASKER)
    yes = AcceptPeer.model_validate(peers.answer("york"))
    hull = peers.offer("hull")
    peers.stand_down("york")
    peers.do(yes, "york")
    assert peers.mine("york").asked_of_me == ()
    assert [(each.state, each.offer) for each in peers.mine(ASKER).requests] == [("proposed", hull)]


def test_a_mentor_who_is_none_any_more_when_they_are_to_be_asked_is_not(peers: Peers) -> None:
    york = peers.offer("york")
    peers.ask_for_help()
    yes = AcceptPeer.model_validate(peers.answer(ASKER))
    hull = peers.offer("hull")
    [person] = peers.ask(ShowNetwork(network=peers.networks["york"])).representatives
    leave = StandDownRepresentative(network=peers.networks["york"], person=person.person)
    peers.run(peers.arrival(yes, ASKER), peers.arrival(leave, "york"))  # both before any timer
    assert peers.mine("york").asked_of_me == ()
    assert [(each.state, each.offer) for each in peers.mine(ASKER).requests] == [("proposed", hull)]
    assert peers.told_names(york) == ["experience-offered"]


def test_figures_are_of_the_first_that_were_closed_and_move_by_ten(peers: Peers) -> None:
    def close(*answers: str) -> None:
        place = peers.count(tables.help_requests)
        row = {"sequence": 0, "topic": "funding", "why": [], "tried": [], "was_matched": True, "state": "closed"}
        with writing(peers.engine) as connection:
            for answer in answers:
                place += 1  # the later it is closed the earlier is it asked, to tell the two apart
                closed = {"id": f"00000000-0000-7000-8000-{9999 - place:012x}", "helped": answer, "place": place}
                connection.execute(insert(tables.help_requests), {**row, **closed})

    close(*["yes"] * 9)
    peers.offer("york")
    request = peers.ask_for_help()
    peers.accept(ASKER)
    peers.accept("york")
    peers.do(RecordWhetherItHelped(request=request, helped="no"), ASKER)
    shown = peers.ask(ShowPeerSupportFigures())
    assert (shown.closed, shown.helped) == (10, {"yes": 9, "partly": 0, "no": 1})
    close(*["partly"] * 9)
    assert peers.ask(ShowPeerSupportFigures()) == shown
    close("no")
    shown = peers.ask(ShowPeerSupportFigures())
    assert (shown.closed, shown.helped) == (20, {"yes": 9, "partly": 9, "no": 2})


def test_a_mentor_has_one_in_hand_and_the_next_comes_when_that_is_over(peers: Peers) -> None:
    peers.offer("york", at_once=1)
    first = peers.ask_for_help()
    second = peers.ask_for_help("hull", "another-asker")
    assert [peers.mine(who).requests[0].state for who in (ASKER, "another-asker")] == ["proposed", "waiting"]
    peers.do(WithdrawHelpRequest(request=first), ASKER)
    assert [(each.id, each.state) for each in peers.mine("another-asker").requests] == [(second, "proposed")]


def test_silence_of_the_asker_sets_the_mentor_free_and_silence_of_the_mentor_finds_another(peers: Peers) -> None:
    peers.offer("york")
    peers.ask_for_help()
    before = clock.now()
    [asked] = peers.mine(ASKER).requests
    assert asked.answer_by is not None
    assert asked.answer_by >= before + ANSWER_WITHIN - timedelta(seconds=60)
    peers.accept(ASKER)
    peers.late("peer-answer-due")
    assert peers.mine(ASKER).requests[0].state == "waiting"
    peers.offer("hull")
    assert peers.mine(ASKER).requests[0].peer_network == "hull"
    peers.late("peer-answer-due")
    assert peers.mine(ASKER).requests[0].state == "ended"
    peers.late("peer-answer-due")
    assert peers.mine(ASKER).requests == ()
    assert peers.count(tables.help_requests) == 0


def test_who_takes_the_offer_back_or_no_longer_speaks_for_a_member_is_proposed_to_nobody(peers: Peers) -> None:
    peers.offer("york")
    peers.ask_for_help()
    assert peers.mine(ASKER).requests[0].state == "proposed"
    peers.do(EndOffer(), "york")
    assert peers.mine(ASKER).requests[0].state == "waiting"
    assert peers.refused(EndOffer(), "york") == "no-offer"
    peers.offer("hull")
    assert peers.mine(ASKER).requests[0].state == "proposed"
    peers.decline(ASKER)
    peers.offer("york")
    peers.mine(ASKER)
    peers.stand_down("hull")
    peers.ask_for_help("york", "another-asker")
    assert peers.mine("another-asker").requests[0].state == "waiting"


def test_an_asker_has_no_more_requests_for_asking_in_two_places_at_once(peers: Peers) -> None:
    """As two replicas would, for two networks: neither waits for the other, nor knows what it is about to write."""
    networks = [peers.networks[name] for name in ("leeds", "york")]
    for network, name in zip(networks, ("leeds", "york"), strict=True):
        command = AppointRepresentative(network=network, person=new_id(), principal=ASKER)
        peers.do(command, f"{name}-steward")
    topics = iter(get_args(PeerTopic))
    replies = []
    with ThreadPoolExecutor(2) as pool:
        for _ in range(MAX_REQUESTS):
            peers.run()  # what is due by itself, which both would want to do
            pair = [
                AskForHelp(network=network, topic=next(topics), size="50-to-249", words=WORDS) for network in networks
            ]
            replies += list(pool.map(lambda command: peers.send(command, ASKER), pair))
    refused = [reply["refusal"]["code"] for reply in replies if reply["outcome"] == "refused"]
    assert refused == ["requests-enough"] * MAX_REQUESTS
    requests = peers.mine(ASKER).requests
    assert len(requests) == MAX_REQUESTS
    peers.do(WithdrawHelpRequest(request=requests[0].id), ASKER)
    peers.do(AskForHelp(network=networks[0], topic=next(topics), size="50-to-249"), ASKER)


def test_the_table_gives_an_asker_a_slot_once_even_if_the_rule_did_not(peers: Peers) -> None:
    peers.ask_for_help()
    with reading(peers.engine) as connection:
        [row] = connection.execute(select(tables.help_requests)).mappings().all()
    with pytest.raises(IntegrityError), writing(peers.engine) as connection:
        connection.execute(insert(tables.help_requests), {**row, "id": new_id(), "asked_as": None})


def test_strangers_offer_and_ask_nothing(peers: Peers) -> None:
    asked = AskForHelp(network=peers.networks["leeds"], topic="funding", size="under-50")
    assert peers.refused(asked, "york") == "not-of-this-network"
    offered = OfferExperience(network=peers.networks["leeds"], topics=("funding",), size="under-50")
    assert peers.refused(offered, "york") == "not-a-representative"
    peers.offer("york")
    twice = OfferExperience(network=peers.networks["york"], topics=("funding",), size="under-50")
    assert peers.refused(twice, "york") == "offers-already"


def test_the_table_forgets_who_asked_even_if_the_rule_did_not(peers: Peers) -> None:
    row = {
        "sequence": 0, "topic": "funding", "why": [], "tried": [], "was_matched": True, "state": "closed",
        "helped": "yes",
    }  # fmt: skip
    with pytest.raises(IntegrityError), writing(peers.engine) as connection:
        connection.execute(insert(tables.help_requests), {"id": new_id(), "asker": "anne", **row})
    with writing(peers.engine) as connection:
        connection.execute(insert(tables.help_requests), {"id": new_id(), **row})
