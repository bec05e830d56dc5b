"""Played nodes: hundreds of executors, placed by the real controller and scheduler, without a process for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_spotmix.core.pools import KARPENTER, Toleration
from airflow_provider_spotmix.lab import audit
from airflow_provider_spotmix.lab.config import LabConfig, nodes_of
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.lab.pools import DEFAULT_POOLS, KWOK_TAINT, kwok_pools
from tests.fleet.scene import controlled, staged
from tests.fleet.test_plan import application
from tests.lab.test_lab_cluster import phase, until

pytestmark = pytest.mark.cluster

NODES, EXECUTORS = 40, 300
ASKED = "lab.spotmix.io/"


@pytest.fixture(scope="module")
def played() -> Iterator[Lab]:
    """A lab with a few real nodes and many played ones."""
    config = LabConfig(nodes=nodes_of(*(replace(pool, nodes=1) for pool in DEFAULT_POOLS), *kwok_pools(NODES)))
    with Lab.ephemeral(config) as lab:
        yield lab


@pytest.fixture(scope="module")
def space(played: Lab) -> str:
    return f"/api/v1/namespaces/{played.create_namespace('played')}/pods"


def start(lab: Lab, space: str, name: str, **annotations: str) -> str:
    asked = {ASKED + key.replace("_", "-"): value for key, value in annotations.items()}
    spec = {
        "nodeSelector": {"type": "kwok", "karpenter.sh/capacity-type": "on-demand"},
        "tolerations": [KWOK_TAINT],
        "containers": [{"name": "main", "image": "any"}],
    }
    lab.api.create(space, {"metadata": {"name": name, "annotations": asked}, "spec": spec})
    return f"{space}/{name}"


def test_there_are_as_many_as_asked_and_the_status_tells_them(played: Lab) -> None:
    status = played.status()
    assert status.healthy
    assert "kwok" in [part.name for part in status.components]
    pools = Counter((node.pool, node.capacity_type) for node in status.nodes if node.ready)
    assert pools == {
        ("spot", "spot"): 1,
        ("on-demand", "on-demand"): 1,
        ("kwok-spot", "spot"): NODES // 2,
        ("kwok-on-demand", "on-demand"): NODES // 2,
    }


def test_what_does_not_ask_for_them_stays_off(played: Lab, space: str) -> None:
    spec = {"nodeSelector": {"type": "kwok"}, "containers": [{"name": "main", "image": "any"}]}
    played.api.create(space, {"metadata": {"name": "real"}, "spec": spec})

    def refused() -> Any:
        conditions = played.api.get(f"{space}/real")["status"].get("conditions", [])
        return next((c["message"] for c in conditions if c["type"] == "PodScheduled" and c["status"] == "False"), None)

    assert "had untolerated taint(s)" in until("the scheduler to refuse it", refused)


@pytest.mark.parametrize(
    ("annotations", "end", "code", "reason"),
    [
        pytest.param({"end": "succeeded"}, "Succeeded", 0, "Completed", id="succeeds"),
        pytest.param({"end": "failed", "end_delay": "200ms"}, "Failed", 1, "Error", id="fails"),
        pytest.param(
            {"end": "failed", "exit_code": "137", "reason": "OOMKilled"}, "Failed", 137, "OOMKilled", id="out-of-memory"
        ),
    ],
)
def test_a_pod_ends_as_its_annotations_ask(
    played: Lab, space: str, annotations: dict[str, str], end: str, code: int, reason: str
) -> None:
    name = f"ends-{code}"
    path = start(played, space, name, start_delay="100ms")
    until("it to run", lambda: phase(played, path) == "Running")
    asked = {ASKED + key.replace("_", "-"): value for key, value in annotations.items()}
    played.api.patch(path, {"metadata": {"annotations": asked}})
    until("its end", lambda: phase(played, path) == end)
    status = played.api.get(path)["status"]
    ended = status["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (code, reason)
    assert ended["startedAt"] <= ended["finishedAt"]
    assert {c["type"]: c["status"] for c in status["conditions"]}["Ready"] == "False"


@pytest.mark.parametrize(("asked", "end"), [("143", "Failed"), ("0", "Succeeded")])
def test_a_deleted_pod_tells_its_end_before_it_goes(played: Lab, space: str, asked: str, end: str) -> None:
    path = start(played, space, f"stops-{asked}", stop_exit_code=asked)
    until("it to run", lambda: phase(played, path) == "Running")
    played.api.delete(path)
    until("it to be gone", lambda: phase(played, path) == "gone")
    told = [event for event in audit.read(played.files.audit_log) if event["requestURI"].startswith(path)]
    last = [event["responseObject"]["status"] for event in told if event["verb"] == "patch"][-1]
    assert last["phase"] == end
    assert last["containerStatuses"][0]["state"]["terminated"]["exitCode"] == int(asked)
    deletions = [audit.user(event) for event in told if event["verb"] == "delete"]
    assert list(dict.fromkeys(deletions)) == ["admin", "system:serviceaccount:kube-system:kwok-controller"]


async def test_hundreds_of_executors_are_placed_exactly(played: Lab) -> None:
    tolerated = Toleration(key=KWOK_TAINT["key"], value=KWOK_TAINT["value"], effect=KWOK_TAINT["effect"])
    pools = tuple(
        type(pool)(
            name=pool.name,
            capacity_type=pool.capacity_type,
            node_selector=pool.node_selector | {"type": "kwok"},
            tolerations=(*pool.tolerations, tolerated),
        )
        for pool in KARPENTER
    )
    async with staged(played, application(instances=EXECUTORS), pools=pools) as scene, controlled(scene):
        await scene.spark.state("RUNNING")
        await scene.spark.request_missing()
        found = await scene.until(
            lambda pods: len(pods) == EXECUTORS and all(pod.status.phase == "Running" for pod in pods), "all run", 90
        )
        seats = Counter(pod.metadata.labels["spotmix.io/seat-pool"] for pod in found)
        assert seats == {"spot": EXECUTORS * 2 // 5, "on-demand": EXECUTORS * 3 // 5}
        nodes = {node.name: node for node in played.status().nodes}
        placed = Counter(
            (nodes[pod.spec.node_name].pool, pod.metadata.labels["spotmix.io/placed-pool"]) for pod in found
        )
        assert placed == {("kwok-spot", "spot"): seats["spot"], ("kwok-on-demand", "on-demand"): seats["on-demand"]}
