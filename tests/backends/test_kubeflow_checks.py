"""What the Kubeflow backend refuses, and in which words. No cluster."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from airflow_provider_spotmix.backends.kubeflow import Kubeflow
from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.core.pools import GKE, KARPENTER
from tests.backends.test_kubeflow import application, overlay

BACKEND = Kubeflow()
CAPACITY = "karpenter.sh/capacity-type"
NODE_AFFINITY = "requiredDuringSchedulingIgnoredDuringExecution"


def changed(*changes: tuple[str, Any]) -> dict[str, Any]:
    """The valid application with fields set; their paths are parted by ``/``."""
    result = application()
    for path, value in changes:
        *parents, last = path.split("/")
        target = result
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
    return result


def check(manifest: dict[str, Any]) -> None:
    """Everything that a plan does with a manifest."""
    before = copy.deepcopy(manifest)
    try:
        BACKEND.check(manifest)
        BACKEND.check_selectors(manifest, KARPENTER)
        BACKEND.render(manifest, overlay())
    finally:
        assert manifest == before


TEXT = "write it as text, in quotes"
COUNT = "write a whole number, 0 or more, without quotes or a point"
MAPPING = "write a mapping there"
LIST = "write a list there"
OURS = "what begins with 'spotmix.io/' is written by this provider alone, which would take it for its own: remove it"
NAME = "63 letters, digits, '-', '_' and '.', and begins and ends with a letter or digit"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        pytest.param("kind", "Pod", "kind is 'Pod'; the kubeflow backend takes 'SparkApplication'", id="another-kind"),
        pytest.param(
            "apiVersion",
            "v1",
            "apiVersion is 'v1'; the kubeflow backend takes 'sparkoperator.k8s.io/v1beta2'",
            id="another-version",
        ),
        pytest.param("spec", None, "spec is missing; a SparkApplication has a mapping there", id="no-spec"),
        pytest.param("spec", [], f"spec is [], a list; {MAPPING}", id="spec-is-a-list"),
        pytest.param("metadata", [], f"metadata is [], a list; {MAPPING}", id="metadata-is-a-list"),
        pytest.param(
            "spec/executor", None, "spec.executor is missing; a SparkApplication has a mapping there", id="no-executor"
        ),
        pytest.param("spec/executor", [1], f"spec.executor is [1], a list; {MAPPING}", id="executor-is-a-list"),
        pytest.param("spec/driver", "big", f"spec.driver is 'big', text; {MAPPING}", id="driver-is-text"),
        pytest.param("spec/mode", "client", "spec.mode is 'client'; only 'cluster' can be placed", id="client-mode"),
        pytest.param("spec/mode", 1, f"spec.mode is 1, a number; {TEXT}", id="mode-is-a-number"),
        # Executors
        pytest.param(
            "spec/executor/instances",
            0,
            "spec.executor.instances is 0, but there are no executors to place then; set it to 1 or more",
            id="no-executors",
        ),
        pytest.param("spec/executor/instances", -1, f"spec.executor.instances is -1, a number; {COUNT}", id="negative"),
        pytest.param("spec/executor/instances", "5", f"spec.executor.instances is '5', text; {COUNT}", id="quoted"),
        pytest.param("spec/executor/instances", True, f"spec.executor.instances is True, a flag; {COUNT}", id="flag"),
        pytest.param("spec/executor/instances", 2.0, f"spec.executor.instances is 2.0, a number; {COUNT}", id="point"),
        pytest.param(
            "spec/executor/instances",
            150_001,
            "spec.executor.instances is 150001; the largest Kubernetes clusters hold 150,000 pods: set it lower",
            id="more-than-a-cluster-holds",
        ),
        pytest.param(
            "spec/dynamicAllocation", "on", f"spec.dynamicAllocation is 'on', text; {MAPPING}", id="allocation-is-text"
        ),
        pytest.param(
            "spec/dynamicAllocation/enabled",
            "true",
            "spec.dynamicAllocation.enabled is 'true', text; write true or false, without quotes",
            id="enabled-is-text",
        ),
        pytest.param(
            "spec/dynamicAllocation",
            {"enabled": True, "minExecutors": "two"},
            f"spec.dynamicAllocation.minExecutors is 'two', text; {COUNT}",
            id="least-is-text",
        ),
        pytest.param(
            "spec/sparkConf",
            {"spark.dynamicAllocation.enabled": "true", "spark.dynamicAllocation.maxExecutors": "many"},
            "spec.sparkConf['spark.dynamicAllocation.maxExecutors'] is 'many'; give a whole number of executors",
            id="most-in-conf-is-no-number",
        ),
        # Spark properties
        pytest.param(
            "spec/sparkConf",
            ["a=b"],
            "spec.sparkConf is ['a=b'], a list; write a mapping of text to text there",
            id="conf-is-a-list",
        ),
        pytest.param(
            "spec/sparkConf",
            {"spark.executor.instances": 4},
            f"spec.sparkConf['spark.executor.instances'] is 4, a number; {TEXT}",
            id="conf-holds-a-number",
        ),
        pytest.param(
            "spec/sparkConf",
            {"spark": {"x": "y"}},
            f"spec.sparkConf.spark is {{'x': 'y'}}, a mapping; {TEXT}",
            id="conf-is-nested",
        ),
        pytest.param(
            "spec/sparkConf",
            {"spark.x": None},
            f"spec.sparkConf['spark.x'] is empty; {TEXT}",
            id="conf-is-null",
        ),
        pytest.param(
            "spec/sparkConf",
            {"spark.hadoop.fs.s3a.secret.key": 12345},
            "spec.sparkConf['spark.hadoop.fs.s3a.secret.key'] is something that is not shown here, a number; " + TEXT,
            id="a-secret-is-not-repeated",
        ),
        pytest.param(
            "spec/sparkConf",
            {"spark.kubernetes.allocation.pods.allocator": "statefulset"},
            "spec.sparkConf['spark.kubernetes.allocation.pods.allocator'] is 'statefulset'; executors can be placed one"
            " by one only with 'direct' (the default): remove it",
            id="statefulset-allocator",
        ),
        pytest.param(
            "spec/sparkConf",
            {"spark.kubernetes.allocation.pods.allocator": "deployment"},
            "spec.sparkConf['spark.kubernetes.allocation.pods.allocator'] is 'deployment'; executors can be placed one"
            " by one only with 'direct' (the default): remove it",
            id="deployment-allocator",
        ),
        pytest.param(
            "spec/sparkConf",
            {"spark.kubernetes.executor.podTemplateFile": "/x.yaml"},
            "spec.sparkConf['spark.kubernetes.executor.podTemplateFile'] is '/x.yaml', which the operator would ignore;"
            " move what it says to spec.executor.template",
            id="template-file-in-conf",
        ),
        pytest.param(
            "spec/sparkConf",
            {"spark.kubernetes.namespace": "other"},
            "spec.sparkConf['spark.kubernetes.namespace'] is 'other', but the application runs in namespace 'spark';"
            " remove it",
            id="another-namespace-in-conf",
        ),
        pytest.param(
            "spec/sparkConf",
            {"spark.kubernetes.executor.label.spotmix.io/seat": "0"},
            "spec.sparkConf has 'spark.kubernetes.executor.label.spotmix.io/seat'; labels and annotations that begin"
            " with 'spotmix.io/' are written by this provider alone, which would take it for its own: remove it",
            id="our-label-in-conf",
        ),
        # Labels and annotations
        pytest.param(
            "metadata/labels",
            {"spotmix.io/fleet": "other"},
            f"metadata.labels has 'spotmix.io/fleet'; {OURS}",
            id="our-label-on-the-object",
        ),
        pytest.param(
            "metadata/annotations",
            {"spotmix.io/identity": "other"},
            f"metadata.annotations has 'spotmix.io/identity'; {OURS}",
            id="our-annotation-on-the-object",
        ),
        pytest.param(
            "spec/executor/labels",
            {"spotmix.io/fleet": "other"},
            f"spec.executor.labels has 'spotmix.io/fleet'; {OURS}",
            id="our-label-on-executors",
        ),
        pytest.param(
            "spec/driver/annotations",
            {"spotmix.io/managed-by": "me"},
            f"spec.driver.annotations has 'spotmix.io/managed-by'; {OURS}",
            id="our-annotation-on-the-driver",
        ),
        pytest.param(
            "spec/executor/template/metadata/labels",
            {"spotmix.io/seat": "0"},
            f"spec.executor.template.metadata.labels has 'spotmix.io/seat'; {OURS}",
            id="our-label-in-the-template",
        ),
        pytest.param(
            "metadata/labels",
            [],
            "metadata.labels is [], a list; write a mapping of text to text there",
            id="labels-are-a-list",
        ),
        pytest.param("metadata/labels", {"a": 1}, f"metadata.labels.a is 1, a number; {TEXT}", id="label-is-a-number"),
        pytest.param(
            "metadata/labels",
            {"a b": "c"},
            f"metadata.labels has 'a b', which Kubernetes does not take: a key has up to {NAME}",
            id="label-key",
        ),
        pytest.param(
            "metadata/labels",
            {"A/b": "c"},
            "metadata.labels has 'A/b', which Kubernetes does not take: what is before its '/' has to be a DNS name in"
            " lower case",
            id="label-prefix",
        ),
        pytest.param(
            "spec/executor/template/metadata/labels",
            {"a": "x" * 64},
            f"spec.executor.template.metadata.labels.a has {'x' * 64!r}, which Kubernetes does not take: a value has up"
            f" to {NAME}",
            id="label-value",
        ),
        # Pod templates
        pytest.param(
            "spec/executor/template", "big", f"spec.executor.template is 'big', text; {MAPPING}", id="template-is-text"
        ),
        pytest.param(
            "spec/driver/template",
            {"spec": []},
            f"spec.driver.template.spec is [], a list; {MAPPING}",
            id="template-spec-is-a-list",
        ),
        pytest.param(
            "spec/executor/template/spec/containers",
            {"name": "x"},
            f"spec.executor.template.spec.containers is {{'name': 'x'}}, a mapping; {LIST}",
            id="containers-are-a-mapping",
        ),
        pytest.param(
            "spec/executor/template/spec/containers",
            [None],
            "spec.executor.template.spec.containers[0] is empty; remove the empty entry",
            id="container-is-null",
        ),
        pytest.param(
            "spec/driver/template/spec/tolerations",
            {"key": "x"},
            f"spec.driver.template.spec.tolerations is {{'key': 'x'}}, a mapping; {LIST}",
            id="tolerations-are-a-mapping",
        ),
        pytest.param(
            "spec/executor/template/spec/schedulingGates",
            [{"name": "spotmix.io/placement"}],
            "spec.executor.template.spec.schedulingGates has 'spotmix.io/placement'; this provider adds its gate"
            " itself, to executors only: remove it",
            id="our-gate",
        ),
        pytest.param(
            "spec/driver/template/spec/schedulingGates",
            [{"name": "other"}, {"name": "spotmix.io/placement"}],
            "spec.driver.template.spec.schedulingGates has 'spotmix.io/placement'; this provider adds its gate"
            " itself, to executors only: remove it",
            id="our-gate-on-the-driver",
        ),
        pytest.param(
            "spec/executor/template/spec/nodeName",
            "node-1",
            "spec.executor.template.spec.nodeName is 'node-1'; executors are put on nodes by the mix: remove it",
            id="node-name",
        ),
        # Where executors run
        pytest.param(
            "spec/executor/affinity",
            {"nodeAffinity": {}},
            "spec.executor.affinity is {'nodeAffinity': {}}, which would replace the affinity of the executor's"
            " template, and so the placement; move it to spec.executor.template.spec.affinity",
            id="affinity-on-the-cr",
        ),
        *(
            pytest.param(
                path, {key: "spot"}, f"{field} has {CAPACITY}: 'spot', which the mix decides; remove the key", id=name
            )
            for name, path, key, field in (
                ("selector-of-all-pods", "spec/nodeSelector", CAPACITY, "spec.nodeSelector"),
                ("selector-on-the-cr", "spec/executor/nodeSelector", CAPACITY, "spec.executor.nodeSelector"),
                (
                    "selector-in-the-template",
                    "spec/executor/template/spec/nodeSelector",
                    CAPACITY,
                    "spec.executor.template.spec.nodeSelector",
                ),
                ("selector-in-conf", "spec/sparkConf", f"spark.kubernetes.node.selector.{CAPACITY}", "spec.sparkConf"),
                (
                    "selector-of-executors-in-conf",
                    "spec/sparkConf",
                    f"spark.kubernetes.executor.node.selector.{CAPACITY}",
                    "spec.sparkConf",
                ),
            )
        ),
        pytest.param(
            "spec/executor/template/spec/affinity/nodeAffinity",
            {
                NODE_AFFINITY: {
                    "nodeSelectorTerms": [{}, {"matchExpressions": [{"key": CAPACITY, "operator": "Exists"}]}]
                }
            },
            f"spec.executor.template.spec.affinity.nodeAffinity has {CAPACITY}: ['Exists', None], which the mix"
            " decides; remove the key",
            id="required-affinity",
        ),
        pytest.param(
            "spec/executor/template/spec/affinity/nodeAffinity",
            {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"preference": {"matchExpressions": [{"key": CAPACITY, "operator": "In", "values": ["spot"]}]}}
                ]
            },
            f"spec.executor.template.spec.affinity.nodeAffinity has {CAPACITY}: ['In', ['spot']], which the mix"
            " decides; remove the key",
            id="preferred-affinity",
        ),
        # Where the driver runs
        *(
            pytest.param(
                path,
                {key: "spot"},
                f"{field} has {CAPACITY}: 'spot', which contradicts pool 'on-demand': the driver always runs on"
                " on-demand; remove the key",
                id=name,
            )
            for name, path, key, field in (
                ("driver-on-the-cr", "spec/driver/nodeSelector", CAPACITY, "spec.driver.nodeSelector"),
                (
                    "driver-in-the-template",
                    "spec/driver/template/spec/nodeSelector",
                    CAPACITY,
                    "spec.driver.template.spec.nodeSelector",
                ),
                (
                    "driver-in-conf",
                    "spec/sparkConf",
                    f"spark.kubernetes.driver.node.selector.{CAPACITY}",
                    "spec.sparkConf",
                ),
            )
        ),
        pytest.param(
            "spec/driver/template/spec/affinity/nodeAffinity",
            {
                NODE_AFFINITY: {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": CAPACITY, "operator": "In", "values": ["spot"]}]}
                    ]
                }
            },
            "spec.driver.template.spec.affinity.nodeAffinity is [{'matchExpressions': [{'key':"
            " 'karpenter.sh/capacity-type', 'operator': 'In', 'values': ['spot']}]}..., which contradicts pool"
            " 'on-demand': the driver always runs on on-demand; remove what excludes it",
            id="driver-affinity",
        ),
    ],
)
def test_what_cannot_be_placed_is_refused_with_field_value_and_remedy(path: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check(changed((path, value)))
    assert str(caught.value) == message


def test_executors_are_counted_where_the_operator_does() -> None:
    check(changed(("spec/sparkConf", {"spark.executor.instances": "0"})))
    manifest = changed(("spec/executor/instances", None), ("spec/sparkConf", {"spark.executor.instances": "0"}))
    with pytest.raises(InvalidInputError) as caught:
        check(manifest)
    assert str(caught.value) == (
        "spec.sparkConf['spark.executor.instances'] is 0, but there are no executors to place then; set it to 1 or more"
    )


@pytest.mark.parametrize("where", ["executor/nodeSelector", "executor/template/spec/nodeSelector"])
def test_selecting_by_the_label_that_only_spot_has_is_refused_too(where: str) -> None:
    with pytest.raises(InvalidInputError, match="which the mix decides"):
        BACKEND.check_selectors(changed((f"spec/{where}", {"cloud.google.com/gke-spot": "true"})), GKE)


@pytest.mark.parametrize("where", ["nodeSelector", "template/spec/nodeSelector"])
def test_a_driver_that_wants_the_label_that_only_spot_has_is_refused_too(where: str) -> None:
    manifest = changed((f"spec/driver/{where}", {"cloud.google.com/gke-spot": "true"}))
    with pytest.raises(InvalidInputError, match="gke-spot: 'true', which contradicts pool 'on-demand'"):
        BACKEND.render(manifest, msgspec.structs.replace(overlay(), driver_pool=GKE[1]))


def test_a_driver_affinity_that_leaves_on_demand_is_kept() -> None:
    expressions = [
        {"key": CAPACITY, "operator": "In", "values": ["on-demand", "reserved"]},
        {"key": CAPACITY, "operator": "Exists"},
        {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["a"]},
    ]
    terms = [{"matchExpressions": expressions}, {"matchExpressions": [{"key": CAPACITY, "operator": "DoesNotExist"}]}]
    manifest = changed(
        ("spec/driver/template/spec/affinity/nodeAffinity", {NODE_AFFINITY: {"nodeSelectorTerms": terms}})
    )
    check(manifest)


def test_a_driver_affinity_that_would_replace_the_pin_is_refused_only_then() -> None:
    manifest = changed(("spec/driver/affinity", {"podAffinity": {"x": 1}}))
    BACKEND.render(manifest, overlay())
    with pytest.raises(InvalidInputError, match=r"move it to spec\.driver\.template\.spec\.affinity"):
        BACKEND.render(manifest, msgspec.structs.replace(overlay(), driver_pool=GKE[1]))


def test_a_namespace_in_sparkconf_may_be_the_same() -> None:
    check(changed(("spec/sparkConf", {"spark.kubernetes.namespace": "spark"})))
