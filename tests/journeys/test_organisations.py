"""Real registers, texts that mean their bodies, and a merger, on the whole platform."""

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy import organisation_file
from deploy.cli import app
from deploy.local_stack import LocalStack
from deploy.people import People, new_id
from shared import clock
from shared.contracts import cloudevent, membership
from shared.contracts.membership import ImportOrganisations
from shared.contracts.message import subject_of
from shared.contracts.notifications import DeliveryView, ListDeliveries

pytestmark = pytest.mark.asyncio(loop_scope="module")

REGISTERS = (
    "govuk_organisations_2026.csv",
    "local_authorities_2025.csv",
    "nhs_trusts_2026.csv",
    "nhs_integrated_care_boards_2026.csv",
)


async def match(people: People, text: str) -> membership.OrganisationCandidates:
    return await people.ask("operator", membership.MatchOrganisation(text=text))


async def test_four_registers_become_one_and_any_text_finds_a_body_in_it(people: People, real_data: Path) -> None:
    for register in REGISTERS:
        command = organisation_file.read((real_data / register).read_bytes())
        assert isinstance(command, ImportOrganisations), command
        await people.tell("operator", command)
        await people.tell("operator", command)  # a second time without effect
    page = await people.ask("operator", membership.ListOrganisations(limit=1))
    assert page.total == 663 + 397 + 202 + 36
    for text, key in {
        "dept for work & pensions": "department-for-work-pensions",
        "D.W.P.": "department-for-work-pensions",
        "Cyngor Caerdydd": "local-authority-crf",
        "Nottinghamsire Healthcare NHS FT": "nhs-trust-rha",
        "North Bristol NHS Trust": "nhs-trust-ra7",
        "Cheshire & Merseyside Integrated Care Board": "integrated-care-board-qyg",
        "department for international development": "foreign-commonwealth-development-office",
    }.items():
        found = await match(people, text)
        assert (found.candidates[0].key, found.certain) == (key, found.candidates[0].id), found
    for text in ("Public Health England", "Medway", "Leeds Royal College"):
        found = await match(people, text)
        assert (found.certain, found.answer.startswith("None is certain: ")) == (None, True), found


async def test_commands_and_inbound_messages_are_taken_in_binary_mode_too(people: People) -> None:
    await people.enter("register", "publisher")
    row = membership.OrganisationRow(key="zetland-holl", name="Zetland Höll", format="council")
    command = membership.RegisterOrganisation(key="orkney-holm", name="Orkney – Holm", type="council")
    said = {"id": new_id(), "time": clock.now()}
    headers, data = cloudevent.binary(command, source="/operator", **said)
    headers["content-type"] = "application/json"
    reply = await people.send_bytes("operator", subject_of(type(command), "operator"), data, headers)
    assert reply.done is not None, reply
    listed = membership.OrganisationListed(organisation=row)
    headers, data = cloudevent.binary(listed, source="/register", **said)
    headers["content-type"] = "application/json"
    await people.publish_bytes("register", subject_of(type(listed), "register"), data, headers)

    async def both_are_there() -> bool:
        return [(await match(people, name)).certain is None for name in ("Orkney – Holm", "Zetland Höll")] == [
            False
        ] * 2

    await people.until("both are registered", both_are_there)


async def test_a_merger_finds_networks_a_new_home_and_tells_whoever_speaks_for_them(people: People) -> None:
    async def body(key: str, name: str) -> str:
        return await people.make("operator", membership.RegisterOrganisation(key=key, name=name, type="nhs-body"))

    solent, southern, heir = [
        await body(key, name)
        for key, name in (("solent", "Solent Care"), ("southern", "Southern Care"), ("both", "Hampshire Care"))
    ]
    await people.enter("steward")
    await people.enter("speaker")
    network = await people.make(
        "steward", membership.RegisterNetwork(name="Solent staff network", reach="local", organisation=solent)
    )
    await people.tell(
        "steward", membership.AppointRepresentative(network=network, person=new_id(), principal="speaker")
    )
    renamed = membership.RenameOrganisation(organisation=solent, name="Solent Community Care")
    await people.tell("operator", renamed)
    await people.tell("operator", membership.MergeOrganisations(organisations=(solent, southern), into=heir))
    assert (await people.ask("operator", membership.ShowNetwork(network=network))).organisation == heir
    for text in ("Solent Care", "Solent Community Care", "Southern Care"):
        assert (await match(people, text)).certain == heir
    story = await people.ask("operator", membership.ShowOrganisation(organisation=heir))
    assert {step.id for step in story.predecessors} == {solent, southern}

    found: list[DeliveryView] = []

    async def is_told() -> bool:
        page = await people.ask("speaker", ListDeliveries(limit=500))
        found[:] = [each for each in page.deliveries if each.event == "concord.membership.network-carried-over.v1"]
        return bool(found)

    await people.until("the representative is told", is_told)
    assert found[0].sentence == ("Solent staff network has a new home organisation, which came after its former one.")


async def test_the_answer_begins_in_a_terminal_with_what_is_certain(people: People, stack: LocalStack) -> None:
    assert (await match(people, "Hampshre Care")).certain is not None
    asked = ["ask", "membership", "match-organisation", "--text", "Hampshre Care", "--data", str(stack.directory)]
    said = (await asyncio.to_thread(CliRunner().invoke, app, asked)).stdout
    assert said.splitlines()[0].rstrip() == "answer   Certain: Hampshire Care.", said
    assert ["0.95", "name", "Hampshire Care", "Hampshire Care"] in [
        [cell.strip() for cell in line.split("  ") if cell.strip()][:4] for line in said.splitlines()
    ], said
