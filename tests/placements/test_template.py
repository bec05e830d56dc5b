"""The one patch that places an executor: whole outputs, for every shape that a live pod can have. No cluster."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from airflow_provider_spotmix.core.actions import Place
from airflow_provider_spotmix.core.pools import KARPENTER, CapacityType, NodeRequirement, Pool
from airflow_provider_spotmix.kube.objects import Pod, convert
from airflow_provider_spotmix.placements.template import Template

SPOT, ON_DEMAND = KARPENTER
GKE_ON_DEMAND = Pool(
    name="on-demand",
    capacity_type=CapacityType.ON_DEMAND,
    node_requirements=(NodeRequirement(key="cloud.google.com/gke-spot", operator="DoesNotExist"),),
)
PLACE = Place(cause="e", uid="u-1", pod="exec-1", seat=3, seat_pool="spot", pool="on-demand", reason="why", at=7.5)
TERMS = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms"
WANTED = {"key": "cloud.google.com/gke-spot", "operator": "DoesNotExist"}


def pod(**spec: Any) -> Pod:
    gates = {"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}, {"name": "spotmix.io/placement"}]}
    metadata = {"name": "exec-1", "uid": "u-1", "labels": {"spark-role": "executor"}, "annotations": {"a": "b"}}
    return convert({"metadata": metadata, "spec": {**gates, **spec}}, Pod)


def test_the_whole_patch() -> None:
    assert Template().patch(pod(), PLACE, SPOT) == [
        {"op": "test", "path": "/metadata/uid", "value": "u-1"},
        {"op": "test", "path": "/spec/schedulingGates/1/name", "value": "spotmix.io/placement"},
        {"op": "remove", "path": "/spec/schedulingGates/1"},
        {"op": "add", "path": "/spec/nodeSelector", "value": {"karpenter.sh/capacity-type": "spot"}},
        {
            "op": "add",
            "path": "/spec/tolerations",
            "value": [{"key": "karpenter.sh/capacity-type", "value": "spot", "effect": "NoSchedule"}],
        },
        {"op": "add", "path": "/metadata/labels/spotmix.io~1seat", "value": "3"},
        {"op": "add", "path": "/metadata/labels/spotmix.io~1seat-pool", "value": "spot"},
        {"op": "add", "path": "/metadata/labels/spotmix.io~1placed-pool", "value": "on-demand"},
        {"op": "add", "path": "/metadata/annotations/spotmix.io~1placement-reason", "value": "why"},
        {"op": "add", "path": "/metadata/annotations/spotmix.io~1placed-at", "value": "7.500"},
    ]


def paths(patch: list[dict[str, Any]], below: str) -> list[tuple[str, Any]]:
    return [(operation["path"], operation["value"]) for operation in patch if operation["path"].startswith(below)]


def test_selectors_and_tolerations_that_are_there_stay() -> None:
    live = pod(nodeSelector={"disk": "ssd"}, tolerations=[{"key": "x", "operator": "Exists"}])
    patch = Template().patch(live, PLACE, SPOT)
    assert paths(patch, "/spec/nodeSelector") == [("/spec/nodeSelector/karpenter.sh~1capacity-type", "spot")]
    assert [path for path, _ in paths(patch, "/spec/tolerations")] == ["/spec/tolerations/-"]


@pytest.mark.parametrize(
    ("affinity", "expected"),
    [
        pytest.param(
            {},
            [
                (
                    "/spec/affinity",
                    {
                        "nodeAffinity": {
                            "requiredDuringSchedulingIgnoredDuringExecution": {
                                "nodeSelectorTerms": [{"matchExpressions": [WANTED]}]
                            }
                        }
                    },
                )
            ],
            id="none",
        ),
        pytest.param(
            {"podAntiAffinity": {"x": 1}},
            [
                (
                    "/spec/affinity/nodeAffinity",
                    {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [{"matchExpressions": [WANTED]}]
                        }
                    },
                )
            ],
            id="only-pod-affinity",
        ),
        pytest.param(
            {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}]}},
            [
                (
                    "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution",
                    {"nodeSelectorTerms": [{"matchExpressions": [WANTED]}]},
                )
            ],
            id="only-preferred",
        ),
        pytest.param(
            {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions": [{"key": "a"}]}, {"matchFields": [{"key": "b"}]}]
                    }
                }
            },
            [(f"{TERMS}/0/matchExpressions/-", WANTED), (f"{TERMS}/1/matchExpressions", [WANTED])],
            id="every-term-is-tightened",
        ),
    ],
)
def test_a_pool_known_by_the_absence_of_a_label(affinity: dict[str, Any], expected: list[Any]) -> None:
    patch = Template().patch(pod(affinity=affinity), PLACE, GKE_ON_DEMAND)
    assert paths(patch, "/spec/affinity") == expected


def test_nodes_that_go_are_avoided_in_every_term() -> None:
    away = replace(PLACE, avoid=("n1", "n2"))
    n1, n2 = ({"key": "metadata.name", "operator": "NotIn", "values": [name]} for name in ("n1", "n2"))
    terms = [{"matchExpressions": [{"key": "a"}]}, {"matchFields": [{"key": "b"}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    patch = Template().patch(pod(affinity={"nodeAffinity": required}), away, SPOT)
    assert paths(patch, "/spec/affinity") == [
        (f"{TERMS}/0/matchFields", [n1, n2]),
        (f"{TERMS}/1/matchFields/-", n1),
        (f"{TERMS}/1/matchFields/-", n2),
    ]
    (whole,) = paths(Template().patch(pod(), away, GKE_ON_DEMAND), "/spec/affinity")
    assert whole[1]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] == [
        {"matchExpressions": [WANTED], "matchFields": [n1, n2]}
    ]
