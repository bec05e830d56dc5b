"""Leases in virtual time: at no moment do two controllers believe that they hold the same fleet."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import looptime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.fleet.lease import (
    ControllerLease,
    HolderWatch,
    lease_name,
    new_controller_id,
    shared_holders,
    shared_lease,
)
from airflow_provider_spotmix.kube.errors import ApiUnavailable, Forbidden
from airflow_provider_spotmix.kube.resources import LEASES
from tests.kube.memory import MemoryKube, MemoryServer

pytestmark = pytest.mark.looptime


def clock() -> float:
    return asyncio.get_running_loop().time()


async def test_a_lease_is_renewed_while_inside_and_deleted_after() -> None:
    server = MemoryServer()
    kube = server.client()
    async with ControllerLease(kube, "n", "c1", now=lambda: 1000.0 + clock()) as lease:
        assert (lease.held, lease.epoch, lease.controller_id) == (True, 1, "c1")
        made = await kube.get(LEASES, "spotmix-c1", "n")
        assert (made.spec.holder_identity, made.spec.lease_duration_seconds) == ("c1", 6)
        assert made.metadata.labels["app.kubernetes.io/managed-by"] == "airflow-provider-spotmix"
        await asyncio.sleep(60.5)
        assert lease.holds(1)
        renewed = await kube.get(LEASES, "spotmix-c1", "n")
        assert renewed.spec.renew_time == 1060.0
        assert renewed.spec.acquire_time == made.spec.acquire_time
        assert server.calls["patch"] == 30
    assert not lease.held
    assert (await kube.list(LEASES, "n")).items == ()


async def test_it_lets_go_when_renewals_fail_and_starts_a_new_epoch_when_they_work_again() -> None:
    server = MemoryServer()
    async with ControllerLease(server.client(), "n", "c1") as lease:
        await asyncio.sleep(10.5)
        server.fail()
        await asyncio.sleep(5.4)
        assert lease.holds(1)
        await asyncio.sleep(0.2)
        assert not lease.held
        server.heal()
        await asyncio.sleep(2)
        assert (lease.held, lease.holds(1), lease.epoch) == (True, False, 2)


async def test_short_trouble_costs_nothing() -> None:
    server = MemoryServer()
    async with ControllerLease(server.client(), "n", "c1") as lease:
        for _ in range(5):
            server.fail()
            await asyncio.sleep(4.5)
            server.heal()
            await asyncio.sleep(3)
            assert lease.holds(1)


async def test_a_lease_that_somebody_removed_is_taken_anew_with_a_new_epoch() -> None:
    server = MemoryServer()
    kube = server.client()
    async with ControllerLease(kube, "n", "c1") as lease:
        await kube.delete(LEASES, "spotmix-c1", "n")
        await asyncio.sleep(2.5)
        assert (lease.holds(1), lease.holds(2)) == (False, True)
        assert (await kube.get(LEASES, "spotmix-c1", "n")).spec.lease_transitions == 1


async def test_a_create_whose_answer_got_lost_is_adopted() -> None:
    class Lossy(MemoryServer):
        lost = False

        def write(self, kind: str, key: Any, thing: dict[str, Any]) -> dict[str, Any]:
            result = super().write(kind, key, thing)
            if not self.lost:
                self.lost = True
                self.fail("create")
                self.check("create")
            return result

    server = Lossy()
    async with ControllerLease(server.client(), "n", "c1") as lease:
        assert lease.holds(1)
    assert (await server.client().list(LEASES, "n")).items == ()


async def test_a_lease_that_is_just_being_taken_again_is_released_all_the_same() -> None:
    """Found by chaos: somebody deletes the Lease, and the controller ends while it makes a new one."""

    class Slow(MemoryKube):
        async def create(self, *args: Any, **kwargs: Any) -> Any:
            created = await super().create(*args, **kwargs)
            await asyncio.sleep(1)
            return created

    server = MemoryServer()
    async with ControllerLease(Slow(server), "n", "c1"):
        await server.client().delete(LEASES, lease_name("c1"), "n")
        while not (await server.client().list(LEASES, "n")).items:  # noqa: ASYNC110 - a poll in virtual time
            await asyncio.sleep(0.1)
    assert (await server.client().list(LEASES, "n")).items == ()


async def test_a_lease_that_is_not_permitted_is_told_at_once() -> None:
    server = MemoryServer()
    server.fail("create", code=403)
    with pytest.raises(Forbidden):
        async with ControllerLease(server.client(), "n", "c1"):
            pass


@pytest.mark.parametrize(("duration", "renew"), [(6, 6), (2, 3), (6, 0)])
async def test_periods_that_cannot_work_are_refused(duration: float, renew: float) -> None:
    with pytest.raises(ValueError, match="renew_seconds"):
        ControllerLease(MemoryServer().client(), "n", "c1", duration_seconds=duration, renew_seconds=renew)


def test_controller_ids_are_unique_and_fit_a_name() -> None:
    ids = {new_controller_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(lease_name(each)) <= 63 and lease_name(each).replace("-", "").isalnum() for each in ids)


# Judging others


@asynccontextmanager
async def dying(server: MemoryServer, controller_id: str) -> AsyncGenerator[ControllerLease, None]:
    """A controller that is killed at the end: it stops renewing and deletes nothing."""
    lease = ControllerLease(server.client(), "n", controller_id)
    await lease.__aenter__()
    yield lease
    assert lease._renewals is not None
    lease._renewals.cancel()
    await asyncio.gather(lease._renewals, return_exceptions=True)


async def test_a_dead_holder_expires_after_its_duration_by_our_own_clock() -> None:
    server = MemoryServer()
    holders = HolderWatch(server.client(), "n")
    async with dying(server, "c1"):
        for _ in range(10):
            assert not await holders.is_expired("c1")
            await asyncio.sleep(1.9)
    died_at = clock()
    await holders.wait_until_expired("c1")
    assert 4 <= clock() - died_at <= 8.1


async def test_a_holder_that_was_dead_before_we_came_is_observed_for_its_duration() -> None:
    server = MemoryServer()
    async with dying(server, "c1"):
        pass
    await asyncio.sleep(1000)
    holders = HolderWatch(server.client(), "n")
    began = clock()
    assert not await holders.is_expired("c1")
    await holders.wait_until_expired("c1")
    assert 6 < clock() - began < 6.2


async def test_a_released_or_unknown_holder_is_expired_at_once() -> None:
    server = MemoryServer()
    holders = HolderWatch(server.client(), "n")
    async with ControllerLease(server.client(), "n", "c1"):
        assert not await holders.is_expired("c1")
    await asyncio.sleep(2.1)
    assert await holders.is_expired("c1")
    assert await holders.is_expired("never-heard-of")


async def test_a_holder_that_appeared_since_the_last_listing_is_not_taken_for_missing() -> None:
    server = MemoryServer()
    holders = HolderWatch(server.client(), "n")
    assert await holders.is_expired("c1")
    async with ControllerLease(server.client(), "n", "c1"):
        assert not await holders.is_expired("c1")


async def test_no_answer_is_no_evidence() -> None:
    server = MemoryServer()
    holders = HolderWatch(server.client(), "n")
    async with ControllerLease(server.client(), "n", "c1"):
        assert not await holders.is_expired("c1")
        server.fail("list")
        await asyncio.sleep(60)
        with pytest.raises(ApiUnavailable):
            await holders.is_expired("c1")
        server.heal()
        assert not await holders.is_expired("c1")


async def test_hundreds_who_wait_for_one_holder_ask_together() -> None:
    server = MemoryServer()
    holders = HolderWatch(server.client(), "n")
    async with dying(server, "c1"):
        waiting = [asyncio.create_task(holders.wait_until_expired("c1")) for _ in range(300)]
        await asyncio.sleep(20)
        assert server.calls["list"] <= 12
    await asyncio.gather(*waiting)


async def test_the_lease_of_the_dead_is_removed_unless_it_came_back() -> None:
    server = MemoryServer()
    kube = server.client()
    holders = HolderWatch(kube, "n")
    async with dying(server, "c1"):
        assert not await holders.is_expired("c1")
        assert not await holders.remove_expired("c1")
    await holders.wait_until_expired("c1")
    await kube.patch(LEASES, "spotmix-c1", {"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}}, "n")
    assert not await holders.remove_expired("c1")
    await holders.wait_until_expired("c1")
    assert await holders.remove_expired("c1")
    assert await holders.remove_expired("c1")
    assert (await kube.list(LEASES, "n")).items == ()


class SlowWay(MemoryKube):
    """A client far from its server: requests and answers take their time, up to ``slowest`` seconds each."""

    def __init__(self, server: MemoryServer, chance: random.Random) -> None:
        super().__init__(server)
        self.chance = chance
        self.slowest = 0.0
        self.travel_seconds: tuple[float, float] | None = None
        self.holder: ControllerLease | None = None
        self.epoch_when_asked = 0

    async def patch(self, *args: Any, **options: Any) -> Any:
        return await self._travel(lambda: MemoryKube.patch(self, *args, **options))

    async def list(self, *args: Any, **options: Any) -> Any:
        if self.holder is not None:
            self.epoch_when_asked = self.holder.epoch
        return await self._travel(lambda: MemoryKube.list(self, *args, **options))

    async def _travel(self, call: Callable[[], Awaitable[Any]]) -> Any:
        there, back = self.travel_seconds or [self.chance.uniform(0, self.slowest) for _ in range(2)]
        await asyncio.sleep(there)
        result = await call()
        await asyncio.sleep(back)
        return result


# How long, whether the holder reaches the server, and how slow its way and its challenger's way are.
spells = st.lists(
    st.tuples(st.floats(0.1, 12.0), st.booleans(), st.sampled_from([0, 0.5, 1.5]), st.sampled_from([0, 0.5, 1.5])),
    min_size=2,
    max_size=8,
)


async def test_what_was_renewed_while_a_slow_answer_travelled_is_not_expired() -> None:
    server = MemoryServer()
    far = SlowWay(server, random.Random(0))
    holders = HolderWatch(far, "n")
    async with dying(server, "c1"):
        assert not await holders.is_expired("c1")
    await asyncio.sleep(5.5)
    far.travel_seconds = (0.0, 1.0)
    verdict = asyncio.create_task(holders.is_expired("c1"))
    await asyncio.sleep(0.4)
    await server.client().patch(LEASES, "spotmix-c1", {"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}}, "n")
    assert not await verdict
    assert clock() == 6.5


@pytest.mark.looptime(False)
@given(spells=spells, seed=st.integers(0, 10_000), skew=st.floats(-100_000, 100_000), poll_seconds=st.floats(0.05, 2.0))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nobody_takes_over_while_the_holder_believes_itself_in_charge(
    spells: list[tuple[float, bool, float, float]], seed: int, skew: float, poll_seconds: float
) -> None:
    loop = looptime.new_event_loop()
    try:
        loop.run_until_complete(race(spells, random.Random(seed), skew, poll_seconds))
    finally:
        loop.close()


async def race(
    spells: list[tuple[float, bool, float, float]], chance: random.Random, skew: float, poll_seconds: float
) -> None:
    server = MemoryServer()
    near, far = SlowWay(server, chance), SlowWay(server, chance)
    lease = ControllerLease(near, "n", "c1", now=lambda: 1e9 + skew + clock())
    await lease.__aenter__()
    far.holder = lease
    holders = HolderWatch(far, "n", poll_seconds=poll_seconds)

    async def challenge() -> None:
        while True:
            await holders.wait_until_expired("c1")
            # Epochs that begin after the evidence was gathered are claims of their own: the checkpoint decides.
            assert not lease.holds(far.epoch_when_asked), f"taken over at {clock()} while the holder still acts"
            await asyncio.sleep(0.5)

    challenger = asyncio.create_task(challenge())
    for seconds, reachable, near.slowest, far.slowest in spells:
        server.failing.clear()
        if not reachable:
            server.fail("patch")
        await asyncio.wait([challenger], timeout=seconds)
    await lease.__aexit__()
    challenger.cancel()
    await asyncio.gather(challenger, return_exceptions=True)
    if not challenger.cancelled() and (error := challenger.exception()) is not None:
        raise error


# Shared by the fleets of a process


async def test_the_fleets_of_a_process_share_one_lease_that_ends_with_the_last() -> None:
    server, hub = MemoryServer(), Hub()
    async with shared_lease(hub, server, "n") as first:
        async with shared_lease(hub, server, "n") as second, shared_lease(hub, server, "other") as other:
            assert first is second
            assert other is not first
        assert len((await server.client().list(LEASES)).items) == 1
        assert first.held
    assert (await server.client().list(LEASES)).items == ()
    async with shared_lease(hub, server, "n") as again:
        assert again.controller_id != first.controller_id
    await hub.close()


@pytest.mark.looptime(False)
def test_a_triggerer_that_is_told_to_end_releases_its_lease() -> None:
    """Its event loop cancels everything at once: the fleets, the Lease, and the client that deletes it."""
    server = MemoryServer()

    class Slow:
        """A client like a real one: it needs a moment, and is of no use once it is closed."""

        def __init__(self, kube: MemoryKube) -> None:
            self._kube = kube
            self._closed = False

        def __getattr__(self, name: str) -> Any:
            method = getattr(self._kube, name)

            async def call(*args: Any, **kwargs: Any) -> Any:
                await asyncio.sleep(0.01)
                if self._closed:
                    raise RuntimeError("the client is closed")
                return await method(*args, **kwargs)

            return call

        async def close(self) -> None:
            self._closed = True
            await self._kube.close()

    class Cluster:
        def identity(self) -> str:
            return server.identity()

        async def connect(self) -> Any:
            return Slow(server.client())

    async def triggerer() -> None:
        async def fleet() -> None:
            async with Hub.shared().client(Cluster()), shared_lease(Hub.shared(), Cluster(), "n"):
                ready.set()
                await asyncio.Event().wait()

        ready = asyncio.Event()
        running.append(asyncio.create_task(fleet()))
        await ready.wait()

    running: list[asyncio.Task[None]] = []
    asyncio.run(triggerer())
    assert running[0].cancelled()
    assert asyncio.run(leases_of(server)) == []


async def leases_of(server: MemoryServer) -> list[str]:
    return [lease.metadata.name for lease in (await server.client().list(LEASES, "n")).items]


async def test_the_fleets_of_a_process_share_their_view_of_others() -> None:
    server, hub = MemoryServer(), Hub()
    async with shared_holders(hub, server, "n") as first, shared_holders(hub, server, "n") as second:
        assert first is second
    await hub.close()
