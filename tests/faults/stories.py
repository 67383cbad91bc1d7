"""What people and programs do meanwhile: stories of real commands and messages."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, timedelta
from typing import Any, get_args
from uuid import UUID

from shared import clock
from shared.contracts import benchmark, events, membership, notifications
from shared.contracts.membership import GivenOffice, GivenUmbrellaRules, Office, OrganisationRow, Position
from shared.contracts.message import Command
from shared.testing.mail_server import MailServer, text_of
from tests.faults.teller import MEMBERS, PAUSE, REGISTER_NAME, WITNESS, Teller

EMPLOYER = 5
"""Which organisation the register says of who left."""

ASKERS = 3
"""The first so many members ask for help themselves, and the others give it."""

POSTED_TO = 2
"""The first so many members have webhooks; more would take the processors that the services are killed on."""

SHORT_DEADLINE = timedelta(seconds=4)
DUE_SOON = timedelta(seconds=12)
"""Until what a statement recommends falls due: it is consulted on before that."""
PLAN_PAUSE, PLAN_LOOKS = 2.0, 4
"""Seconds between two looks at a plan, and how many: each plan costs a second of a core, which others need."""

CODE = re.compile(r"\b[A-Z2-9]{5}-[A-Z2-9]{5}\b")
"""What a mailbox is confirmed with."""

OFFICES = tuple(
    GivenOffice(place=place, region=region, nation=nation, latitude=latitude, longitude=longitude)
    for place, region, nation, latitude, longitude in (
        ("Leeds", "Yorkshire and The Humber", "England", 53.80, -1.55),
        ("Cardiff", "Wales", "Wales", 51.48, -3.18),
        ("Glasgow", "Scotland", "Scotland", 55.86, -4.25),
        ("Bristol", "South West", "England", 51.45, -2.59),
        ("Nottingham", "East Midlands", "England", 52.95, -1.15),
        ("Newcastle", "North East", "England", 54.97, -1.61),
    )
)


class World:
    """What is there before the first death, and is not changed by any story."""

    organisations: list[str]
    council: str
    """An open umbrella network, whose members decide on proposals, raise concerns and meet."""
    members: list[str]
    """The member networks of the council; the n-th one's representative is the n-th of MEMBERS."""
    fair: str
    """An umbrella network that admits who applies; networks come and go."""

    async def found(self, teller: Teller) -> None:
        """Brings it about."""
        for topic in get_args(notifications.Topic):
            await teller.do(WITNESS, notifications.Subscribe(topic=topic))
        for principal in MEMBERS[:POSTED_TO] if teller.platform.receiver else ():
            url = f"{teller.platform.receiver}?of={principal}"
            await teller.do(principal, notifications.RegisterWebhook(url=url))
        if teller.platform.mail:
            await _have_it_mailed(teller, teller.platform.mail, MEMBERS[-1])
        self.organisations = [
            str((await teller.do("operator", membership.RegisterOrganisation(**_organisation(teller, number)))).id)
            for number in range(6)
        ]
        self.council = await self._umbrella(teller, GivenUmbrellaRules(open=True))
        self.fair = await self._umbrella(teller, GivenUmbrellaRules())
        self.members = [
            await register_network(teller, principal, self.organisations[number], OFFICES[number])
            for number, principal in enumerate(MEMBERS)
        ]
        linked = membership.LinkPublisher(publisher=REGISTER_NAME, organisation=self.organisations[EMPLOYER])
        await teller.do("operator", linked)
        for principal, network in zip(MEMBERS, self.members, strict=True):
            await teller.do(
                principal, membership.AppointRepresentative(network=network, person=teller.id(), principal=principal)
            )
            await teller.do("operator", membership.ConfirmNetworkHome(network=network))
            await teller.do(principal, membership.ApplyForMembership(umbrella=self.council, network=network))

    async def prepare_followers(self, teller: Teller) -> None:
        """What takes for granted that the followers know of the organisations."""
        for number, office in enumerate(OFFICES):
            await teller.do("operator", _venue(teller, office, self.organisations[number]))
        for principal, organisation in zip(MEMBERS, self.organisations, strict=False):
            named = benchmark.NameDataSteward(organisation=organisation, principal=principal)
            await teller.do("operator", named)

    async def _umbrella(self, teller: Teller, rules: GivenUmbrellaRules) -> str:
        command = membership.RegisterNetwork(
            name=teller.word(), reach="national", organisation=self.organisations[0], umbrella=rules
        )
        return str((await teller.do("operator", command)).id)


def _organisation(teller: Teller, number: int) -> dict[str, Any]:
    office = OFFICES[number % len(OFFICES)]
    kind = get_args(membership.OrganisationType)[number % 3]
    return {"key": teller.word(), "name": teller.word(), "type": kind, **office.model_dump()}


def _venue(teller: Teller, office: Office, host: str) -> events.RegisterVenue:
    return events.RegisterVenue(name=teller.word(), **office.model_dump(), host=host, capacity=50, step_free=True)


async def register_network(teller: Teller, steward: str, organisation: str, office: GivenOffice) -> str:
    """A network of a steward's own; its id."""
    command = membership.RegisterNetwork(name=teller.word(), reach="local", organisation=organisation, office=office)
    return str((await teller.do(steward, command)).id)


# ---- stories -------------------------------------------------------------------------------------------------------

Story = Callable[[Teller, World], Awaitable[None]]


async def a_network_comes_and_goes(teller: Teller, world: World) -> None:
    steward, deputy = teller.random.sample(MEMBERS, 2)
    organisation, office = teller.random.choice(world.organisations), teller.random.choice(OFFICES)
    network = await register_network(teller, steward, organisation, office)
    people = {principal: teller.id() for principal in (steward, deputy)}
    for principal, person in people.items():
        appointed = membership.AppointRepresentative(network=network, person=person, principal=principal)
        await teller.do(steward, appointed)
    await teller.do(deputy, membership.ApplyForMembership(umbrella=world.fair, network=network))
    await teller.do("operator", membership.AdmitMemberNetwork(umbrella=world.fair, network=network))
    await teller.try_to(deputy, membership.ApplyForMembership(umbrella=world.fair, network=network))
    match teller.random.randrange(3):
        case 0:
            await teller.do(steward, membership.WithdrawMemberNetwork(umbrella=world.fair, network=network))
        case 1:  # the last one leaves, and the membership lapses
            for principal, person in people.items():
                await teller.do(principal, membership.StandDownRepresentative(network=network, person=person))


async def a_steward_goes(teller: Teller, world: World) -> None:
    first, second, third = teller.random.sample(MEMBERS, 3)
    organisation, office = teller.random.choice(world.organisations), teller.random.choice(OFFICES)
    network = await register_network(teller, first, organisation, office)
    appointed = membership.AppointRepresentative(network=network, person=teller.id(), principal=first)
    await teller.do(first, appointed)
    await teller.do(first, membership.MoveOffice(network=network, office=teller.random.choice(OFFICES)))
    await teller.do(first, membership.HandOverStewardship(network=network, principal=second))
    await teller.do(second, membership.ApplyForMembership(umbrella=world.fair, network=network))
    declined = membership.DeclineMemberNetwork(umbrella=world.fair, network=network, reason="It is not the season.")
    await teller.do("operator", declined)
    await teller.do(second, membership.GiveUpStewardship(network=network))
    await teller.do("operator", membership.AppointSteward(network=network, principal=third))
    await teller.do(third, membership.ApplyForMembership(umbrella=world.fair, network=network))
    await teller.do(first, membership.WithdrawMemberNetwork(umbrella=world.fair, network=network))


async def organisations_change(teller: Teller, world: World) -> None:
    """Two are merged into a third, that is split into two, and one of these closes and leaves nobody behind."""
    steward = teller.random.choice(MEMBERS)
    one, two, three, four, five = [
        str((await teller.do("operator", membership.RegisterOrganisation(**_organisation(teller, number)))).id)
        for number in range(5)
    ]
    network = await register_network(teller, steward, one, OFFICES[0])
    linked = {"publisher": teller.word(), "organisation": one}
    await teller.do("operator", membership.LinkPublisher(**linked))
    await teller.do("operator", membership.UnlinkPublisher(publisher=linked["publisher"]))
    await teller.do("operator", membership.RenameOrganisation(organisation=one, name=teller.word()))
    await teller.do("operator", membership.ConfirmNetworkHome(network=network))
    await teller.do("operator", membership.MergeOrganisations(organisations=(one, two), into=three))
    goes_on = teller.random.random() < 0.5
    homes = {} if goes_on else {network: four}
    parts = membership.SplitOrganisation(organisation=three, into=(four, five), goes_on=goes_on, networks=homes)
    await teller.do("operator", parts)
    await teller.do("operator", membership.CloseOrganisation(organisation=five))


async def a_register_is_read(teller: Teller, world: World) -> None:
    rows = tuple(OrganisationRow(key=teller.word(), name=teller.word(), format="council") for _ in range(4))
    await teller.do("operator", membership.ImportOrganisations(register_name="GOV.UK", rows=rows))
    again = (rows[0].model_copy(update={"name": teller.word()}), *rows[1:])
    await teller.do("operator", membership.ImportOrganisations(register_name="GOV.UK", rows=again))


async def _have_it_mailed(teller: Teller, mail: MailServer, principal: str) -> None:
    address, never = f"{principal}@example.org", "00:00"
    await teller.do(principal, notifications.RegisterMailbox(address=address, quiet_from=never, quiet_until=never))
    await mail.until(1)
    code = CODE.findall(text_of(mail.mails[0]))[0]
    await teller.do(principal, notifications.ConfirmMailbox(code=code))


async def a_register_publishes(teller: Teller, world: World) -> None:
    good = teller.random.random() < 0.8
    row = OrganisationRow(key=teller.word(), name=teller.word(), format="council" if good else "circus")
    await teller.publish(
        membership.OrganisationListed(organisation=row), "organisation-registered" if good else "inbound-refused"
    )


async def a_proposal_is_decided(teller: Teller, world: World) -> None:
    drafted = membership.DraftProposal(umbrella=world.council, title=teller.word(), text="A quiet room in each office.")
    proposal = str((await teller.do("operator", drafted)).id)
    ending = next(teller.course.endings)
    deadline = clock.now() + (SHORT_DEADLINE if ending == "deadline" else timedelta(days=30))
    opened = membership.OpenProposal(proposal=proposal, deadline=deadline)
    if ending == "deadline":  # whoever comes after the deadline is refused, with good reason
        await teller.try_to("operator", opened)
        await _take_positions(teller, world, proposal, "stand-aside", teller.try_to)
        return
    await teller.do("operator", opened)
    said = membership.ContributeToProposal(proposal=proposal, network=world.members[0], text="We have one, and use it.")
    contribution = str((await teller.do(MEMBERS[0], said)).id)
    await _take_positions(teller, world, proposal, "block", teller.do)
    await teller.do(MEMBERS[0], membership.WithdrawContribution(proposal=proposal, contribution=contribution))
    await teller.do("operator", membership.AmendProposal(proposal=proposal, text="A quiet room in most offices."))
    await _take_positions(teller, world, proposal, "reservations", teller.do)
    if ending == "early":
        await teller.do("operator", membership.CloseProposal(proposal=proposal))
    else:
        await teller.do("operator", membership.WithdrawProposal(proposal=proposal, reason="There is no room."))


async def _take_positions(
    teller: Teller, world: World, proposal: str, last: Position, ask: Callable[[str, Command], Awaitable[Any]]
) -> None:
    positions: Sequence[Position] = (*("consent" for _ in world.members[1:]), last)
    await asyncio.gather(
        *(
            ask(principal, membership.TakePosition(proposal=proposal, network=network, position=position, reason="So."))
            for principal, network, position in zip(MEMBERS, world.members, positions, strict=True)
        )
    )


async def a_work_stream_runs_its_course(teller: Teller, world: World) -> None:
    opened = membership.OpenWorkStream(network=world.council, name=teller.word())
    stream = str((await teller.do("operator", opened)).id)
    person = str(UUID(int=MEMBERS.index(principal := teller.random.choice(MEMBERS)) + 1))
    seat: dict[str, Any] = {"network": world.council, "person": person, "work_stream": stream}
    appointed = membership.AppointSteeringMember(**seat, principal=principal, role="work-stream-lead", fte=0.05)
    await teller.do("operator", appointed)
    if teller.random.random() < 0.5:
        await teller.do(principal, membership.StandDownSteeringMember(**seat, role="work-stream-lead"))
    await teller.do("operator", membership.CloseWorkStream(network=world.council, work_stream=stream))


async def a_network_forms(teller: Teller, world: World) -> None:
    steward = teller.random.choice(MEMBERS[ASKERS:])  # a peer is looked for, and nobody has but so many requests
    registered = membership.RegisterNetwork(
        name=teller.word(), reach="local", organisation=teller.random.choice(world.organisations), forming=True
    )
    network = str((await teller.do(steward, registered)).id)
    if teller.random.random() < 0.2:
        await teller.do(steward, membership.DeclareNetworkEstablished(network=network))
        return
    steps = get_args(membership.StarterStep)
    for step in (*steps[:-1], *steps):
        await teller.do(
            steward,
            membership.RecordStarterStep(network=network, step=step, done_on=date(2020, 1, steps.index(step) + 1)),
        )
        if step == steps[-2]:
            await teller.try_to(steward, membership.TakeBackStarterStep(network=network, step=step))


async def somebody_leaves(teller: Teller, world: World) -> None:
    """Nobody who represents a network is left, so its membership lapses; the events do not say what they came from."""
    steward, leaver = teller.random.sample(MEMBERS, 2)
    network = await register_network(teller, steward, world.organisations[EMPLOYER], OFFICES[EMPLOYER])
    person = teller.id()
    appointed = membership.AppointRepresentative(network=network, person=person, principal=leaver)
    await teller.do(steward, appointed)
    await teller.do("operator", membership.ConfirmNetworkHome(network=network))
    await teller.do(leaver, membership.ApplyForMembership(umbrella=world.fair, network=network))
    await teller.do("operator", membership.AdmitMemberNetwork(umbrella=world.fair, network=network))
    await teller.publish(membership.PersonLeft(person=person), "representative-stood-down", "member-network-lapsed")


async def a_partner_joins(teller: Teller, world: World) -> None:
    registered = membership.RegisterPartner(umbrella=world.council, name=teller.word(), type="charity")
    partner = str((await teller.do("operator", registered)).id)
    opened = membership.OpenWorkStream(network=world.council, name=teller.word())
    stream = str((await teller.do("operator", opened)).id)
    await teller.do("operator", membership.LinkPartner(partner=partner, work_stream=stream))
    if teller.random.random() < 0.5:
        await teller.do("operator", membership.UnlinkPartner(partner=partner, work_stream=stream))
    await teller.do("operator", membership.CloseWorkStream(network=world.council, work_stream=stream))
    await teller.do("operator", membership.EndPartnership(partner=partner))


async def a_concern_is_raised(teller: Teller, world: World) -> None:
    number = teller.random.randrange(len(world.members))
    raiser, other = MEMBERS[number], MEMBERS[number - 1]
    if by_deputy := teller.random.random() < 0.5:
        raiser, person = MEMBERS[number - 2], teller.id()
        named = membership.NameDeputy(network=world.members[number], person=person, principal=raiser)
        await teller.do(MEMBERS[number], named)
    phrase = f"{teller.word()} {teller.word()}" if teller.random.random() < 0.5 else None
    raised = membership.RaiseConcern(
        umbrella=world.council, title=teller.word(), text="There is no quiet room.", suggestion="A quiet room.",
        anonymous=phrase is not None, withdrawal_phrase=phrase,
    )  # fmt: skip
    concern = str((await teller.do(raiser, raised)).id)
    for principal, network in zip(MEMBERS, world.members, strict=True):
        await teller.do(principal, membership.EndorseConcern(concern=concern, network=network))
    taken_back = membership.TakeBackEndorsement(concern=concern, network=world.members[number - 1])
    await teller.do(other, taken_back)
    ending = teller.random.randrange(3)
    if ending == 0:
        withdrawn = membership.WithdrawConcern(concern=concern, reason="There is one.", withdrawal_phrase=phrase)
        await teller.do(raiser, withdrawn)
    if by_deputy:
        await teller.do(raiser, membership.WithdrawDeputy(network=world.members[number], person=person))
    if ending == 0:
        return
    reply_by = clock.now() + (SHORT_DEADLINE if ending == 1 else timedelta(days=30))
    submitted = membership.SubmitConcern(concern=concern, addressee="Human resources", reply_by=reply_by)
    ask = teller.try_to if ending == 1 else teller.do  # whoever comes after the deadline is refused, with good reason
    await ask("operator", submitted)
    if ending == 2:
        await teller.do("operator", membership.RecordConcernResponse(concern=concern, response="There will be one."))
        await teller.do(
            "operator", membership.CloseConcern(concern=concern, outcome="resolved", reason="There is one.")
        )


async def a_statement_is_issued(teller: Teller, world: World) -> None:
    author, soon = teller.random.choice(MEMBERS), teller.random.random() < 0.5
    drafted = membership.DraftStatement(umbrella=world.council, kind="report", title=teller.word(), text="Rest rooms.")
    statement = str((await teller.do(author, drafted)).id)
    elsewhere = world.organisations[EMPLOYER]  # no network speaks for it, so it writes letters
    due = clock.now() + (DUE_SOON if soon else timedelta(days=300))
    wanted = [
        membership.GivenRecommendation(text="A quiet room in each office.", addressee=who, organisation=which, due=due)
        for who, which in (("Every body", None), ("The last of them", elsewhere))
    ]
    revised = membership.ReviseStatement(statement=statement, text="Quiet rooms.", recommendations=tuple(wanted))
    # Whoever comes after it fell due is refused, with good reason: by a clock that is stepped, before the revision.
    ask = teller.try_to if soon else teller.do
    await ask(author, revised)
    until = clock.now() + timedelta(days=10)
    await teller.do(author, membership.ConsultOnStatement(statement=statement, until=until))
    voices = list(zip(MEMBERS, world.members, strict=True))
    for principal, network in voices:
        said = membership.CommentOnStatement(statement=statement, network=network, text="Yes.")
        await teller.do(principal, said)
    shown = await teller.see(author, membership.ShowStatement(statement=statement))
    issued = membership.IssueStatement(statement=statement, version=shown.version)
    await ask("operator", issued)
    if soon:
        return
    for principal, network in voices:
        await teller.do(principal, membership.SignStatement(statement=statement, network=network))
    await teller.do(MEMBERS[0], membership.WithdrawSignature(statement=statement, network=world.members[0]))
    await teller.do("operator", membership.RecordSignature(statement=statement, organisation=elsewhere))
    withdrawn = membership.RecordSignatureWithdrawal(statement=statement, organisation=elsewhere)
    await teller.do("operator", withdrawn)
    for recommendation in shown.recommendations:
        answer: dict[str, Any] = {"recommendation": recommendation.id, "status": "under-way"}
        if recommendation.organisation is None:
            await teller.do(author, membership.AnswerRecommendation(statement=statement, **answer))
        else:
            await teller.do("operator", membership.RecordRecommendationAnswer(statement=statement, **answer))


async def a_peer_helps(teller: Teller, world: World) -> None:
    asker, mentor = teller.random.randrange(ASKERS), teller.random.randrange(ASKERS, len(MEMBERS))
    offered = membership.OfferExperience(network=world.members[mentor], topics=("funding",), size="250-to-999")
    await teller.do(MEMBERS[mentor], offered)
    asked = membership.AskForHelp(network=world.members[asker], topic="funding", size="250-to-999", words="How?")
    request = str((await teller.do(MEMBERS[asker], asked)).id)
    offer = None
    while offer is None:  # a peer is looked for after the answer
        await teller.pause()
        shown = await teller.see(MEMBERS[asker], membership.ShowMyPeerSupport())
        offer = next(each.offer for each in shown.requests if each.id == request)
    await teller.do(MEMBERS[asker], membership.AcceptPeer(request=request, offer=offer))
    [theirs] = (await teller.see(MEMBERS[mentor], membership.ShowMyPeerSupport())).asked_of_me
    if teller.random.random() < 0.5:
        await teller.do(MEMBERS[mentor], membership.AcceptPeer(request=theirs.id, offer=theirs.offer))
        await teller.do(MEMBERS[asker], membership.RecordWhetherItHelped(request=request, helped="yes"))
    else:
        await teller.do(MEMBERS[mentor], membership.DeclinePeer(request=theirs.id, offer=theirs.offer))
        await teller.do(MEMBERS[asker], membership.WithdrawHelpRequest(request=request))
    await teller.do(MEMBERS[mentor], membership.EndOffer())


async def somebody_subscribes(teller: Teller, world: World) -> None:
    principal, topic = teller.random.choice(MEMBERS), teller.random.choice(get_args(notifications.Topic))
    region = teller.random.choice((None, *get_args(membership.Region)))
    await teller.try_to(principal, notifications.Subscribe(topic=topic, region=region))
    await teller.try_to(principal, notifications.Subscribe(topic=topic, role="steward"))
    if teller.random.random() < 0.5:
        await teller.do(principal, notifications.Unsubscribe(topic=topic))


MEASURES = tuple(benchmark.Measure(code=code, wording=f"{code} of work", unit="%") for code in ("B01", "B02"))


async def a_round_is_run(teller: Teller, world: World) -> None:
    loaded = benchmark.LoadInstrument(name=teller.word(), version="1", title="At work", measures=MEASURES)
    instrument = str((await teller.do("operator", loaded)).id)
    opened = benchmark.OpenRound(instrument=instrument, label=teller.word())
    round_ = str((await teller.do("operator", opened)).id)
    for _ in range(2):  # handed in, and amended
        await asyncio.gather(
            *(
                teller.do(principal, _scores(teller, round_, organisation))
                for principal, organisation in zip(MEMBERS, world.organisations, strict=False)
            )
        )
    await teller.do("operator", benchmark.CloseRound(round=round_))
    await teller.do("operator", benchmark.ReleaseRound(round=round_))


def _scores(teller: Teller, round_: str, organisation: str) -> benchmark.SubmitScores:
    scores = {m.code: benchmark.Score(value=teller.random.randrange(100), answers=20) for m in MEASURES}
    return benchmark.SubmitScores(round=round_, organisation=organisation, scores=scores)


async def a_survey_is_read(teller: Teller, world: World) -> None:
    rows = tuple(benchmark.SurveyRow(code=teller.word(), name=teller.word(), scores=(50.0, 60.0)) for _ in range(3))
    survey = benchmark.ImportPeopleSurvey(label=teller.word(), source="A survey", measures=MEASURES, rows=rows)
    round_, organisation = str((await teller.do("operator", survey)).id), teller.random.choice(world.organisations)
    linked = benchmark.LinkRespondent(round=round_, respondent=rows[0].code, organisation=organisation)
    await teller.do("operator", linked)
    principal = teller.word()
    await teller.do("operator", benchmark.NameDataSteward(organisation=organisation, principal=principal))
    await teller.do("operator", benchmark.RemoveDataSteward(principal=principal))


async def places_become_known(teller: Teller, world: World) -> None:
    office = teller.random.choice(OFFICES)
    host = world.organisations[OFFICES.index(office)]
    journey = events.GivenTravelTime(origin="Leeds", destination=office.place, minutes=teller.random.randrange(300))
    blackout = events.DeclareBlackout(name=teller.word(), first=date(2020, 1, 1), last=date(2020, 1, 2))
    done = await asyncio.gather(
        teller.do("operator", blackout),
        teller.do("operator", _venue(teller, office, host)),
        teller.do("operator", events.LoadTravelTimes(source="a timetable", journeys=(journey,))),
    )
    await teller.do("operator", events.LiftBlackout(blackout=str(done[0].id)))


async def a_meeting_is_planned(teller: Teller, world: World) -> None:
    """Asks for a plan and books it; one that does not come soon, since whoever worked on it died, comes unheeded."""
    if not teller.course.planning:
        await asyncio.sleep(PAUSE)
        return
    state: str = "in-hand"
    plan = str((await teller.do("operator", events.PlanMeetings(umbrella=world.council, meetings=1))).id)
    for _ in range(PLAN_LOOKS):
        await asyncio.sleep(PLAN_PAUSE)
        if (
            teller.course.ending
            or (state := (await teller.see("operator", events.ShowPlan(plan=plan))).state) != "in-hand"
        ):
            break
    if state == "planned":
        meeting = str((await teller.do("operator", events.BookMeeting(plan=plan, number=1))).id)
        await teller.do("operator", events.CancelMeeting(meeting=meeting, reason="The hall is flooded."))


CONFIDENTIAL: Sequence[Story] = (somebody_leaves, a_concern_is_raised, a_peer_helps)
"""Events that come of these do not say what they came of."""

STORIES: Sequence[Sequence[Story]] = (
    (a_network_comes_and_goes, somebody_leaves, organisations_change),
    (a_steward_goes, a_network_forms, a_register_is_read, a_register_publishes),
    (a_proposal_is_decided,),
    (a_concern_is_raised, a_statement_is_issued),
    (a_peer_helps,),
    (a_work_stream_runs_its_course, a_partner_joins, a_register_publishes),
    (somebody_subscribes,),
    (a_round_is_run, a_survey_is_read),
    (places_become_known,),
    (places_become_known,),
    (a_meeting_is_planned,),
)
"""Who tells what: each line is told by somebody of its own, beside the others."""
