"""What a plan has to be, whatever it was made of. Written from the documentation of Kubernetes and of ours alone."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.fleet.plan import FleetPlan

GATE = {"name": "spotmix.io/placement"}
MAX_MESSAGE = 1000
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_FIELD = re.compile(
    r"groups?|policy|price|currency|in_cluster|kube_?config|context|ratio|on_demand_base|placement|pool|namespace|name|application|template_spec|connection|spec|metadata|kind"
    r"|apiVersion|\S+ is |\S+ has "
)
# The person's, but ours to say.
_OURS = {("metadata", "name"), ("metadata", "namespace"), ("metadata", "generateName")}
# What groups share out.
_SHARED = {("spec", "executor", "instances")}


def check_error(error: BaseException) -> None:
    """An error says what is wrong in a few words, and hides no other one."""
    message = str(error)
    assert message
    assert len(message) <= MAX_MESSAGE, f"{len(message)} characters: {message}"
    assert "Traceback" not in message
    assert _FIELD.search(message), f"names no field: {message}"
    assert re.search(r"[;:,(]|^give ", message), f"has no remedy: {message}"
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__, "a traceback would show another error before it"


def check_plan(plan: FleetPlan, application: Mapping[str, Any] | None) -> None:
    """A plan can be sent, holds what we promise, and what the person wrote."""
    applications = json.loads(json.dumps(plan.applications, allow_nan=False, ensure_ascii=False).encode())
    sent = json.loads(json.dumps(msgspec.to_builtins(plan.spec)))
    assert msgspec.convert(sent, FleetSpec) == plan.spec
    assert plan.spec.executors >= 1
    assert sum(plan.spec.mix.seats(min(plan.spec.executors, 50)).values()) == min(plan.spec.executors, 50)
    assert plan.spec.mix.on_demand_base <= plan.spec.executors or any(each.dynamic for each in plan.spec.applications)
    check_pools(plan.spec)
    assert [each["metadata"]["name"] for each in applications] == [
        each.name for each in plan.spec.applications if not each.replaces
    ]
    for each in applications:
        check_application(each, plan.spec)
        if application is not None and plan.spec.placement != "groups":
            check_kept(application, each, (), _SHARED if plan.spec.placement == "groups" else ())


def check_pools(spec: FleetSpec) -> None:
    """Every pool has its own name and selects nodes; the driver's is not spot."""
    names = [pool.name for pool in spec.pools]
    assert len(set(names)) == len(names)
    assert {share.pool for share in spec.mix.shares} <= set(names)
    assert not spec.pool(spec.fallback_pool).is_spot
    for pool in spec.pools:
        assert pool.name
        assert _VALUE.fullmatch(pool.name)
        assert pool.node_selector or pool.node_requirements
        check_labels(pool.node_selector)


def check_application(application: Mapping[str, Any], spec: FleetSpec) -> None:
    """Its executors wait for us or are born on their pool, its driver does not, and both are found."""
    metadata, parts = application["metadata"], application["spec"]
    assert _NAME.fullmatch(metadata["name"])
    assert len(metadata["name"]) + len("-ui-ingress-0") <= 63
    assert metadata["namespace"] == spec.namespace
    assert _NAMESPACE.fullmatch(spec.namespace)
    ours = {"spotmix.io/fleet": spec.fleet_id, "spotmix.io/application": metadata["name"]}
    check_labels(metadata["labels"])
    assert ours.items() <= metadata["labels"].items()
    assert metadata["annotations"]["spotmix.io/identity"]
    gates = {role: parts[role]["template"]["spec"].get("schedulingGates") or [] for role in ("driver", "executor")}
    placed = spec.first_attempts[0].pool == ""
    assert gates["executor"].count(GATE) == placed
    assert GATE not in gates["driver"]
    for role in ("driver", "executor"):
        check_labels(parts[role]["template"]["metadata"]["labels"])
        assert ours.items() <= parts[role]["template"]["metadata"]["labels"].items()
        assert not any(key.startswith("spotmix.io/") for key in parts[role].get("labels") or {})
        assert parts[role]["template"]["spec"]["containers"]
    driver, pool = parts["driver"]["template"]["spec"], spec.pool(spec.fallback_pool)
    assert pool.node_selector.items() <= (driver.get("nodeSelector") or {}).items()
    if pool.node_requirements:
        affinity = driver["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        wanted = {each.key for each in pool.node_requirements}
        for term in affinity["nodeSelectorTerms"]:
            assert wanted <= {each["key"] for each in term["matchExpressions"]}
    assert all(isinstance(value, str) for value in parts["sparkConf"].values())
    assert not parts["executor"].get("affinity")
    assert parts["sparkConf"].get("spark.kubernetes.namespace", spec.namespace) == spec.namespace
    assert (parts.get("mode") or "cluster") == "cluster"


def check_group(application: Mapping[str, Any], spec: FleetSpec) -> None:
    """Executors of a group are born on its pool."""
    (own,) = (each for each in spec.applications if each.name == application["metadata"]["name"])
    executor, pool = application["spec"]["executor"], spec.pool(own.pool)
    assert executor["instances"] == own.executors >= 1
    assert pool.node_selector.items() <= (executor["template"]["spec"].get("nodeSelector") or {}).items()
    assert GATE not in (executor["template"]["spec"].get("schedulingGates") or [])


def check_labels(found: Mapping[str, Any]) -> None:
    """Labels, as Kubernetes takes them."""
    for key, value in found.items():
        assert _KEY.fullmatch(key), key
        assert _VALUE.fullmatch(value), value


def check_kept(written: Any, sent: Any, path: tuple[Any, ...], others: Collection[tuple[str, ...]] = ()) -> None:
    """What the person wrote is there; lists and mappings may have grown, nulls may have been filled."""
    if path in _OURS or path in others or written is None:
        return
    if isinstance(written, Mapping):
        for key, value in written.items():
            if value is not None:
                check_kept(value, sent[key], (*path, key), others)
    elif isinstance(written, list | tuple):
        assert len(sent) >= len(written), path
        for number, value in enumerate(written):
            check_kept(value, sent[number], (*path, number), others)
    elif isinstance(written, dt.date):
        assert sent.replace("T", " ") == str(written), path
    else:
        assert type(sent) is type(written), path
        assert sent == written, path
