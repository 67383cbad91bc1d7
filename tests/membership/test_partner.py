"""Partners of an umbrella network and the work streams they take part in."""

from collections.abc import Sequence
from datetime import UTC, datetime

from services.membership.domain import partner
from services.membership.domain.network import Network
from services.membership.domain.partner import Partner
from services.membership.domain.steering_group import SteeringGroup, WorkStream
from shared.contracts.membership import LinkPartner, RegisterPartner, UmbrellaRules, UnlinkPartner
from shared.contracts.message import Event
from shared.refusal import Refusal

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)


def an_id(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012x}"


UMBRELLA = Network(
    id=an_id(2),
    name="Cross-government network",
    reach="national",
    organisation=an_id(3),
    parent=None,
    office=None,
    umbrella=UmbrellaRules(),
    steering_group=an_id(4),
    steward="sam",
)
STRESS, SLEEP = an_id(5), an_id(6)
GROUP = SteeringGroup(
    id=an_id(4),
    network=UMBRELLA.id,
    work_streams={STRESS: WorkStream(name="Stress"), SLEEP: WorkStream(name="Sleep", ongoing=False)},
)


def after(decision: Sequence[Event] | Refusal, state: Partner | None = None) -> Partner:
    assert not isinstance(decision, Refusal), decision
    for event in decision:
        state = partner.evolve(state, event)
    assert state is not None
    return state


def code(decision: Sequence[Event] | Refusal | None) -> str:
    assert isinstance(decision, Refusal), decision
    return decision.code


def register(*taken: str, organisation: str | None = None, known: bool = False) -> list[Event] | Refusal:
    command = RegisterPartner(umbrella=UMBRELLA.id, name="Mind", type="charity", organisation=organisation)
    return partner.register(command, new_id=an_id(1), taken=taken, organisation_is_known=known, at=NOON)


def link(state: Partner, stream: str = STRESS) -> list[Event] | Refusal:
    return partner.link(state, GROUP, LinkPartner(partner=state.id, work_stream=stream), NOON)


def unlink(state: Partner) -> list[Event] | Refusal:
    return partner.unlink(state, UnlinkPartner(partner=state.id, work_stream=STRESS))


def test_only_those_who_steer_the_umbrella_have_a_say_in_its_partners() -> None:
    assert partner.not_steering(UMBRELLA, GROUP, "sam") is None
    assert code(partner.not_steering(UMBRELLA, GROUP, "ann")) == "not-of-the-steering-group"


def test_a_partner_has_a_name_nobody_else_has_and_an_organisation_that_is_known() -> None:
    assert after(register("Samaritans")).name == "Mind"
    assert code(register("MIND")) == "partner-already"
    assert code(register(organisation=an_id(9))) == "organisation-unknown"
    assert after(register(organisation=an_id(9), known=True)).organisation == an_id(9)


def test_a_partner_is_linked_to_ongoing_work_streams_once() -> None:
    state = after(register())
    linked = after(link(state), state)
    assert linked.links[STRESS].since == NOON
    assert link(linked) == []
    assert code(link(state, SLEEP)) == "no-such-work-stream"
    assert code(link(state, an_id(7))) == "no-such-work-stream"
    assert after(unlink(linked), linked).links == {}
    assert code(unlink(state)) == "not-linked"


def test_a_partnership_ends_once_and_with_its_links() -> None:
    state = after(register())
    linked = after(link(state), state)
    ended = after(partner.end(linked, NOON), linked)
    assert (ended.ended_at, ended.links) == (NOON, {})
    assert code(partner.end(ended, NOON)) == code(link(ended)) == "partnership-ended"
