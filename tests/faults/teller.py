"""Who tells the stories: the platform as seen from outside, and what is sent to it, drawn from the seed of the round.

Nobody here gives up: a command without an answer is sent again, under the same id, until there is one.
"""

import asyncio
import json
from itertools import cycle
from random import Random
from typing import Any, TypeVar, cast
from uuid import UUID

from nats import errors
from pydantic import BaseModel

from shared import clock
from shared.broker import Connection, NobodyAnswers, TimedOut, request
from shared.contracts import membership
from shared.contracts.cloudevent import STRUCTURED_HEADERS, write
from shared.contracts.membership import OrganisationRow
from shared.contracts.message import REGISTER, Command, Event, Inbound, Query, subject_of
from shared.contracts.platform import Done, Reply
from shared.streams import UNAVAILABLE
from shared.testing.mail_server import MailServer
from shared.testing.nats import NatsServer
from shared.testing.nats_cluster import NatsCluster
from tests.faults.ledger import Asked, Handed, Ledger
from tests.faults.schedule import PLATFORM

MEMBERS = ("ada", "ben", "cat", "dan", "eve")
WITNESS = "witness"
"""Subscribes to every topic before anything happens, so everything there is to tell must be told to it."""
REGISTER_NAME = "register"
"""Publishes what it knows of organisations."""

PATIENCE = 2.0
"""Seconds to wait for an answer before the command is sent again."""
PAUSE = 0.2
OVERLOADED = "overloaded"
"""The code of a refusal that is no answer: the same command is to be sent again."""
PACE = (0.02, 0.2)
"""Seconds between two steps of a story: enough to keep a service busy, and to leave it time to be started."""
ASKED_AGAIN = 0.1
"""How often a command is sent once more although it was answered, as by somebody who lost the answer."""
UNSTORABLE = "The organisation that no store will have"
"""A name that membership's rules take and its store is told to refuse (``Stack.refuse_to_store``)."""


Shown = TypeVar("Shown", bound=BaseModel)


class NotDone(Exception):
    """A command that nothing stood in the way of was not done; the checker finds it in the ledger."""


class Platform:
    """The platform as seen from outside: connections, and the ledger of what went over them."""

    def __init__(
        self,
        nats: NatsServer | NatsCluster,
        ledger: Ledger,
        receiver: str | None = None,
        mail: MailServer | None = None,
    ) -> None:
        """``receiver`` is where webhooks are posted to, ``mail`` takes mail; without them nobody has any."""
        self._nats = nats
        self.ledger = ledger
        self.receiver = receiver
        self.mail = mail
        self._as: dict[str, Connection] = {}

    async def connect(self) -> None:
        """Connects everybody there is in the stories."""
        people = {"operator": "operator", REGISTER_NAME: "publisher", "membership": "membership"}
        for name, role in people.items() | dict.fromkeys((*MEMBERS, WITNESS), "member").items():
            self._as[name] = await self._nats.connect(role, name)

    async def ask(self, principal: str, command: Command, id_: str, *, must_be_done: bool) -> Asked:
        """Sends a command until it is answered; the same id again adds one more answer."""
        asked = self.ledger.asked.setdefault(id_, Asked(id_, principal, command, must_be_done))
        payload = write(command, id=id_, source=f"/{principal}", time=clock.now())
        while True:
            asked.attempts += 1
            if (reply := await self._request(principal, command, payload)) is not None:
                asked.replies.append(reply)
                return asked

    async def query(self, principal: str, query: Query[Any], id_: str) -> Reply:
        """Asks a question until it is answered."""
        payload = write(query, id=id_, source=f"/{principal}", time=clock.now())
        while (reply := await self._request(principal, query, payload)) is None:
            continue
        return reply

    async def _request(self, principal: str, message: Command | Query[Any], payload: bytes) -> Reply | None:
        try:
            subject = subject_of(type(message), principal)
            answer = await request(self._as[principal], subject, payload, dict(STRUCTURED_HEADERS), PATIENCE)
        except (NobodyAnswers, TimedOut):
            await asyncio.sleep(PAUSE)
            return None
        reply = Reply.model_validate_json(answer.data)
        return None if reply.refusal and reply.refusal.code == OVERLOADED else reply

    async def hand_in(self, message: Inbound, id_: str, becomes: tuple[str, ...]) -> None:
        """Publishes an inbound message until the stream confirms it."""
        self.ledger.handed.setdefault(id_, Handed(id_, message, becomes))
        payload = write(message, id=id_, source=f"/{REGISTER_NAME}", time=clock.now())
        await self._publish(REGISTER_NAME, subject_of(type(message), REGISTER_NAME), payload)

    async def hand_in_unstorable(self, id_: str, key: str) -> None:
        """Publishes an inbound message whose organisation membership's store refuses, and nobody foresaw that."""
        self.ledger.unstorable.append(f"inbound /{REGISTER_NAME} {id_}")
        listed = membership.OrganisationListed(organisation=OrganisationRow(key=key, name=UNSTORABLE, format="council"))
        payload = write(listed, id=id_, source=f"/{REGISTER_NAME}", time=clock.now())
        await self._publish(REGISTER_NAME, subject_of(type(listed), REGISTER_NAME), payload)

    async def plant_poison(self, follower: str, id_: str, aggregate: str) -> None:
        """Puts an event into membership's stream that breaks its contract: the envelope is sound, the data is not."""
        heard = map(REGISTER.__getitem__, PLATFORM[follower].surface.events)
        contract = next(c for c in heard if issubclass(c, Event) and c.wire.owner == "membership")
        event = {
            "specversion": "1.0", "id": id_, "source": "/concord/membership", "type": contract.wire.type,
            "subject": aggregate, "sequence": 1, "data": {"poison": True},
        }  # fmt: skip
        self.ledger.poison[id_] = contract
        await self._publish("membership", subject_of(contract, aggregate), json.dumps(event).encode(), id_)

    async def _publish(self, principal: str, subject: str, payload: bytes, message_id: str | None = None) -> None:
        headers = dict(STRUCTURED_HEADERS) | ({"Nats-Msg-Id": message_id} if message_id else {})
        while True:
            try:
                answer = json.loads((await self._as[principal].request(subject, payload, 5, headers=headers)).data)
            except errors.Error:
                await asyncio.sleep(PAUSE)
                continue
            if answer.get("error", {}).get("code") == UNAVAILABLE:
                await asyncio.sleep(PAUSE)
                continue
            if "error" in answer:
                raise RuntimeError(f"{subject} was not taken: {answer['error']}")
            return


class Course:
    """What everybody goes by who tells stories beside one another."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.ending = False
        self.planning = True
        """Whether meetings are planned. Each plan is a core's second, and more of it if its process dies."""
        self.endings = cycle(("deadline", "early", "withdrawn"))  # in turn, so that even a slow round sees each
        self.publishing = True
        """Whether registers publish. What nobody has read is lost with its stream, and no store could fill it again."""


class Teller:
    """Tells stories one after another, all drawn from one source of chance."""

    def __init__(self, course: Course, random: Random) -> None:
        self.course = course
        self.platform = course.platform
        self.random = random

    def id(self) -> str:
        """A new id, which is the same one whenever the round is run again."""
        return str(UUID(int=self.random.getrandbits(128), version=4))

    def word(self) -> str:
        """A name nothing else has."""
        return f"n{self.random.getrandbits(60):x}"

    async def pause(self) -> None:
        await asyncio.sleep(self.random.uniform(*PACE))

    async def do(self, principal: str, command: Command) -> Done:
        """Has something done that nothing stands in the way of."""
        reply = await self._ask(principal, command, must_be_done=True)
        if reply.done is None:
            raise NotDone
        return reply.done

    async def try_to(self, principal: str, command: Command) -> None:
        """Asks for something that may be refused."""
        await self._ask(principal, command, must_be_done=False)

    async def publish(self, message: Inbound, *becomes: str) -> None:
        """Publishes a message, which is to become these events, unless registers are silent for the time being."""
        id_, again = self.id(), self.random.random() < 0.5  # its program does not know whether it was heard
        for _ in range(1 + again):
            await self.pause()
            if self.course.publishing:
                await self.platform.hand_in(message, id_, becomes)

    async def see(self, principal: str, query: Query[Shown]) -> Shown:
        """What somebody is shown."""
        reply = await self.platform.query(principal, query, self.id())
        if reply.answer is None:
            raise NotDone
        return cast("Shown", query.result().model_validate(reply.answer))

    async def _ask(self, principal: str, command: Command, *, must_be_done: bool) -> Reply:
        # Drawn before anything is waited for, so that it is the same however fast the answers come.
        id_, again = self.id(), self.random.random() < ASKED_AGAIN
        await self.pause()
        asked = await self.platform.ask(principal, command, id_, must_be_done=must_be_done)
        if again:
            await self.platform.ask(principal, command, id_, must_be_done=must_be_done)
        return asked.replies[0]
