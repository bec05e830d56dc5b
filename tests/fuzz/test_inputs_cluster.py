"""What is planned is taken by a real API server: for whatever it refuses, the person's own manifest is to blame."""

from __future__ import annotations

import copy
import datetime
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from airflow_provider_spotmix.core.pools import Pool
from airflow_provider_spotmix.fleet.plan import FleetPlan
from airflow_provider_spotmix.lab.api import ApiError
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.manifests.pod_template import expressions
from tests.fuzz.inputs import Task, plain_tasks, pool_tasks
from tests.fuzz.path import outcome

pytestmark = pytest.mark.cluster

sample = settings(max_examples=600, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
APPLICATIONS = "/apis/sparkoperator.k8s.io/v1beta2/namespaces/{}/sparkapplications"
PODS = "/api/v1/namespaces/{}/pods"


def refused(lab: Lab, path: str, namespace: str, thing: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """What the API server has against an object; nothing is created."""
    metadata = {**thing["metadata"], "namespace": namespace}
    try:
        lab.api.create(path.format(namespace), {**thing, "metadata": metadata}, dryRun="All", fieldValidation="Strict")
    except ApiError as error:
        return error.causes or frozenset({("", str(error))})
    return frozenset()


def written(value: Any) -> str:
    """A value that JSON does not know, as text: a date as every API of Kubernetes writes it."""
    return value.isoformat() if isinstance(value, datetime.date) else str(value)


def pod(name: str, template: Any) -> dict[str, Any]:
    """The pod that Spark makes from a template: with an image in the first container."""
    template = copy.deepcopy(template or {})
    spec = template.get("spec") or {}
    first, *others = spec.get("containers") or [{"name": "spark-kubernetes-executor"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**(template.get("metadata") or {}), "name": name},
        "spec": {**spec, "containers": [{"name": "spark", "image": "spark", **first}, *others]},
    }


@pytest.fixture(scope="module")
def place(lab: Lab) -> str:
    """Nothing is created in it, so that one that is always there will do."""
    return "default"


def test_nothing_is_refused_but_what_the_person_wrote(lab: Lab, place: str) -> None:
    plans = 0

    @sample
    @given(plain_tasks())
    def check(task: Task) -> None:
        nonlocal plans
        plan = outcome(task)
        if not isinstance(plan, FleetPlan):
            return
        plans += 1
        (ours,) = plan.applications
        theirs = json.loads(json.dumps(task.application, default=written))
        named = {**theirs, "metadata": {**(theirs.get("metadata") or {}), "name": ours["metadata"]["name"]}}
        assert refused(lab, APPLICATIONS, place, ours) <= refused(lab, APPLICATIONS, place, named)
        for role in ("driver", "executor"):
            with_ours = refused(lab, PODS, place, pod("p", ours["spec"][role]["template"]))
            assert with_ours <= refused(lab, PODS, place, pod("p", theirs["spec"][role].get("template")))

    check()
    assert plans > 100


def test_an_executor_can_be_put_on_every_pool_that_is_taken(lab: Lab, place: str) -> None:
    plans = 0

    @sample
    @given(pool_tasks())
    def check(task: Task) -> None:
        nonlocal plans
        plan = outcome(task)
        for pool in plan.spec.pools if isinstance(plan, FleetPlan) else ():
            plans += 1
            assert not refused(lab, PODS, place, on(pool))

    check()
    assert plans > 100


def on(pool: Pool) -> dict[str, Any]:
    """An executor that was put on a pool."""
    terms = {"nodeSelectorTerms": [{"matchExpressions": expressions(pool.node_requirements)}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    spec = {
        "nodeSelector": pool.node_selector,
        "tolerations": [
            {"key": each.key, "operator": each.operator, "value": each.value, "effect": each.effect}
            for each in pool.tolerations
        ],
        **({"affinity": affinity} if pool.node_requirements else {}),
    }
    return pod("p", {"metadata": {"labels": {"spotmix.io/placed-pool": pool.name}}, "spec": spec})
