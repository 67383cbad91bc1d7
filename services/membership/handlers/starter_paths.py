"""Starter paths: begun with the registration of a forming network, walked by its steward, and seen by whoever asks."""

from collections.abc import Mapping

from services.membership import store
from services.membership.domain import network, starter_path
from services.membership.domain.network import Network
from services.membership.domain.starter_path import STEPS, StarterPath
from services.membership.handlers import peer_support
from services.membership.handlers.surface import on
from services.membership.store import NETWORKS, ORGANISATIONS, STARTER_PATHS
from shared.contracts.membership import (
    DeclareNetworkEstablished,
    HelpRequestView,
    ListStarterPaths,
    PeerTopic,
    RecordStarterStep,
    ShowStarterPath,
    StarterPathPage,
    StarterPathView,
    StarterStepView,
    TakeBackStarterStep,
)
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.unit_of_work import Place, Reader, Work

OnTheWay = RecordStarterStep | TakeBackStarterStep | DeclareNetworkEstablished


def begin(registered: Done, work: Work, *, has: Mapping[int, PeerTopic]) -> Done:
    """Gives a network that was just registered as forming its path, and its steward a request for a peer."""
    found = work.load(NETWORKS, registered.id or "")
    if found is None:
        raise LookupError(f"the network {registered.id} was not registered in this work")
    path = work.new_id()
    begun = work.save(STARTER_PATHS, path, starter_path.begin(path, found.id, work.now))
    home = work.load(ORGANISATIONS, found.organisation) if found.organisation else None
    request = starter_path.peer_request(found, home, new_id=work.new_id(), has=has)
    if request:
        peer_support.seek_peer(request, work)
    events = begun.events if isinstance(begun, Done) else ()
    return Done(id=registered.id, events=(*registered.events, *events))


# ---- on the way ----------------------------------------------------------------------------------------------------


def _network(command: OnTheWay) -> list[Place]:
    return [(NETWORKS, command.network)]


def _load(id_: str, work: Work | Reader) -> tuple[Network, StarterPath | None] | Refusal:
    found = work.load(NETWORKS, id_)
    return (found, store.starter_path_of(work, id_)) if found else network.unknown(id_)


@on.command(RecordStarterStep, loads=_network)
def record_starter_step(command: RecordStarterStep, work: Work) -> Done | Refusal:
    found = _load(command.network, work)
    if isinstance(found, Refusal):
        return found
    walker, path = found
    decision = starter_path.record(path, walker, command, work.principal, work.now)
    return work.save(STARTER_PATHS, path.id if path else "", decision)


@on.command(TakeBackStarterStep, loads=_network)
def take_back_starter_step(command: TakeBackStarterStep, work: Work) -> Done | Refusal:
    found = _load(command.network, work)
    if isinstance(found, Refusal):
        return found
    walker, path = found
    decision = starter_path.take_back(path, walker, command, work.principal)
    return work.save(STARTER_PATHS, path.id if path else "", decision)


@on.command(DeclareNetworkEstablished, loads=_network)
def declare_network_established(command: DeclareNetworkEstablished, work: Work) -> Done | Refusal:
    found = _load(command.network, work)
    if isinstance(found, Refusal):
        return found
    walker, path = found
    decision = starter_path.establish(path, walker, work.principal, work.now)
    return work.save(STARTER_PATHS, path.id if path else "", decision)


# ---- questions -----------------------------------------------------------------------------------------------------


@on.query(ShowStarterPath)
def show_starter_path(query: ShowStarterPath, reader: Reader) -> StarterPathView | Refusal:
    found = _load(query.network, reader)
    if isinstance(found, Refusal):
        return found
    walker, path = found
    if path is None:
        return starter_path.no_path(walker)
    return StarterPathView(
        id=path.id,
        network=walker.id,
        name=walker.name,
        begun_at=path.begun_at,
        steps=tuple(StarterStepView(step=step, what=what, done_on=path.done.get(step)) for step, what in STEPS.items()),
        done=len(path.done),
        next=starter_path.next_step(path),
        established_at=path.established_at,
        peer=_peer(walker, reader),
    )


def _peer(walker: Network, reader: Reader) -> HelpRequestView | None:
    """What whoever asks may see of their own request for a peer for this network, and of nobody else's."""
    _, requests, _ = store.peer_support_of(reader, reader.principal)
    mine = [
        request
        for request in requests
        if (request.network, request.topic) == (walker.id, starter_path.TOPIC) and request.state != "ended"
    ]
    return next(iter(peer_support.as_asked(mine, reader)), None)


@on.query(ListStarterPaths)
def list_starter_paths(query: ListStarterPaths, reader: Reader) -> StarterPathPage:
    return store.starter_path_page(reader, query)
