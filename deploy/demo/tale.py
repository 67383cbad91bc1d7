"""The tale the demonstration tells, chapter by chapter. People, networks, venues and proposals in it are made up."""

import asyncio
from datetime import timedelta
from pathlib import Path

import uuid_utils

from deploy import organisation_file, people_survey_file
from deploy.demo.stage import DemonstrationFailed, Stage
from shared import clock
from shared.contracts import benchmark, events, membership
from shared.contracts.membership import GivenUmbrellaRules
from shared.contracts.notifications import ListSubscriptions, Subscribe
from shared.refusal import Refusal

HERE = Path(__file__).parent
ROUND = "2026"
LAST_TO_JOIN = "met-office"
TOPICS = ("membership", "steering", "decisions", "meetings", "benchmark")

VENUES = (
    # key of the host, capacity, step-free
    ("hm-treasury", 120, True),
    ("department-of-health-and-social-care", 150, True),
    ("ofsted", 90, True),
    ("insolvency-service", 110, True),
    ("companies-house", 80, True),
    ("the-scottish-government", 140, True),
    ("nhs-business-services-authority", 100, True),
    ("environment-agency", 95, False),
    ("driver-and-vehicle-standards-agency", 85, True),
    ("department-for-environment-food-rural-affairs", 30, True),
)


class Tale:
    """What happens, in order. Each chapter leaves what the next one builds on."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.organisations: dict[str, membership.OrganisationView] = {}
        self.umbrella = ""
        self.networks: dict[str, str] = {}  # key of its organisation → network
        self.plan: events.PlanView | None = None
        self.meeting = ""
        self.standing: benchmark.Standing | None = None

    async def tell(self) -> None:
        """The whole tale."""
        await self._found()
        await self._seat()
        await self._decide()
        await self._overcome_a_block()
        await self._plan()
        await self._benchmark()

    # ---- 1 -------------------------------------------------------------------------------------------------------

    async def _found(self) -> None:
        stage = self.stage
        stage.chapter(1, "A network of networks is founded")
        await asyncio.gather(stage.enter("operator", "operator"), stage.enter("secretariat"))
        await stage.enter("news-desk", "subscriber")
        register = organisation_file.read((HERE / "organisations.csv").read_bytes(), "demonstration")
        if isinstance(register, Refusal):
            raise DemonstrationFailed(register.sentence)
        await stage.tell("operator", register)
        page = await stage.ask("operator", membership.ListOrganisations(limit=500))
        self.organisations = {one.key: one for one in page.organisations}
        stage.say(f"{len(self.organisations)} real public bodies are taken in from a register file, parents included.")

        self.umbrella = await stage.make(
            "secretariat",
            membership.RegisterNetwork(
                name="Cross-Government Wellbeing Network",
                reach="national",
                organisation=self.organisations["cabinet-office"].id,
                umbrella=GivenUmbrellaRules(),
            ),
        )
        await asyncio.gather(*(self._join(key) for key in self.organisations if key != LAST_TO_JOIN))
        stage.say(
            f"{len(self.networks)} of their staff networks have joined the Cross-Government Wellbeing Network. "
            "Each has one voice there, whatever its size."
        )
        await self._news_desk_subscribes()
        await self._join(LAST_TO_JOIN)
        await stage.until_heard(membership.MemberNetworkAdmitted)
        why = "; ".join(stage.notices[-1].why)
        stage.say(f"Every notice says why it came. The last one: “{why}”.")

    async def _news_desk_subscribes(self) -> None:
        """Once notifications has caught up, so that the audience is not told again what it has just seen."""
        speakers = [speaker_of(key) for key in self.networks]

        async def caught_up() -> bool:
            asked = (self.stage.ask(speaker, ListSubscriptions()) for speaker in speakers)
            return all(page.by_default for page in await asyncio.gather(*asked))

        await self.stage.until("notifications knows every representative", caught_up)
        for topic in TOPICS:
            await self.stage.tell("news-desk", Subscribe(topic=topic))
        await self.stage.listen("news-desk")
        self.stage.say("A subscriber, the news desk, is told of everything from now on (✉). One more network joins:")

    async def _join(self, key: str) -> None:
        stage, organisation = self.stage, self.organisations[key]
        speaker = speaker_of(key)
        await stage.enter(speaker)
        network = await stage.make(
            speaker,
            membership.RegisterNetwork(
                name=f"{organisation.name} staff network", reach="local", organisation=organisation.id
            ),
        )
        await stage.tell(
            speaker, membership.AppointRepresentative(network=network, person=new_person(), principal=speaker)
        )
        await stage.tell(speaker, membership.ApplyForMembership(umbrella=self.umbrella, network=network))
        await stage.tell("secretariat", membership.AdmitMemberNetwork(umbrella=self.umbrella, network=network))
        self.networks[key] = network

    # ---- 2 -------------------------------------------------------------------------------------------------------

    async def _seat(self) -> None:
        stage = self.stage
        stage.chapter(2, "A steering group is seated")
        for key in ("met-office", "welsh-government"):
            await stage.tell("secretariat", self._seat_for(key, "lead", 0.5))
        stage.say("Two co-leads share one job, half a post each: Met Office and Welsh Government.")
        streams = ("Peer support", "First aid", "Line managers", "Evidence", "Communications")
        holders = ("ofsted", "companies-house", "home-office", "uk-statistics-authority", "student-loans-company")
        for name, key in zip(streams, holders, strict=True):
            await stage.tell("secretariat", membership.OpenWorkStream(network=self.umbrella, name=name))
            stream = await self._stream_called(name)
            await stage.tell("secretariat", self._seat_for(key, "work-stream-lead", 0.9, stream))
        await stage.until_heard(membership.SteeringMemberAppointed, 7)
        await stage.tell("secretariat", membership.OpenWorkStream(network=self.umbrella, name="Campaigns"))
        await stage.until_heard(membership.WorkStreamOpened, 6)
        stream = await self._stream_called("Campaigns")
        refusal = await stage.try_in_vain(
            "secretariat", self._seat_for("environment-agency", "work-stream-lead", 1.0, stream)
        )
        stage.say("Five work streams have a lead at 0.9 each, so 5.5 of at most 6 full-time posts are taken.")
        stage.show_refusal("A sixth lead is proposed at a full post:", refusal)

    async def _stream_called(self, name: str) -> str:
        view = await self.stage.ask("secretariat", membership.ShowNetwork(network=self.umbrella))
        if view.steering_group is None:
            raise DemonstrationFailed("the umbrella network has no steering group")
        return next(seat.work_stream for seat in view.steering_group.seats if seat.work_stream and seat.name == name)

    def _seat_for(
        self, key: str, role: membership.SteeringRole, fte: float, work_stream: str | None = None
    ) -> membership.AppointSteeringMember:
        return membership.AppointSteeringMember(
            network=self.umbrella, person=new_person(), principal=speaker_of(key), role=role,
            work_stream=work_stream, fte=fte,
        )  # fmt: skip

    # ---- 3 and 4 -------------------------------------------------------------------------------------------------

    async def _decide(self) -> None:
        stage = self.stage
        stage.chapter(3, "A proposal is decided, and one network stands aside")
        proposal = await self._propose(
            "A mental health first aider on every site",
            "Each member body sees to it that every site and shift has a trained mental health first aider.",
        )
        reasons: dict[str, tuple[membership.Position, str | None]] = {
            "maritime-and-coastguard-agency": ("stand-aside", "Our crews at sea are trained by another scheme."),
            "social-security-scotland": ("reservations", "Time for training must be given, not found."),
            "land-registry": ("reservations", "Small sites need to be able to share."),
        }
        await self._positions(proposal, {key: reasons.get(key, ("consent", None)) for key in self.networks})
        await self._close(proposal, 1)

    async def _overcome_a_block(self) -> None:
        stage = self.stage
        stage.chapter(4, "A block is met by an amendment")
        proposal = await self._propose(
            "Name the bodies in the wellbeing benchmark", "The yearly benchmark names every body and its scores."
        )
        block = "Ours is a small body. With names, people could be picked out by their answers."
        answers: dict[str, tuple[membership.Position, str | None]] = dict.fromkeys(self.networks, ("consent", None))
        await self._positions(proposal, answers | {"uk-hydrographic-office": ("block", block)})
        refusal = await stage.try_in_vain(speaker_of("cabinet-office"), membership.CloseProposal(proposal=proposal))
        stage.say(f"{len(self.networks) - 1} networks consent. The UK Hydrographic Office network blocks: “{block}”")
        stage.show_refusal("The author tries to close it all the same:", refusal)
        await stage.tell(
            speaker_of("cabinet-office"),
            membership.AmendProposal(
                proposal=proposal,
                title="A wellbeing benchmark without names",
                text="The yearly benchmark shows each body its own scores against the median; nobody sees another's.",
            ),
        )
        stage.say(
            "It is amended: each body sees itself against the median, and no names. Every network is asked again."
        )
        await stage.until_heard(membership.ProposalAmended)
        await self._positions(proposal, answers)
        await self._close(proposal, 2)

    async def _propose(self, title: str, text: str) -> str:
        author = speaker_of("cabinet-office")
        proposal = await self.stage.make(
            author, membership.DraftProposal(umbrella=self.umbrella, title=title, text=text)
        )
        deadline = clock.now() + timedelta(days=14)
        await self.stage.tell(author, membership.OpenProposal(proposal=proposal, deadline=deadline))
        self.stage.say(f"[bold]{title}[/]: {text}")
        return proposal

    async def _positions(self, proposal: str, positions: dict[str, tuple[membership.Position, str | None]]) -> None:
        await asyncio.gather(
            *(
                self.stage.tell(
                    speaker_of(key),
                    membership.TakePosition(
                        proposal=proposal, network=self.networks[key], position=position, reason=reason
                    ),
                )
                for key, (position, reason) in positions.items()
            )
        )

    async def _close(self, proposal: str, times: int) -> None:
        stage = self.stage
        await stage.tell(speaker_of("cabinet-office"), membership.CloseProposal(proposal=proposal))
        await stage.until_heard(membership.ProposalDecided, times)
        view = await stage.ask("secretariat", membership.ShowProposal(proposal=proposal))
        if view.decision is None or view.decision.outcome != "agreed":
            raise DemonstrationFailed(f"{view.title} is not agreed: {view.decision.sentence if view.decision else ''}")
        stage.say(f"[green]✓ {view.decision.outcome}:[/] {view.decision.sentence}")
        given = [(voice.name, voice.stance) for voice in view.voices if voice.stance and voice.stance.reason]
        if given:
            rows = [(name, stance.position, stance.reason or "") for name, stance in given]
            stage.table(("network", "position", "reason"), rows)

    # ---- 5 -------------------------------------------------------------------------------------------------------

    async def _plan(self) -> None:
        stage = self.stage
        stage.chapter(5, "Two meetings are planned, so that the travel is shared fairly")
        for key, capacity, step_free in VENUES:
            await stage.tell("operator", _venue(self.organisations[key], capacity, step_free=step_free))

        async def everyone_is_known() -> bool:
            ledger = await stage.ask("operator", events.ShowLedger(umbrella=self.umbrella))
            return len(ledger.totals) == len(self.networks)

        await stage.until("events knows every member network", everyone_is_known)
        plan = await stage.make("operator", events.PlanMeetings(umbrella=self.umbrella, meetings=2))

        async def is_planned() -> bool:
            self.plan = await stage.ask("operator", events.ShowPlan(plan=plan))
            return self.plan.state != "in-hand"

        await stage.until("the plan is worked out", is_planned)
        await stage.until_heard(events.MeetingsPlanned)
        if self.plan is None:
            raise DemonstrationFailed("there is no plan")
        self._explain_the_plan(self.plan)
        self.meeting = await stage.make("operator", events.BookMeeting(plan=plan, number=1))
        await stage.until_heard(events.MeetingBooked)
        stage.say("The first one is booked; its invitation is a calendar file.")

    def _explain_the_plan(self, plan: events.PlanView) -> None:
        if plan.certificate is None:
            raise DemonstrationFailed(f"no meetings could be planned: {plan.sentence}")
        stage, certificate = self.stage, plan.certificate
        names = plan.names
        for meeting in plan.meetings:
            why = certificate.dates[meeting.number - 1]
            stage.say(f"[bold]{meeting.date:%A %-d %B %Y}[/] at [bold]{names[meeting.venue]}[/]: {why}.")
        proof = "proven to be the least possible" if certificate.proof == "optimal" else "not proven least"
        stage.say(
            f"The worst off network travels {_hours(certificate.worst)} to both meetings together, {proof}. "
            "Next the second worst was made as small as it can be, and so on down to the last."
        )
        stage.table(
            ("who travels longest", "first", "second", "together"),
            [
                (names[one.network], *(_hours(minutes) for minutes in one.minutes), _hours(one.after))
                for one in certificate.burdens[:4]
            ],
            numbers=(1, 2, 3),
        )
        stage.say("Why not elsewhere, for the first meeting:")
        stage.table(
            ("venue", "what speaks against it"),
            [
                (names[verdict.venue], _verdict(verdict, certificate.worst))
                for verdict in certificate.verdicts
                if verdict.number == 1
            ],
        )
        if other := certificate.alternative:
            places = " and ".join(names[venue] for venue in other.venues)
            stage.say(
                f"The best other choice, {places}, would leave somebody with {_hours(other.worst)}. "
                "Journeys are estimates from coordinates and say so; an operator can load known ones."
            )

    # ---- 6 -------------------------------------------------------------------------------------------------------

    async def _benchmark(self) -> None:
        stage = self.stage
        stage.chapter(6, "A benchmark shows where each body stands, and exposes nobody")
        content = (HERE / "made_up_survey_2026.csv").read_bytes()
        survey = people_survey_file.read(content, ROUND, source="Made up for this demonstration")
        if isinstance(survey, Refusal):
            raise DemonstrationFailed(survey.sentence)

        async def every_body_is_known() -> bool:
            listed = await stage.ask("operator", benchmark.ListRounds(label=ROUND))
            if not listed.rounds:
                return False
            known = await stage.ask("operator", benchmark.ListRespondents(round=listed.rounds[0].id))
            return known.unlinked == 0

        await stage.tell("operator", survey)
        await stage.until("benchmark knows every body of the survey", every_body_is_known)
        [round_] = (await stage.ask("operator", benchmark.ListRounds(label=ROUND))).rounds
        await stage.tell("operator", benchmark.ReleaseRound(round=round_.id))
        await stage.until_heard(benchmark.RoundReleased)
        stage.say(f"{round_.respondents} bodies answered six questions. [italic]All figures are made up.[/]")
        by_type = await stage.ask("operator", benchmark.ShowDistribution(round=round_.id, measure="S3", by="type"))
        stage.say(f"[bold]{by_type.measure.wording}[/], the median of organisations by kind, each counting once:")
        stage.table(
            ("kind", "bodies", "median", ""),
            [
                (
                    one.group or "all",
                    "" if one.organisations is None else str(one.organisations),
                    "" if one.median is None else f"{one.median:.0f} %",
                    f"withheld: {one.withheld.sentence}" if one.withheld else "",
                )
                for one in by_type.distributions
            ],
            numbers=(1, 2),
        )
        own = self.organisations["met-office"]
        await stage.tell("operator", benchmark.NameDataSteward(organisation=own.id, principal=speaker_of("met-office")))
        ask = benchmark.ShowStanding(round=round_.id, organisation=own.id)
        refusal = await stage.try_in_vain(speaker_of("ofsted"), ask)
        stage.show_refusal("Ofsted asks for the scores of the Met Office:", refusal)
        self.standing = await stage.ask(speaker_of("met-office"), ask)
        stage.say("The Met Office asks for its own:")
        stage.table(
            ("question", "own score", "median of all", "same kind"),
            [
                (
                    score.measure.wording,
                    "suppressed" if score.value is None else f"{score.value:.0f} %",
                    _median(score.everyone),
                    _median(score.same_type),
                )
                for score in self.standing.scores
            ],
            numbers=(1, 2, 3),
        )


def _venue(host: membership.OrganisationView, capacity: int, *, step_free: bool) -> events.RegisterVenue:
    """A made-up room at a real body's office."""
    given = {"place": host.place, "region": host.region, "nation": host.nation,
             "latitude": host.latitude, "longitude": host.longitude}  # fmt: skip
    return events.RegisterVenue.model_validate(
        given | {"name": host.name, "host": host.id, "capacity": capacity, "step_free": step_free}
    )


def _median(against: benchmark.Against | None) -> str:
    if against is None:
        return ""
    median = against.distribution.median
    return "withheld" if median is None else f"{median:.0f} %"


def _verdict(verdict: events.VenueVerdict, worst: int) -> str:
    if verdict.rules:
        return "; ".join(RULES[rule] for rule in verdict.rules)
    if verdict.worst is None:
        return "allowed, and never part of the best plan"
    more = verdict.worst - worst
    return f"allowed; somebody would travel {_hours(more)} more" if more > 0 else "allowed; others would bear more"


RULES: dict[events.Rule, str] = {
    "capacity": "too small for everybody",
    "step-free": "not every room is step-free",
    "london": "London at most one time in three, and never twice running",
    "host-turn": "its host has another of these meetings, or had one lately",
    "region-turn": "its region has another of these meetings, or had one lately",
}


def _hours(minutes: int) -> str:
    return f"{minutes // 60} h {minutes % 60:02} min"


def speaker_of(key: str) -> str:
    """The handle of who speaks for a body's network: it names the body, never a person."""
    return f"{key[:50]}-speaker"


def new_person() -> str:
    """An opaque id for a made-up person."""
    return str(uuid_utils.uuid7())
