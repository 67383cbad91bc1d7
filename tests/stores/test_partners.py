"""Partners from command to row to answer, on SQLite and on PostgreSQL alike."""

from concurrent.futures import ThreadPoolExecutor

from services.membership import tables
from shared.contracts.membership import (
    CloseWorkStream,
    EndPartnership,
    LinkPartner,
    ListPartners,
    OpenWorkStream,
    RegisterPartner,
    UnlinkPartner,
)
from tests.stores.test_membership import Service, new_id, service

__all__ = ["service"]  # a fixture


def test_partners_are_registered_linked_listed_by_work_stream_unlinked_and_ended(service: Service) -> None:
    umbrella = service.umbrella()
    stress, sleep = (service.do(OpenWorkStream(network=umbrella, name=name)) for name in ("Stress", "Sleep"))
    mind = service.do(RegisterPartner(umbrella=umbrella, name="Mind", type="charity"))
    trust = service.do(RegisterPartner(umbrella=umbrella, name="A trust", type="nhs-body"))
    for partner, stream in ((mind, stress), (mind, sleep), (trust, sleep)):
        service.do(LinkPartner(partner=partner, work_stream=stream))

    def listed(stream: str) -> list[str]:
        return [each.name for each in service.ask(ListPartners(work_stream=stream)).partners]

    assert (listed(stress), listed(sleep)) == (["Mind"], ["Mind", "A trust"])
    service.do(UnlinkPartner(partner=mind, work_stream=stress))
    assert listed(stress) == []
    service.do(CloseWorkStream(network=umbrella, work_stream=sleep))
    [shown] = service.ask(ListPartners(umbrella=umbrella, limit=1)).partners
    assert [(each.name, each.ongoing) for each in shown.work_streams] == [("Sleep", False)]
    service.do(EndPartnership(partner=mind))
    assert listed(sleep) == ["A trust"]
    assert [each.name for each in service.ask(ListPartners(type="charity", with_ended=True)).partners] == ["Mind"]
    again = service.do(RegisterPartner(umbrella=umbrella, name="Mind", type="charity"))
    assert again != mind
    assert service.told_names(mind) == [
        "partner-registered",
        "partner-linked",
        "partner-linked",
        "partner-unlinked",
        "partnership-ended",
    ]


def test_strangers_and_unknown_partners_are_refused(service: Service) -> None:
    umbrella = service.umbrella()
    register = RegisterPartner(umbrella=umbrella, name="Mind", type="charity")
    assert service.refused(register, "stranger") == "not-of-the-steering-group"
    partner = service.do(register)
    assert service.refused(EndPartnership(partner=partner), "stranger") == "not-of-the-steering-group"
    assert service.refused(EndPartnership(partner=new_id())) == "partner-unknown"
    elsewhere = register.model_copy(update={"organisation": new_id(), "name": "Else"})
    assert service.refused(elsewhere) == "organisation-unknown"


def test_a_partner_is_registered_once_under_concurrent_transactions(service: Service) -> None:
    register = RegisterPartner(umbrella=service.umbrella(), name="Mind", type="charity")
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: service.send(register), range(4)))
    assert sorted(reply["outcome"] for reply in replies) == ["done"] + ["refused"] * 3
    assert service.count(tables.partners) == 1
