"""What a borrowed cluster must have before the demo is played on it: all that is missing is told at once."""

from __future__ import annotations

import asyncio
import http.client
import secrets
import time
from collections.abc import Iterator

from airflow_provider_spotmix.core.errors import listed
from airflow_provider_spotmix.core.pools import Pool
from airflow_provider_spotmix.fleet.preflight import Finding, Level, examine
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.errors import KubeError
from airflow_provider_spotmix.lab.api import Api, ApiError, Json
from airflow_provider_spotmix.lab.borrowed import CODE, CONFIG_MAP, Borrowed
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.progress import Step

PROBE = "spotmix-demo-probe"
PROBE_SECONDS = 300.0  # an image may have to be pulled
OPERATOR_SECONDS = 60.0
_BAD_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName")

# What the demo itself does, beside looking after a fleet: group, resource, subresource, verb, whether in the namespace.
_RIGHTS = [
    ("", "nodes", "", "list", False),
    ("", "nodes", "", "patch", False),
    ("", "pods", "eviction", "create", True),
    ("", "configmaps", "", "patch", True),
    ("", "configmaps", "", "delete", True),
]
_RIGHTS_TO_MOVE_IN = [
    ("", "namespaces", "", "get", False),
    ("", "namespaces", "", "patch", False),
    ("", "namespaces", "", "delete", False),
    ("", "serviceaccounts", "", "patch", True),
    ("rbac.authorization.k8s.io", "roles", "", "patch", True),
    ("rbac.authorization.k8s.io", "rolebindings", "", "patch", True),
]


def look(place: Borrowed) -> tuple[Finding, ...]:
    """Go through the checklist; nothing is changed.

    Raises:
        LabError: the API server does not answer, or does not accept the credentials.

    """
    config = ClusterConfig(config_file=str(place.kubeconfig), context=place.context)
    try:
        general = asyncio.run(_examine(config, place.namespace))
        is_new = _is_new(place)
    except KubeError as error:
        raise LabError(f"the cluster of {place.kubeconfig} cannot be used: {error}") from error
    if is_new:  # it will be made
        general = tuple(each for each in general if "there is no namespace" not in each.text)
    return (*general, *_rights(place, is_new=is_new), *_nodes(place), *(() if is_new else _account(place)))


def _is_new(place: Borrowed) -> bool:
    """Whether the namespace would have to be made; where we may not look, too: then that right is missing."""
    try:
        return place.api.find(f"/api/v1/namespaces/{place.namespace}") is None
    except ApiError as error:
        if error.code != http.client.FORBIDDEN:
            raise
        return True


async def _examine(config: ClusterConfig, namespace: str) -> tuple[Finding, ...]:
    kube = await config.connect()
    try:
        return await examine(kube, namespace)
    finally:
        await kube.close()


def _rights(place: Borrowed, *, is_new: bool) -> Iterator[Finding]:
    for group, resource, subresource, verb, namespaced in _RIGHTS + (_RIGHTS_TO_MOVE_IN if is_new else []):
        attributes = {"group": group, "resource": resource, "subresource": subresource, "verb": verb}
        attributes |= {"namespace": place.namespace} if namespaced else {}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = place.api.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        if not answer["status"].get("allowed"):
            what = "/".join(filter(None, (resource, subresource)))
            yield Finding(Level.MISSING, f"permission to {verb} {what}: give a kubeconfig whose user has it")


def _nodes(place: Borrowed) -> Iterator[Finding]:
    try:
        nodes = place.api.items("/api/v1/nodes")
    except ApiError:  # told among the rights
        return
    for pool in place.pools:
        names = [node["metadata"]["name"] for node in nodes if is_of(node, pool)]
        if names:
            yield Finding(Level.GOOD, f"nodes of pool {pool.name!r}: {listed(names[:5])}{' ...' * (len(names) > 5)}")
        else:
            wanted = ", ".join(f"{key}={value}" for key, value in pool.node_selector.items()) or "as its preset says"
            yield Finding(
                Level.MISSING,
                f"no node of pool {pool.name!r} ({wanted}): label one, have your autoscaler bring one, or choose"
                " another --pools",
            )


def _account(place: Borrowed) -> Iterator[Finding]:
    if place.api.find(f"/api/v1/namespaces/{place.namespace}/serviceaccounts/{place.service_account}") is None:
        yield Finding(
            Level.MISSING,
            f"there is no service account {place.service_account!r} in namespace {place.namespace!r}: name the one"
            " that drivers use with --service-account",
        )


def is_of(node: Json, pool: Pool) -> bool:
    """Whether a node belongs to a pool; of requirements, those on the absence of a label or value are understood."""
    labels = node["metadata"].get("labels") or {}
    selected = all(labels.get(key) == value for key, value in pool.node_selector.items())
    refused = (
        labels.get(each.key) in each.values if each.values else each.key in labels for each in pool.node_requirements
    )
    return selected and not any(refused)


def try_out(place: Borrowed, step: Step) -> None:
    """Have the operator run a driver that only imports pyspark: shows operator, image and service account at work.

    Raises:
        LabError: it does not work, and why.

    """
    base = f"/apis/sparkoperator.k8s.io/v1beta2/namespaces/{place.namespace}/sparkapplications"
    place.api.patch(
        f"/api/v1/namespaces/{place.namespace}/configmaps/{CONFIG_MAP}",
        {"data": {"probe.py": "import pyspark; print('pyspark', pyspark.__version__)\n"}},
    )
    name = f"{PROBE}-{secrets.token_hex(3)}"  # the driver of an earlier one may still be there
    manifest = place.application()
    manifest["metadata"]["name"] = name
    manifest["spec"] |= {"mainApplicationFile": f"local://{CODE}/probe.py", "arguments": []}
    place.api.create(base, manifest)
    try:
        _wait_for_probe(place, f"{base}/{name}", step)
    finally:
        place.api.delete(f"{base}/{name}")


def _wait_for_probe(place: Borrowed, probe: str, step: Step) -> None:
    driver = f"/api/v1/namespaces/{place.namespace}/pods/{probe.rpartition('/')[2]}-driver"
    started = time.monotonic()
    while (waited := time.monotonic() - started) < PROBE_SECONDS:
        status = place.api.get(probe).get("status", {})
        state = status.get("applicationState", {})
        match state.get("state", ""):
            case "COMPLETED":
                return
            case "FAILED" | "SUBMISSION_FAILED":
                log = _log(place.api, driver)
                raise LabError(
                    f"a driver that only imports pyspark has failed: {state.get('errorMessage', '')}\n{log}",
                    remedy="is --image Spark with Python, and --service-account one that may run drivers?",
                )
            case "" if waited > OPERATOR_SECONDS:
                raise LabError(
                    f"the Spark operator has done nothing with an application in namespace {place.namespace!r} for"
                    f" {waited:.0f} s",
                    remedy="is it running, and does it look after that namespace (Helm value spark.jobNamespaces)?",
                )
            case found:
                step.update(found or "waiting for the operator")
        _check_image(place, driver)
        time.sleep(0.5)
    raise LabError(f"a driver that only imports pyspark has not ended after {PROBE_SECONDS:.0f} s")


def _check_image(place: Borrowed, driver: str) -> None:
    for status in (place.api.find(driver) or {"status": {}})["status"].get("containerStatuses", []):
        waiting = status["state"].get("waiting", {})
        if waiting.get("reason") in _BAD_IMAGE:
            raise LabError(
                f"image {place.image!r} cannot be pulled: {waiting.get('message', waiting['reason'])}",
                remedy="name one that your nodes can pull with --image",
            )


def _log(api: Api, driver: str) -> str:
    try:
        return api.text(f"{driver}/log", tailLines="10")
    except ApiError as error:
        return str(error)
