"""Decisions by consensus on a store: several speaking at once, networks that leave, and the discussion."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, insert, select
from sqlalchemy.exc import IntegrityError

from services.membership import tables
from services.membership.domain.discussion import MAX_CONTRIBUTIONS
from services.membership.handlers import on
from shared import clock
from shared.contracts.membership import (
    AmendProposal,
    ApplyForMembership,
    AppointRepresentative,
    CloseProposal,
    ConfirmNetworkHome,
    ContributeToProposal,
    ContributionPage,
    DraftProposal,
    ListContributions,
    OpenProposal,
    ShowNetwork,
    ShowProposal,
    ShowVoice,
    StandDownRepresentative,
    TakePosition,
    WithdrawContribution,
    WithdrawMemberNetwork,
    WithdrawProposal,
)
from shared.contracts.message import Command, Query
from shared.database import reading, writing
from shared.unit_of_work import Reader
from tests.conftest import StoreOf
from tests.stores.test_membership import Service, new_id, take, until

WORDS = "We would need two more weeks."


class Deciding(Service):
    """Membership with an open umbrella that has the members leeds and york."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.all = self.umbrella(open=True)
        home = self.organisation("leeds-city-council", "council")
        self.networks = {name: self.network(name, home) for name in ("leeds", "york", "hull")}
        for network in self.networks.values():
            self.do(ConfirmNetworkHome(network=network), "operator")
        for name in ("leeds", "york"):
            self.join(name)

    def join(self, name: str) -> None:
        self.do(ApplyForMembership(umbrella=self.all, network=self.networks[name]), name)

    def another(self, name: str, principal: str) -> None:
        """One more person speaks for a network."""
        appointed = AppointRepresentative(network=self.networks[name], person=new_id(), principal=principal)
        self.do(appointed, f"{name}-steward")

    def leave(self, name: str) -> None:
        self.do(WithdrawMemberNetwork(umbrella=self.all, network=self.networks[name]), name)

    def ask_as(self, principal: str, query: Query[Any]) -> Any:
        with reading(self.engine) as connection:
            return on.queries[query.wire.name].run(query, Reader(connection, clock.now(), principal))

    def say(self, proposal: str, name: str, text: str = WORDS) -> str:
        return self.do(ContributeToProposal(proposal=proposal, network=self.networks[name], text=text), name)

    def discussed(self, proposal: str, **more: Any) -> ContributionPage:
        page = self.ask(ListContributions(proposal=proposal, **more))
        assert isinstance(page, ContributionPage)
        return page

    def at_once(self, *sent: tuple[Command, str]) -> list[dict[str, Any]]:
        """What each is answered with, all sent at the same moment by writers of their own."""
        start = Barrier(len(sent))

        def one(command: Command, by: str) -> dict[str, Any]:
            start.wait()
            return self.send(command, by)

        with ThreadPoolExecutor(len(sent)) as pool:
            return list(pool.map(lambda each: one(*each), sent))


@pytest.fixture
def service(store_of: StoreOf) -> Deciding:
    return Deciding(store_of("membership"))


# ---- one voice, whoever speaks and whenever ------------------------------------------------------------------------


def test_two_representatives_who_answer_at_the_same_moment_are_one_voice_and_both_are_kept(service: Deciding) -> None:
    service.another("leeds", "lena")
    proposal, leeds = service.proposal(service.all), service.networks["leeds"]
    consent = TakePosition(proposal=proposal, network=leeds, position="consent")
    block = TakePosition(proposal=proposal, network=leeds, position="block", reason="Too dear.")
    for _ in range(5):
        replies = service.at_once((consent, "leeds"), (block, "lena"))
        assert [reply["outcome"] for reply in replies] == ["done", "done"]
        stances = service.ask(ShowVoice(proposal=proposal, network=leeds)).stances
        assert {stance.position for stance in stances[-2:]} == {"consent", "block"}
    shown = service.ask(ShowProposal(proposal=proposal))
    stances = service.ask(ShowVoice(proposal=proposal, network=leeds)).stances
    [voice] = [voice for voice in shown.voices if voice.network == leeds]
    assert (voice.stance, voice.earlier) == (stances[-1], len(stances) - 1)
    # What was told is what is kept, in one order and without a gap: nothing one of them said was written over.
    told = [event for event in service.told(proposal) if event["type"].endswith(".position-taken.v1")]
    assert [event["data"]["stance"]["position"] for event in told] == [stance.position for stance in stances]
    assert [event["sequence"] for event in service.told(proposal)] == list(range(1, len(told) + 3))
    assert service.count(tables.voices) == 2


def test_a_position_at_the_moment_of_the_close_counts_or_is_refused_and_never_both(service: Deciding) -> None:
    for _ in range(5):
        proposal = service.proposal(service.all)
        for name in ("leeds", "york"):
            take(service, proposal, service.networks[name], name, "consent")
        block = TakePosition(
            proposal=proposal, network=service.networks["york"], position="block", reason="On second thoughts."
        )
        spoke, closed = service.at_once((block, "york"), (CloseProposal(proposal=proposal), "sam"))
        shown = service.ask(ShowProposal(proposal=proposal))
        if closed["outcome"] == "done":
            assert spoke["refusal"]["code"] == "proposal-not-open"
            assert spoke["refusal"]["data"]["closed_at"] == shown.decision.closed_at.isoformat()
            assert (shown.decision.outcome, shown.decision.counts) == ("agreed", {"consent": 2})
        else:
            assert closed["refusal"]["code"] == "block-stands"
            assert (spoke["outcome"], shown.state) == ("done", "open")


def test_a_network_that_joins_at_the_moment_of_the_opening_is_asked_or_is_not_and_stays_so(service: Deciding) -> None:
    draft = service.do(DraftProposal(umbrella=service.all, title="A charter", text="One charter."))
    opening = OpenProposal(proposal=draft, deadline=clock.now() + timedelta(days=14))
    joining = ApplyForMembership(umbrella=service.all, network=service.networks["hull"])
    replies = service.at_once((opening, "sam"), (joining, "hull"))
    assert [reply["outcome"] for reply in replies] == ["done", "done"]
    asked = {voice.network for voice in service.ask(ShowProposal(proposal=draft)).voices}
    assert {service.networks["leeds"], service.networks["york"]} <= asked <= set(service.networks.values())
    position = TakePosition(proposal=draft, network=service.networks["hull"], position="consent")
    reply = service.send(position, "hull")
    assert (reply["outcome"] == "done") is (service.networks["hull"] in asked)


# ---- networks that leave meanwhile ---------------------------------------------------------------------------------


def test_what_a_network_said_before_it_left_counts_to_the_end(service: Deciding) -> None:
    proposal = service.proposal(service.all, clock.now() + timedelta(seconds=1))
    take(service, proposal, service.networks["york"], "york", "block", "It leaves us out.")
    take(service, proposal, service.networks["leeds"], "leeds", "consent")
    service.leave("york")
    until(lambda: service.run() == [] and service.ask(ShowProposal(proposal=proposal)).state == "closed")
    decision = service.ask(ShowProposal(proposal=proposal)).decision
    assert (decision.outcome, decision.asked, decision.counts) == ("blocked", 2, {"block": 1, "consent": 1})


def test_a_network_that_nobody_speaks_for_any_more_keeps_its_place_and_the_deadline_decides(service: Deciding) -> None:
    proposal = service.proposal(service.all, clock.now() + timedelta(seconds=1))
    take(service, proposal, service.networks["leeds"], "leeds", "consent")
    [person] = service.ask(ShowNetwork(network=service.networks["york"])).representatives
    service.do(StandDownRepresentative(network=service.networks["york"], person=person.person), "york")
    late = TakePosition(proposal=proposal, network=service.networks["york"], position="consent")
    assert service.refused(late, "york") == "not-a-representative"
    assert service.refused(CloseProposal(proposal=proposal)) == "not-everyone-has-spoken"
    until(lambda: service.run() == [] and service.ask(ShowProposal(proposal=proposal)).state == "closed")
    decision = service.ask(ShowProposal(proposal=proposal)).decision
    assert (decision.outcome, decision.asked, decision.spoke) == ("agreed", 2, 1)
    reply = service.send(
        TakePosition(proposal=proposal, network=service.networks["leeds"], position="consent"), "leeds"
    )
    assert reply["refusal"]["code"] == "proposal-not-open"
    assert reply["refusal"]["data"]["closed_at"] == decision.closed_at.isoformat()


# ---- discussion ----------------------------------------------------------------------------------------------------


def a_draft(service: Deciding) -> str:
    return service.do(DraftProposal(umbrella=service.all, title="A charter", text="One charter."), "leeds")


def opened(service: Deciding, proposal: str) -> None:
    service.do(OpenProposal(proposal=proposal, deadline=clock.now() + timedelta(days=14)), "leeds")


def test_a_proposal_is_discussed_from_draft_to_close_and_an_amendment_keeps_what_was_said(service: Deciding) -> None:
    proposal = a_draft(service)
    service.say(proposal, "york", "Is this for councils too?")
    service.do(AmendProposal(proposal=proposal, text="One charter, for all."), "leeds")
    service.say(proposal, "leeds", "It is now.")
    opened(service, proposal)
    service.do(AmendProposal(proposal=proposal, text="One short charter, for all."), "leeds")
    service.say(proposal, "york", "Better.")
    assert [(each.name, each.version, each.text) for each in service.discussed(proposal).contributions] == [
        ("york", 1, "Is this for councils too?"),
        ("leeds", 2, "It is now."),
        ("york", 3, "Better."),
    ]
    service.do(WithdrawProposal(proposal=proposal, reason="It is done already."), "leeds")
    refused = ContributeToProposal(proposal=proposal, network=service.networks["york"], text="Oh.")
    assert service.refused(refused, "york") == "proposal-not-open"
    assert service.discussed(proposal).total == 3


def test_no_word_of_a_discussion_is_in_an_event_message_and_no_person_is_kept_with_it(service: Deciding) -> None:
    proposal = a_draft(service)
    service.another("york", "someone-of-york")
    contribution = service.do(
        ContributeToProposal(proposal=proposal, network=service.networks["york"], text=WORDS), "someone-of-york"
    )
    service.do(WithdrawContribution(proposal=proposal, contribution=contribution), "someone-of-york")
    assert service.told_names(proposal) == ["proposal-drafted", "contribution-made", "contribution-withdrawn"]
    assert WORDS not in json.dumps(service.told())
    tables_there = MetaData()
    with reading(service.engine) as connection:
        tables_there.reflect(connection)
        rows = {table.name: connection.execute(select(table)).all() for table in tables_there.sorted_tables}
    assert not [name for name, found in rows.items() if WORDS in repr(found)]  # taken back, they are nowhere
    named = {name for name, found in rows.items() if "someone-of-york" in repr(found)}
    # Of whom there is, and for how long a command is remembered; not with what York said, nor in its story.
    assert not named & {"contributions", "proposals", "voices"}
    history = [row for row in rows["outbox"] if row.aggregate == proposal]
    assert [row.principal for row in history] == ["leeds", None, None]


def test_a_discussion_is_read_page_by_page_in_one_order(service: Deciding) -> None:
    proposal = a_draft(service)
    made = [service.say(proposal, name, f"{number}.") for number, name in enumerate(("york", "leeds", "york", "york"))]
    seen: list[str] = []
    after = None
    while True:
        page = service.discussed(proposal, limit=3, after=after)
        assert page.total == 4
        seen += [each.id for each in page.contributions]
        if page.next is None:
            break
        after = page.next
    assert seen == made
    service.do(WithdrawContribution(proposal=proposal, contribution=made[0]), "york-steward")
    first = service.discussed(proposal).contributions[0]
    assert (first.id, first.name, first.text) == (made[0], "york", None)
    assert first.withdrawn_at is not None
    assert service.discussed(proposal, network=service.networks["leeds"]).total == 1


def test_a_discussion_is_for_the_networks_of_the_umbrella_and_for_those_asked(service: Deciding) -> None:
    proposal = a_draft(service)
    service.say(proposal, "york")

    def reads(principal: str) -> bool:
        return isinstance(service.ask_as(principal, ListContributions(proposal=proposal)), ContributionPage)

    assert [name for name in ("leeds", "york", "hull", "sam", "stranger") if reads(name)] == ["leeds", "york", "sam"]
    opened(service, proposal)
    service.join("hull")
    service.leave("york")
    assert reads("hull")
    assert reads("york")
    service.say(proposal, "hull", "We were not asked, and wish you well.")
    service.say(proposal, "york", "We were asked, and have left.")
    assert service.discussed(proposal).total == 3


def test_no_discussion_closes_a_proposal_or_counts_as_a_position(service: Deciding) -> None:
    proposal = a_draft(service)
    opened(service, proposal)
    for name in ("leeds", "york"):
        service.say(proposal, name, "We block this, and stand aside, and consent.")
    shown = service.ask(ShowProposal(proposal=proposal))
    assert ([voice.stance for voice in shown.voices], shown.state) == ([None, None], "open")
    assert service.refused(CloseProposal(proposal=proposal)) == "not-everyone-has-spoken"


def test_each_day_of_discussion_is_told_of_once(service: Deciding) -> None:
    proposal = a_draft(service)
    for name in ("york", "york", "leeds"):
        service.say(proposal, name)
    made = [each for each in service.told(proposal) if each["type"].endswith(".contribution-made.v1")]
    days = [each["data"]["first_of_day"] for each in made]
    # Unless midnight came between, the first alone is one.
    assert days[0]
    assert days == [True, False, False] or clock.now().hour in (0, 23)


def test_a_network_says_no_more_than_any_other_may_however_many_speak_for_it_at_once(service: Deciding) -> None:
    proposal = a_draft(service)
    for number in range(MAX_CONTRIBUTIONS - 1):
        service.say(proposal, "york", f"{number}.")
    service.another("york", "yara")
    one_more = ContributeToProposal(proposal=proposal, network=service.networks["york"], text="One more thing.")
    replies = service.at_once((one_more, "york"), (one_more, "yara"))
    assert sorted(reply["outcome"] for reply in replies) == ["done", "refused"]
    assert service.discussed(proposal).total == MAX_CONTRIBUTIONS


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (lambda id_, _: ContributeToProposal(proposal=id_, network=id_, text="T"), "proposal-unknown"),
        (lambda id_, there: ContributeToProposal(proposal=there, network=id_, text="T"), "network-unknown"),
        (lambda id_, _: WithdrawContribution(proposal=id_, contribution=id_), "proposal-unknown"),
        (lambda id_, there: WithdrawContribution(proposal=there, contribution=id_), "contribution-unknown"),
    ],
)
def test_what_names_nothing_that_is_there_is_refused(
    service: Deciding, command: Callable[[str, str], Command], expected: str
) -> None:
    assert service.refused(command(new_id(), a_draft(service)), "leeds") == expected
    assert service.ask(ListContributions(proposal=new_id())).code == "proposal-unknown"


def test_the_table_keeps_no_words_that_were_taken_back_even_if_the_rule_did(service: Deciding) -> None:
    proposal = a_draft(service)
    service.say(proposal, "york")
    with reading(service.engine) as connection:
        [row] = connection.execute(select(tables.contributions)).mappings().all()
    wrong: Sequence[dict[str, Any]] = ({"text": None}, {"withdrawn_at": clock.now()})
    for change in wrong:
        with pytest.raises(IntegrityError), writing(service.engine) as connection:
            connection.execute(insert(tables.contributions), {**row, **change, "id": new_id()})
