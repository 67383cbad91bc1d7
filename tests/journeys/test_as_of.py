"""What a secretariat asks of the past, on the whole platform."""

import pytest

from deploy.people import People, new_id
from shared import clock
from shared.contracts import membership

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_who_held_which_seat_and_which_bodies_had_no_network_is_answered_as_of_a_moment(people: People) -> None:
    """Point-in-time: as it stood, and nobody named who has left since."""
    listed = membership.RegisterOrganisation(key="leeds-city-council", name="Leeds City Council", type="council")
    council = await people.make("operator", listed)
    without = membership.ListOrganisations(without_network=True)
    before = clock.now()
    assert (await people.ask("operator", without)).total == 1

    await people.enter("secretariat")
    rules = membership.GivenUmbrellaRules()
    founding = membership.RegisterNetwork(name="Ours", reach="national", organisation=council, umbrella=rules)
    umbrella = await people.make("secretariat", founding)
    leader = new_id()
    seat = {"network": umbrella, "person": leader, "role": "lead"}
    await people.tell("secretariat", membership.AppointSteeringMember(**seat, principal="secretariat", fte=0.5))
    led = clock.now()
    groups = membership.ListSteeringGroups(as_of=led)
    [line] = (await people.ask("operator", groups)).steering_groups
    assert [(each.person, each.fte) for each in line.steering_group.seats] == [(leader, 0.5)]
    await people.tell("secretariat", membership.StandDownSteeringMember(**seat))

    [line] = (await people.ask("operator", groups)).steering_groups
    assert [(each.person, each.fte) for each in line.steering_group.seats] == [(None, 0.5)]
    assert (await people.ask("operator", without)).total == 0
    assert (await people.ask("operator", without.model_copy(update={"as_of": before}))).total == 1
