"""A group's SparkApplication, and the second attempt that is made of a live first one. No cluster."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spotmix.backends.kubeflow import Kubeflow
from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.core.pools import AKS, EKS, GKE, KARPENTER, CapacityType, NodeRequirement, Pool
from airflow_provider_spotmix.kube.objects import Raw, convert
from airflow_provider_spotmix.manifests import labels
from airflow_provider_spotmix.manifests.overlay import Overlay
from airflow_provider_spotmix.manifests.part import Part
from tests.fleet.test_plan import application

PART = Part(index=1, count=3, name="asia", executors=2, total=5)
VARIABLES = {
    "spark.kubernetes.driverEnv.SPOTMIX_GROUP_INDEX": "1",
    "spark.kubernetes.driverEnv.SPOTMIX_GROUP_COUNT": "3",
    "spark.kubernetes.driverEnv.SPOTMIX_GROUP_NAME": "asia",
    "spark.kubernetes.driverEnv.SPOTMIX_GROUP_SHARE": "0.4",
    "spark.kubernetes.driverEnv.SPOTMIX_GROUP_ATTEMPT": "1",
}


def part(manifest: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    fields = {name: getattr(PART, name) for name in PART.__struct_fields__}
    found: dict[str, Any] = Kubeflow().part(manifest or application(), Part(**{**fields, **changes}))
    return found


def test_a_group_has_its_executors_and_its_variables_and_everything_else() -> None:
    manifest = application(cores=2, template={"metadata": {"labels": {"team": "a"}}})
    before = application(cores=2, template={"metadata": {"labels": {"team": "a"}}})
    assert part(manifest) == {
        **before,
        "spec": {
            "driver": {},
            "executor": {"instances": 2, "cores": 2, "template": {"metadata": {"labels": {"team": "a"}}}},
            "sparkConf": VARIABLES,
        },
    }
    assert manifest == before


def test_overrides_are_laid_over() -> None:
    manifest = application(cores=2, labels={"a": "1", "b": "2"}, tolerations=[{"key": "x"}])
    over = {"memory": "4g", "labels": {"b": "3"}, "tolerations": []}
    spec = part(manifest, executor=over, driver={"cores": 4})["spec"]
    assert spec["executor"] == {
        "instances": 2,
        "cores": 2,
        "memory": "4g",
        "labels": {"a": "1", "b": "3"},
        "tolerations": [],
    }
    assert spec["driver"] == {"cores": 4}


def test_nodes_of_a_group_are_added_to_the_template() -> None:
    manifest = application(template={"spec": {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "x"}]}})
    spec = part(manifest, node_selector={"zone": "a"}, tolerations=({"key": "y", "operator": "Exists"},))["spec"]
    assert spec["executor"]["template"]["spec"] == {
        "nodeSelector": {"disk": "ssd", "zone": "a"},
        "tolerations": [{"key": "x"}, {"key": "y", "operator": "Exists"}],
    }


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param("$(SPOTMIX_GROUP_INDEX)", "1", id="alone"),
        pytest.param("--of=$(SPOTMIX_GROUP_INDEX)/$(SPOTMIX_GROUP_COUNT)", "--of=1/3", id="within"),
        pytest.param("$(SPOTMIX_GROUP_NAME) $(SPOTMIX_GROUP_SHARE)", "asia 0.4", id="name-and-share"),
        pytest.param("$$(SPOTMIX_GROUP_INDEX)", "$(SPOTMIX_GROUP_INDEX)", id="escaped"),
        pytest.param("$(HOME) $$ $( SPOTMIX", "$(HOME) $$ $( SPOTMIX", id="not-ours"),
    ],
)
def test_arguments_are_told_the_group(written: str, expected: str) -> None:
    manifest = application()
    manifest["spec"]["arguments"] = ["--x", written]
    assert part(manifest)["spec"]["arguments"] == ["--x", expected]
    assert part(manifest, arguments=(written,))["spec"]["arguments"] == [expected], "the group's own"


@pytest.mark.parametrize(
    ("change", "fields", "message"),
    [
        pytest.param({}, {"executor": {"instances": 3}}, "executor.instances is 3; .* remove it", id="instances"),
        pytest.param({}, {"driver": {"podName": "d"}}, "driver.podName is 'd', but every group", id="own-driver-name"),
        pytest.param({"driver": {"podName": "d"}}, {}, "spec.driver.podName is 'd', but every", id="driver-name"),
        pytest.param(
            {"sparkConf": {"spark.kubernetes.executor.podNamePrefix": "p"}},
            {},
            r"spec.sparkConf\['spark.kubernetes.executor.podNamePrefix'\] is 'p', but every group",
            id="executor-names",
        ),
        pytest.param(
            {"sparkConf": {"spark.kubernetes.driverEnv.SPOTMIX_GROUP_INDEX": "7"}},
            {},
            "SPOTMIX_GROUP_INDEX'; variables that begin with SPOTMIX_GROUP_ are set by this provider: remove it",
            id="our-variable",
        ),
        pytest.param({"arguments": "--x"}, {}, "spec.arguments is '--x'; write a list there", id="arguments"),
        pytest.param(
            {"arguments": ["$(SPOTMIX_GROUP_ATTEMPT)"]},
            {},
            r"spec.arguments has '\$\(SPOTMIX_GROUP_ATTEMPT\)'; in arguments there are \$\(SPOTMIX_GROUP_INDEX\)",
            id="attempt-in-arguments",
        ),
    ],
)
def test_what_groups_cannot_have_is_refused(change: dict[str, Any], fields: dict[str, Any], message: str) -> None:
    manifest = application()
    manifest["spec"] |= change
    with pytest.raises(InvalidInputError, match=message):
        part(manifest, **fields)


# -- the second attempt

TWO = Pool(
    name="both",
    capacity_type=CapacityType.ON_DEMAND,
    node_selector={"a": "b"},
    node_requirements=(
        NodeRequirement(key="c", operator="In", values=("d", "e")),
        NodeRequirement(key="c", operator="Exists"),
    ),
)
POOLS = (*KARPENTER, *EKS, *GKE, *AKS, TWO)

words = st.sampled_from(["x", "y", "z"])
terms = st.lists(
    st.fixed_dictionaries({"matchExpressions": st.lists(st.fixed_dictionaries({"key": words}), min_size=1)}),
    min_size=1,
    max_size=2,
)
affinities = st.one_of(
    terms.map(
        lambda each: {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": each}}}
    ),
    st.just({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}]}}),
)
pods = st.fixed_dictionaries(
    {},
    optional={
        "nodeSelector": st.dictionaries(words, words, min_size=1),
        "tolerations": st.lists(
            st.sampled_from([{"key": "x"}, {"key": "karpenter.sh/capacity-type", "value": "spot"}]), min_size=1
        ),
        "affinity": affinities,
        "schedulingGates": st.just([{"name": "another"}]),
    },
)
templates = st.one_of(st.none(), st.fixed_dictionaries({"spec": pods}))


def rendered(manifest: dict[str, Any], pool: Pool, attempt: int) -> dict[str, Any]:
    name = "etl-0-abc" if attempt == 1 else "etl-0r-abc"
    overlay = Overlay(
        name=name,
        namespace="spark",
        labels={"dag_id": "d", labels.FLEET: "f", labels.APPLICATION: name},
        annotations={labels.IDENTITY: "i"},
        executor_gates=(),
        driver_pool=KARPENTER[1],
        spark_conf={"spark.x": "y"},
        grace_seconds=15,
        executor_pool=pool,
        driver_gates=(labels.RESUBMISSION_GATE,) if attempt == 2 else (),
    )
    found = Kubeflow().render(manifest, overlay)
    found["spec"]["sparkConf"]["spark.kubernetes.driverEnv.SPOTMIX_GROUP_ATTEMPT"] = str(attempt)
    return found


@given(templates, templates, st.sampled_from(POOLS), st.sampled_from(POOLS))
def test_the_second_attempt_is_what_rendering_it_would_have_given(
    executor: dict[str, Any] | None, driver: dict[str, Any] | None, from_pool: Pool, to_pool: Pool
) -> None:
    manifest = part(application(template=executor) if executor else application())
    if driver and "affinity" not in driver["spec"]:
        manifest["spec"]["driver"]["template"] = driver
    live = convert(rendered(manifest, from_pool, 1) | {"status": {"applicationState": {"state": "FAILED"}}}, Raw)
    moved = Kubeflow().moved(live, name="etl-0r-abc", from_pool=from_pool, to_pool=to_pool)
    assert moved == rendered(manifest, to_pool, 2)
