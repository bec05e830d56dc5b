"""What people might give to `SparkFleetOperator`: a valid task, changed here and there until it may be nonsense."""

from __future__ import annotations

import copy
import datetime as dt
import json
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, get_args

import yaml
from hypothesis import strategies as st

from airflow_provider_spotmix.core.cost import Price
from airflow_provider_spotmix.core.policy import Fallback, Policy
from airflow_provider_spotmix.hooks.settings import SpotmixExtra
from tests.hooks.test_ratio import ratios

SMALL: dict[str, Any] = {
    "apiVersion": "sparkoperator.k8s.io/v1beta2",
    "kind": "SparkApplication",
    "metadata": {"name": "etl"},
    "spec": {
        "type": "Python",
        "sparkVersion": "4.0.4",
        "mainApplicationFile": "local:///opt/app/etl.py",
        "driver": {"cores": 1},
        "executor": {"instances": 5},
    },
}
_ZONE = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["a", "b"]}
_REQUIRED, _PREFERRED = (f"{word}DuringSchedulingIgnoredDuringExecution" for word in ("required", "preferred"))
LARGE: dict[str, Any] = {
    "apiVersion": "sparkoperator.k8s.io/v1beta2",
    "kind": "SparkApplication",
    "metadata": {
        "name": "daily-etl",
        "namespace": "team-a",
        "labels": {"team": "data", "example.com/cost": "42"},
        "annotations": {"example.com/note": "a longer note, with: signs"},
    },
    "spec": {
        "type": "Scala",
        "mode": "cluster",
        "image": "spark:4.0.4",
        "sparkVersion": "4.0.4",
        "mainClass": "com.example.Etl",
        "mainApplicationFile": "local:///opt/app/etl.jar",
        "arguments": ["--day", "2026-01-01"],
        "sparkConf": {"spark.task.maxFailures": "4", "spark.executor.instances": "7", "spark.eventLog.enabled": "true"},
        "hadoopConf": {"fs.s3a.endpoint": "s3.example.com"},
        "restartPolicy": {"type": "OnFailure", "onFailureRetries": 2, "onFailureRetryInterval": 10},
        "dynamicAllocation": {"enabled": True, "initialExecutors": 3, "minExecutors": 2, "maxExecutors": 9},
        "driver": {
            "cores": 1,
            "memory": "1g",
            "serviceAccount": "spark",
            "labels": {"version": "4.0.4"},
            "annotations": {"example.com/role": "driver"},
            "env": [{"name": "A", "value": "b"}],
            "tolerations": [{"key": "team", "operator": "Exists"}],
            "template": {
                "metadata": {"labels": {"part": "driver"}},
                "spec": {
                    "nodeSelector": {"disk": "ssd"},
                    "containers": [{"name": "spark-kubernetes-driver", "env": [{"name": "C", "value": "d"}]}],
                    "affinity": {"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [_ZONE]}]}}},
                },
            },
        },
        "executor": {
            "cores": 2,
            "memory": "2g",
            "instances": 5,
            "labels": {"version": "4.0.4"},
            "terminationGracePeriodSeconds": 60,
            "template": {
                "metadata": {"labels": {"part": "executor"}, "annotations": {"example.com/role": "executor"}},
                "spec": {
                    "priorityClassName": "low",
                    "terminationGracePeriodSeconds": 60,
                    "schedulingGates": [{"name": "example.com/quota"}],
                    "tolerations": [{"key": "gpu", "operator": "Equal", "value": "true", "effect": "NoSchedule"}],
                    "containers": [{"name": "spark-kubernetes-executor"}, {"name": "logs", "image": "busybox"}],
                    "affinity": {
                        "nodeAffinity": {
                            _PREFERRED: [{"weight": 1, "preference": {"matchExpressions": [_ZONE]}}],
                            _REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [_ZONE]}, {}]},
                        }
                    },
                },
            },
        },
    },
}

_CAPACITY = "karpenter.sh/capacity-type"
_TERMS = [{"matchExpressions": [{"key": _CAPACITY, "operator": "In", "values": ["spot", "on-demand"]}]}]
# What is wrong, or special, at one place only: chance would not find it.
SPECIAL: list[tuple[str, Any]] = [
    (f"{role}/{where}", value)
    for role in ("spec/driver", "spec/executor")
    for where, value in (
        ("affinity", {"nodeAffinity": {}}),
        ("labels", {"spotmix.io/fleet": "x"}),
        ("labels", {"dag_id": "mine"}),
        ("labels", {"team": "a b"}),
        ("template/metadata/labels", {"a b": "c"}),
        ("nodeSelector", {_CAPACITY: "spot"}),
        ("template/metadata/labels", {"spotmix.io/seat": "0"}),
        ("template/spec/affinity/nodeAffinity", {_REQUIRED: {"nodeSelectorTerms": _TERMS}}),
        ("template/spec/nodeName", "node-1"),
        ("template/spec/nodeSelector", {_CAPACITY: "on-demand"}),
        ("template/spec/schedulingGates", [{"name": "spotmix.io/placement"}]),
    )
] + [
    (f"spec/sparkConf/{name}", value)
    for name, value in (
        ("spark.dynamicAllocation.enabled", "true"),
        ("spark.dynamicAllocation.maxExecutors", "4"),
        ("spark.executor.instances", "0"),
        ("spark.kubernetes.allocation.pods.allocator", "statefulset"),
        ("spark.kubernetes.driver.node.selector.karpenter.sh/capacity-type", "spot"),
        ("spark.kubernetes.executor.label.spotmix.io/fleet", "x"),
        ("spark.kubernetes.executor.podTemplateFile", "/x.yaml"),
        ("spark.kubernetes.executor.terminationGracePeriodSeconds", "2m"),
        ("spark.kubernetes.executor.terminationGracePeriodSeconds", "9" * 5000),
        ("spark.kubernetes.namespace", "other"),
    )
]

POOLS: list[dict[str, Any]] = [
    {
        "name": "spot",
        "capacity_type": "spot",
        "node_selector": {"cloud.google.com/gke-spot": "true"},
        "tolerations": [{"key": "cloud.google.com/gke-spot", "value": "true", "effect": "NoSchedule"}],
    },
    {
        "name": "on-demand",
        "capacity_type": "on-demand",
        "node_requirements": [{"key": "cloud.google.com/gke-spot", "operator": "DoesNotExist"}],
    },
    {"name": "big", "capacity_type": "spot", "node_selector": {"size": "big"}},
]

texts = (
    st.sampled_from(
        ["", " ", "true", "two", "5", "-1", "1e3", "\0", "\ud800", "a\nb", "é" * 70, "x" * 3000, "{{ ds }}"]
    )
    | st.text(max_size=8)
    | st.text("abz019-._/A", max_size=8)
)
numbers = (
    st.sampled_from([0, -1, 1, 2, 2.0, math.nan, math.inf, 10**6, 2**31, 2**63, 10**400, 1e300])
    | st.integers()
    | st.floats()
)
scalars = (
    st.none()
    | st.booleans()
    | numbers
    | texts
    | st.binary(max_size=4)
    | st.dates()
    | st.datetimes()
    | st.just(dt.timedelta(1))
    | st.just({1, 2})
    | st.builds(object)
)
keys = texts | st.integers(-3, 3) | st.none() | st.booleans() | st.sampled_from(["spec", "metadata", "name", "<<"])
junk = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=4
)


@dataclass
class Task:
    """Arguments of an operator, and the extra of its connection.

    ``application`` is what the person meant, where that is known; ``changed`` are the fields of it that are not as in a
    valid one. ``is_plain``: nothing else is unusual.
    """

    arguments: dict[str, Any]
    extra: dict[str, Any] = field(default_factory=dict)
    application: dict[str, Any] | None = None
    changed: list[tuple[Any, ...]] = field(default_factory=list)
    is_plain: bool = False


Draw = Callable[[st.SearchStrategy[Any]], Any]


@st.composite
def tasks(draw: Draw) -> Task:
    """Any task: mostly an application that was changed a little, and arguments that may be anything."""
    application, changed = draw(applications)
    given: dict[str, Any] = draw(forms(application))
    known = application if given.pop("is_known") else None
    return Task({**given, **draw(arguments)}, draw(extras), known, changed)


@st.composite
def plain_tasks(draw: Draw) -> Task:
    """A task with nothing unusual but one field of its application."""
    application, changed = draw(changes(1))
    return Task({"template_spec": application, "namespace": "spark"}, {}, application, changed, is_plain=True)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of everything in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from places(each, (*path, key))


def inside(document: Any, path: tuple[Any, ...]) -> Any:
    """What is at a path."""
    for key in path:
        document = document[key]
    return document


@st.composite
def changes(draw: Draw, count: int) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """A valid application with that many changes, and where they are."""
    document = copy.deepcopy(draw(st.sampled_from([SMALL, LARGE])))
    changed = []
    for _ in range(count):
        change = draw(st.sampled_from([_delete, _replace, _replace, _wrap, _double, _swap, _add, _special, _special]))
        found = list(places(document))
        if found:
            changed.append(change(draw, document, draw(st.sampled_from(found))))
    return document, changed


def _delete(draw: Draw, document: Any, path: tuple[Any, ...]) -> tuple[Any, ...]:
    del inside(document, path[:-1])[path[-1]]
    return path


def _replace(draw: Draw, document: Any, path: tuple[Any, ...]) -> tuple[Any, ...]:
    inside(document, path[:-1])[path[-1]] = draw(junk)
    return path


def _wrap(draw: Draw, document: Any, path: tuple[Any, ...]) -> tuple[Any, ...]:
    parent = inside(document, path[:-1])
    parent[path[-1]] = draw(st.sampled_from([lambda v: [v], lambda v: {"a": v}, str, lambda v: [v, v], list]))(
        parent[path[-1]] if isinstance(parent[path[-1]], str | list | dict) else [parent[path[-1]]]
    )
    return path


def _double(draw: Draw, document: Any, path: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same twice, in another place."""
    parent = inside(document, path[:-1])
    if isinstance(parent, list):
        parent.append(copy.deepcopy(parent[path[-1]]))
    else:
        parent[draw(keys)] = copy.deepcopy(parent[path[-1]])
    return path[:-1]


def _swap(draw: Draw, document: Any, path: tuple[Any, ...]) -> tuple[Any, ...]:
    """What belongs elsewhere."""
    other = draw(st.sampled_from(list(places(document))))
    inside(document, path[:-1])[path[-1]] = copy.deepcopy(inside(document, other))
    return path


def _add(draw: Draw, document: Any, path: tuple[Any, ...]) -> tuple[Any, ...]:
    found = inside(document, path)
    if isinstance(found, dict):
        found[draw(keys)] = draw(junk)
    elif isinstance(found, list):
        found.append(draw(junk))
    return path


def _special(draw: Draw, document: Any, path: tuple[Any, ...]) -> tuple[Any, ...]:
    where, value = draw(st.sampled_from(SPECIAL))
    if "sparkConf/" in where:
        *parents, last = ("spec", "sparkConf", where.removeprefix("spec/sparkConf/"))
    else:
        *parents, last = where.split("/")
    target = document
    for parent in parents:
        if not isinstance(target.get(parent), dict):
            target[parent] = {}
        target = target[parent]
    target[last] = copy.deepcopy(value)
    return (*parents, last)


applications = st.integers(0, 3).flatmap(changes)


@st.composite
def forms(draw: Draw, application: Any) -> dict[str, Any]:
    """An application in one of the forms that the operator takes, or nearly so."""
    form = draw(st.sampled_from(["mapping", "mapping", "yaml", "json", "torn", "wrapped", "text", "other"]))
    if form in ("yaml", "json", "torn"):
        with suppress(Exception):  # what cannot be written stays a mapping
            if form == "json":
                text = json.dumps(application)
                return {"application_file": text, "is_known": json.loads(text) == application}
            text = yaml.safe_dump(application, sort_keys=False)
            if form == "torn":
                return {"application_file": draw(torn(text)), "is_known": False}
            return {"application_file": text, "is_known": True}
    if form == "wrapped":
        wrapped = {"spark": application, "kubernetes": draw(st.just({}) | junk)}
        return {"template_spec": wrapped, "is_known": not wrapped["kubernetes"] and "spec" in application}
    if form == "text":
        text = draw(st.text(max_size=40) | st.text("ab:[]{}&*-?!|>%@`'\"#,\n\t 0", max_size=40) | texts)
        return {"application_file": text + draw(st.sampled_from(["", "\n", ".yaml"])), "is_known": False}
    if form == "other":
        return {draw(st.sampled_from(["application_file", "template_spec"])): draw(junk), "is_known": False}
    return {"template_spec": application, "is_known": True}


@st.composite
def torn(draw: Draw, text: str) -> str:
    """Text that somebody's editor, template or merge has damaged."""
    lines = text.splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 3))):
        number = draw(st.integers(0, max(len(lines) - 1, 0)))
        damage = draw(st.sampled_from(["lose", "double", "indent", "cut", "insert"]))
        if damage == "lose":
            del lines[number : number + 1]
        elif damage == "double":
            lines[number:number] = lines[number : number + draw(st.integers(1, 5))]
        elif damage == "indent":
            lines[number : number + 1] = [" " * draw(st.integers(1, 4)) + line for line in lines[number : number + 1]]
        elif damage == "cut":
            lines = lines[: number + 1]
        else:
            lines.insert(
                number, draw(st.sampled_from(["---\n", "\t\n", "<<: *a\n", "&a a: *a\n", "{{ x }}\n", "- x\n"]))
            )
    return "".join(lines)


@st.composite
def pool_lists(draw: Draw) -> Any:
    """Pools, changed a little."""
    pools = copy.deepcopy(draw(st.sampled_from([POOLS[:2], POOLS, POOLS[:1], [POOLS[0], POOLS[2]]])))
    for _ in range(draw(st.integers(0, 2))):
        found = list(places(pools))
        if found:
            draw(st.sampled_from([_delete, _replace, _wrap, _double, _swap, _add]))(
                draw, pools, draw(st.sampled_from(found))
            )
    with suppress(Exception):
        return json.dumps(pools) if draw(st.booleans()) else pools
    return pools


@st.composite
def pool_tasks(draw: Draw) -> Task:
    """A task with nothing unusual but its pools."""
    pools = draw(pool_lists())
    count = len(json.loads(pools) if isinstance(pools, str) else pools)
    return Task({"template_spec": SMALL, "namespace": "spark", "pools": pools, "ratio": ":".join("1" * count)})


_names = st.sampled_from(["etl", "daily-etl", "Daily ETL", "9to5", "a" * 300, "a-", "spark"]) | texts | junk
_pools = st.sampled_from(["karpenter", "gke", "aks", "eks", "azure"]) | pool_lists() | junk
_bases = st.integers(0, 6) | st.sampled_from(["2", "two"]) | junk
_ratios = st.sampled_from(["40:60", 0.4, {"spot": 1, "on-demand": 2}, "1:2:3", "140%", {"big": 1}]) | ratios | junk
_settings: dict[str, st.SearchStrategy[Any]] = {
    "ratio": _ratios,
    "on_demand_base": _bases,
    "placement": st.sampled_from(["template", "groups", "spread"]) | junk,
    "pools": _pools,
    "controller": st.sampled_from(["airflow", "agent", "triggerer"]) | junk,
    "namespace": _names,
}


def _some(strategies: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """None, one or two of these, so that what is wrong with one does not always hide what is wrong with another."""
    chosen = st.lists(st.sampled_from(sorted(strategies)), max_size=2, unique=True)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: strategies[name] for name in names}))


_amounts = st.sampled_from([0, 1, 0.04, "0.012", -1, 1e300, "a lot"]) | junk
_keys = st.sampled_from([*Policy.__struct_fields__, *Price.__struct_fields__]) | keys
_numbers = st.dictionaries(_keys, _amounts, max_size=5)
_policies = _numbers | junk | _numbers.map(str)
_fallbacks = st.sampled_from([*get_args(Fallback), "spot"]) | junk
_prices = st.dictionaries(st.sampled_from(["spot", "on-demand"]) | keys, _numbers | junk, max_size=8)


def _nested(path: list[str], value: Any) -> Any:
    return {path[0]: _nested(path[1:], value)} if path else value


_sections = st.dictionaries(
    st.sampled_from(["instances", "cores", "labels", "template", "nodeSelector", "env", "tolerations"]) | keys,
    junk,
    max_size=2,
) | st.sampled_from([_nested(where.split("/")[2:], value) for where, value in SPECIAL if "sparkConf" not in where])
GROUPS: list[dict[str, Any]] = [
    {"name": "europe", "pool": "spot", "share": 2, "arguments": ["--part", "$(SPOTMIX_GROUP_INDEX)"]},
    {"name": "asia", "pool": "on-demand", "node_selector": {"zone": "a"}, "tolerations": [{"key": "gpu"}]},
    {"name": "us", "pool": "on-demand", "driver": {"cores": 2}, "executor": {"memory": "4g"}},
    {
        "name": "all",
        "pool": "spot",
        "node_selector": {"disk": "ssd"},
        "tolerations": [{"key": "team", "operator": "Exists"}],
        "executor": {"template": {"spec": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "x"}]}}},
    },
]


@st.composite
def group_lists(draw: Draw) -> Any:
    """Groups, changed a little."""
    groups = copy.deepcopy(draw(st.sampled_from([GROUPS, GROUPS[:1], GROUPS[1:]])))
    if draw(st.booleans()):
        groups[0][draw(st.sampled_from(["driver", "executor"]))] = copy.deepcopy(draw(_sections))
    for _ in range(draw(st.integers(0, 2))):
        found = list(places(groups))
        if found:
            draw(st.sampled_from([_delete, _replace, _wrap, _double, _swap, _add]))(
                draw, groups, draw(st.sampled_from(found))
            )
    with suppress(Exception):
        return json.dumps(groups) if draw(st.booleans()) else groups
    return groups


@st.composite
def group_tasks(draw: Draw) -> Task:
    """A task with placement `groups`."""
    application, _ = draw(changes(0) | changes(1))
    application.get("spec", {}).pop("dynamicAllocation", None) if isinstance(application.get("spec"), dict) else None
    given = draw(_some({"groups": _groups, "success_policy": _quorums, "ratio": _ratios, "on_demand_base": _bases}))
    return Task({"template_spec": application, "placement": "groups", "namespace": "spark", **given})


# What SparkKubernetesOperator takes beside an application, and inside it.
_PEERS: dict[str, Any] = {
    "env_vars": [{"name": "A", "value": "b"}],
    "env_from": [{"configMapRef": {"name": "a"}}],
    "from_env_config_map": ["a"],
    "from_env_secret": ["a"],
    "image_pull_secrets": "a,b",
    "volumes": [{"name": "data", "emptyDir": {}}],
    "volume_mounts": [{"name": "data", "mountPath": "/data"}],
    "config_map_mounts": {"settings": "/etc/settings"},
    "affinity": {"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [_ZONE]}]}}},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "node_selector": {"disk": "ssd"},
    "in_cluster": False,
    "cluster_context": "main",
    "kube_config_file": None,
}
_RESOURCES = {"cpu": {"request": "1", "limit": 2}, "memory": {"request": "1Gi", "limit": "2Gi"}, "gpu": {"name": "a"}}


@st.composite
def peer_tasks(draw: Draw) -> Task:
    """An application in SparkKubernetesOperator's own form, changed a little."""
    application = copy.deepcopy(draw(st.sampled_from([SMALL, LARGE])))
    names = draw(st.lists(st.sampled_from(sorted(_PEERS)), max_size=3, unique=True))
    found = {"spark": application, "kubernetes": {name: copy.deepcopy(_PEERS[name]) for name in names}}
    if draw(st.booleans()):
        application["spec"][draw(st.sampled_from(["driver", "executor"]))]["container_resources"] = copy.deepcopy(
            _RESOURCES
        )
    for _ in range(draw(st.integers(0, 2))):
        change = draw(st.sampled_from([_delete, _replace, _wrap, _double, _add]))
        inner = [path for path in places(found) if path[0] == "kubernetes" or "container_resources" in path]
        change(draw, found, draw(st.sampled_from(inner or [("kubernetes",)])))
        if "kubernetes" not in found:
            found["kubernetes"] = {}
    given = {"image": texts | junk, "code_path": texts | junk, "startup_timeout_seconds": _amounts}
    return Task({"template_spec": found, "namespace": "spark", **draw(_some(given))})


_groups = group_lists() | st.integers(-1, 7) | junk
_quorums = st.sampled_from(["all", "any", 1, "2", {"quorum": 2}, '{"quorum": 1}', 9]) | junk
_conn_ids = st.sampled_from(["spotmix_default", "nowhere", ""]) | junk
SECRET = "correct-horse-battery-staple"
KUBECONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "main",
    "clusters": [{"name": "c", "cluster": {"server": "https://[::1]:6443", "insecure-skip-tls-verify": True}}],
    "users": [{"name": "u", "user": {"token": SECRET, "as": "somebody", "as-groups": ["a"]}}],
    "contexts": [{"name": "main", "context": {"cluster": "c", "user": "u", "namespace": "spark"}}],
}


@st.composite
def kubeconfigs(draw: Draw) -> str:
    """The text of a kubeconfig, changed a little."""
    document = copy.deepcopy(KUBECONFIG)
    for _ in range(draw(st.integers(0, 2))):
        change = draw(st.sampled_from([_delete, _replace, _replace, _wrap, _add]))  # none that moves the secret
        change(draw, document, draw(st.sampled_from(list(places(document)) or [()])))
    text = str(document)
    with suppress(Exception):
        text = yaml.safe_dump(document)
    return draw(torn(text)) if draw(st.booleans()) else text


@st.composite
def connections(draw: Draw) -> dict[str, Any]:
    """The extra of a connection: every field that there is may be in it, and be anything."""
    fields = draw(st.lists(st.sampled_from([*SpotmixExtra.model_fields, "unknown"]), max_size=4, unique=True))
    known = {**_settings, "kube_config": kubeconfigs(), "policy": _policies, "prices": _prices}
    return {name: draw(known.get(name, junk) | junk) for name in fields}


arguments = _some(
    {
        **_settings,
        "name": _names,
        "spotmix_conn_id": _conn_ids,
        "kubernetes_conn_id": _conn_ids,
        "policy": _policies,
        "groups": _groups,
        "success_policy": _quorums,
        "in_cluster": st.booleans() | junk,
        "config_file": texts | junk,
        "cluster_context": texts | junk,
        "startup_timeout_seconds": _amounts,
        "spot_pending_timeout_seconds": _amounts,
        "fallback": _fallbacks,
        "get_logs": st.booleans() | junk,
        "follow_driver_log": st.booleans() | junk,
        "driver_log_lines": st.integers(-1, 5) | junk,
        "delete_on_termination": st.booleans() | junk,
        "deferrable": st.booleans() | junk,
    }
)
extras: st.SearchStrategy[dict[str, Any]] = st.just({}) | _some(
    {**_settings, "kubernetes_conn_id": _names, "ratoi": junk, "in_cluster": junk}
)
