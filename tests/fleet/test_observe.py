"""Waiting for a fleet in virtual time: what is there, what comes, what goes, and how often the server is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from airflow_provider_spotmix.backends.kubeflow import Kubeflow
from airflow_provider_spotmix.core.wish import State, Wish
from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.fleet.observe import Outcome, wait_for
from airflow_provider_spotmix.fleet.picture import SETTLE_SECONDS, Target
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.errors import Forbidden
from airflow_provider_spotmix.kube.resources import PODS
from tests.kube.memory import MemoryServer

pytestmark = pytest.mark.looptime

APPLICATIONS = Kubeflow.resource
FLEET = "0123456789abcdef"
OF_FLEET, BY_NAME = Target(namespace="n", fleet=FLEET), Target(namespace="n", name="etl")
OF_TASK = Target(namespace="n", task={"dag_id": "d", "task_id": "etl"})
SUCCEEDED = Wish(state=State.SUCCEEDED)


GROUPS = '{"attempts": [["one"], ["two", "two-r"]], "quorum": 0}'


async def submit(kube: Kube, name: str = "etl", state: str = "", groups: str = "", **labels: str) -> None:
    marks = {"labels": {"spotmix.io/fleet": FLEET, **labels}, "annotations": {"spotmix.io/groups": groups}}
    body = {
        "metadata": {"name": name, **marks},
        "spec": {"driver": {}, "executor": {"instances": 2}},
        "status": {"applicationState": {"state": state}},
    }
    await kube.create(APPLICATIONS, body, "n")


async def becomes(kube: Kube, state: str, name: str = "etl", message: str = "") -> None:
    status = {"status": {"applicationState": {"state": state, "errorMessage": message}}}
    await kube.patch(APPLICATIONS, name, status, "n")


async def executor(kube: Kube, number: int, pool: str, application: str = "etl") -> None:
    labels = {"spark-role": "executor", "spotmix.io/application": application, "spotmix.io/placed-pool": pool}
    metadata = {"name": f"{application}-{number}", "labels": {**labels, "spotmix.io/fleet": FLEET}}
    await kube.create(PODS, {"metadata": metadata, "status": {"phase": "Running"}}, "n")


class Scene:
    """A sensor on a server, and what happens there."""

    def __init__(self) -> None:
        self.server, self.hub = MemoryServer(), Hub()
        self.kube = self.server.client()
        self.told: list[str] = []

    def wait(self, target: Target, wish: Wish, missing_seconds: float = 600) -> asyncio.Task[Outcome]:
        return asyncio.create_task(
            wait_for(
                self.hub,
                self.server,
                target,
                wish,
                missing_seconds=missing_seconds,
                tell=lambda message, _: self.told.append(message),
            )
        )

    async def outcome(self, target: Target, wish: Wish, *acts: Callable[[], Awaitable[Any]]) -> Outcome:
        """Let each of these happen while the sensor waits, and see how it ends."""
        waiting = self.wait(target, wish)
        for act in acts:
            await asyncio.sleep(1)
            assert not waiting.done(), waiting.result()
            await act()
        async with asyncio.timeout(5):
            return await waiting


@pytest.mark.parametrize("target", [OF_FLEET, BY_NAME], ids=["fleet", "name"])
async def test_it_waits_for_what_is_not_there_yet(target: Target) -> None:
    scene = Scene()
    kube = scene.kube
    outcome = await scene.outcome(
        target,
        SUCCEEDED,
        lambda: submit(kube, "another", "FAILED", **{"spotmix.io/fleet": "another"}),
        lambda: submit(kube),
        lambda: becomes(kube, "RUNNING"),
        lambda: becomes(kube, "COMPLETED"),
    )
    assert (outcome.satisfied, outcome.why) == (True, "etl is COMPLETED; running executors: none")
    assert outcome.seen == {"applications": [{"name": "etl", "state": "COMPLETED"}], "running": {}, "fallen_back": {}}
    assert scene.told[0] == f"there is no {target} yet"


async def test_executors_are_counted_by_pool() -> None:
    scene = Scene()
    kube = scene.kube
    await submit(kube, state="RUNNING")
    outcome = await scene.outcome(
        OF_FLEET, Wish(share=1.0), lambda: executor(kube, 1, "spot"), lambda: executor(kube, 2, "on-demand")
    )
    assert outcome.seen["running"] == {"on-demand": 1, "spot": 1}


async def test_executors_of_others_do_not_count() -> None:
    scene = Scene()
    await submit(scene.kube, state="RUNNING")
    outcome = await scene.outcome(
        BY_NAME,
        Wish(executors=1),
        lambda: executor(scene.kube, 1, "spot", "another"),
        lambda: executor(scene.kube, 1, "spot"),
    )
    assert outcome.seen["running"] == {"spot": 1}


async def test_a_failure_is_told_at_once() -> None:
    scene = Scene()
    await submit(scene.kube)
    failed = lambda: becomes(scene.kube, "FAILED", message="driver exited with 3")  # noqa: E731
    outcome = await scene.outcome(OF_FLEET, SUCCEEDED, failed)
    assert (outcome.satisfied, outcome.why) == (False, "etl is FAILED: driver exited with 3")


async def test_what_was_there_and_is_deleted_is_not_what_is_missing() -> None:
    scene = Scene()
    await submit(scene.kube, state="RUNNING")
    outcome = await scene.outcome(BY_NAME, SUCCEEDED, lambda: scene.kube.delete(APPLICATIONS, "etl", "n"))
    assert (outcome.satisfied, outcome.why) == (False, "etl was deleted before it was over")


async def test_what_is_over_still_counts_when_its_object_goes() -> None:
    scene = Scene()
    await submit(scene.kube, "one", "RUNNING")
    await submit(scene.kube, "two", "RUNNING")
    outcome = await scene.outcome(
        OF_FLEET,
        SUCCEEDED,
        lambda: becomes(scene.kube, "COMPLETED", "one"),
        lambda: scene.kube.delete(APPLICATIONS, "one", "n"),
        lambda: becomes(scene.kube, "COMPLETED", "two"),
    )
    assert [app["name"] for app in outcome.seen["applications"]] == ["one", "two"]


async def test_the_next_try_of_a_task_takes_the_place_of_the_one_that_was_deleted() -> None:
    scene = Scene()
    kube = scene.kube
    await submit(kube, "first", "RUNNING", dag_id="d", task_id="etl", try_number="1")
    outcome = await scene.outcome(
        OF_TASK,
        SUCCEEDED,
        lambda: kube.delete(APPLICATIONS, "first", "n"),
        lambda: submit(kube, "second", "RUNNING", dag_id="d", task_id="etl", try_number="2"),
        lambda: becomes(kube, "COMPLETED", "second"),
    )
    assert outcome.seen["applications"] == [{"name": "second", "state": "COMPLETED"}]


async def test_a_kept_failure_of_an_earlier_try_is_not_the_latest() -> None:
    scene = Scene()
    await submit(scene.kube, "first", "FAILED", dag_id="d", task_id="etl", try_number="1")
    await submit(scene.kube, "second", "COMPLETED", dag_id="d", task_id="etl", try_number="2")
    assert (await scene.outcome(OF_TASK, SUCCEEDED)).satisfied


async def test_what_does_not_come_is_missing() -> None:
    scene = Scene()
    outcome = await scene.wait(BY_NAME, SUCCEEDED, missing_seconds=60)
    assert not outcome.satisfied
    assert outcome.why.startswith("there is no SparkApplication 'etl' in namespace 'n' after 60 s; does the task")


async def test_nothing_is_missing_while_the_api_server_is_away() -> None:
    scene = Scene()
    waiting = scene.wait(BY_NAME, SUCCEEDED, missing_seconds=60)
    await asyncio.sleep(1)
    scene.server.fail()
    await asyncio.sleep(300)
    assert not waiting.done()
    scene.server.heal()
    await submit(scene.kube, state="COMPLETED")
    assert (await waiting).satisfied
    assert [told for told in scene.told if "API server" in told][-1] == "the API server answers again"


async def test_a_refusal_ends_it() -> None:
    scene = Scene()
    scene.server.fail("list", code=403, reason="Forbidden")
    with pytest.raises(Forbidden):
        await scene.wait(BY_NAME, SUCCEEDED)


async def test_a_hundred_sensors_share_one_watch() -> None:
    scene = Scene()
    await submit(scene.kube, state="RUNNING")
    waiting = [scene.wait(OF_FLEET, Wish(executors=1)) for _ in range(100)]
    await asyncio.sleep(1)
    await executor(scene.kube, 1, "spot")
    assert all(outcome.satisfied for outcome in await asyncio.gather(*waiting))
    assert (scene.server.calls["list"], scene.server.calls["watch"]) == (2, 2)  # applications and pods


async def test_a_group_that_is_not_there_yet_is_waited_for() -> None:
    scene = Scene()
    await submit(scene.kube, "one", "COMPLETED", GROUPS)
    outcome = await scene.outcome(OF_FLEET, SUCCEEDED, lambda: submit(scene.kube, "two", "COMPLETED", GROUPS))
    assert [app["name"] for app in outcome.seen["applications"]] == ["one", "two"]


async def test_a_lost_group_is_submitted_again() -> None:
    scene = Scene()
    await submit(scene.kube, "one", "COMPLETED", GROUPS)
    await submit(scene.kube, "two", "RUNNING", GROUPS)
    outcome = await scene.outcome(
        OF_FLEET,
        SUCCEEDED,
        lambda: becomes(scene.kube, "FAILED", "two"),
        lambda: submit(scene.kube, "two-r", "", GROUPS),
        lambda: scene.kube.delete(APPLICATIONS, "two", "n"),
        lambda: becomes(scene.kube, "COMPLETED", "two-r"),
    )
    assert outcome.satisfied
    assert [app["name"] for app in outcome.seen["applications"]] == ["one", "two-r"]


async def test_a_group_that_has_failed_for_good_is_told_when_nobody_submits_it_again() -> None:
    scene = Scene()
    await submit(scene.kube, "one", "RUNNING", GROUPS)
    await submit(scene.kube, "two", "FAILED", GROUPS)
    waiting = scene.wait(OF_FLEET, SUCCEEDED)
    await asyncio.sleep(SETTLE_SECONDS - 1)
    assert not waiting.done()
    await asyncio.sleep(2)
    assert (await waiting).why == "two is FAILED: no reason given"


async def test_a_quorum_of_groups_is_enough() -> None:
    scene = Scene()
    groups = '{"attempts": [["one"], ["two"]], "quorum": 1}'
    await submit(scene.kube, "one", "FAILED", groups)
    await submit(scene.kube, "two", "RUNNING", groups)
    assert (await scene.outcome(OF_FLEET, SUCCEEDED, lambda: becomes(scene.kube, "COMPLETED", "two"))).satisfied


async def test_a_mapped_task_takes_a_map_index() -> None:
    scene = Scene()
    await submit(scene.kube, "zero", "RUNNING", dag_id="d", task_id="etl", try_number="1", map_index="0")
    await submit(scene.kube, "one", "COMPLETED", dag_id="d", task_id="etl", try_number="2", map_index="1")
    assert (await scene.outcome(OF_TASK, SUCCEEDED)).why == "task 'etl' is mapped; give map_index"
    one = Target(namespace="n", task={**OF_TASK.task, "map_index": "1"})
    assert (await scene.outcome(one, SUCCEEDED)).satisfied


async def test_the_time_for_what_is_missing_begins_anew_after_an_outage() -> None:
    scene = Scene()
    waiting = scene.wait(BY_NAME, SUCCEEDED, missing_seconds=60)
    await asyncio.sleep(50)
    scene.server.fail()
    await asyncio.sleep(300)
    scene.server.heal()
    await asyncio.sleep(50)
    assert not waiting.done()
    await submit(scene.kube, state="COMPLETED")
    assert (await waiting).satisfied


async def test_how_it_ended_during_an_outage_nobody_knows() -> None:
    scene = Scene()
    await submit(scene.kube, state="RUNNING")
    waiting = scene.wait(BY_NAME, SUCCEEDED)
    await asyncio.sleep(1)
    scene.server.fail()
    await asyncio.sleep(60)
    scene.server.heal()
    await scene.kube.delete(APPLICATIONS, "etl", "n")
    scene.server.compact()
    assert (await waiting).why.startswith("etl ")


async def test_sensors_on_tasks_share_one_watch() -> None:
    scene = Scene()
    waiting = [scene.wait(Target(namespace="n", task={"task_id": f"t{n}"}), SUCCEEDED, 30) for n in range(50)]
    await asyncio.gather(*waiting)
    assert scene.server.calls["list"] == 1
