"""Look whether a cluster has what a fleet needs, before anything is submitted: all that is missing is told at once.

Four requests where everything is there; one more for each verb that no rule lists, since some authorizers list none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from airflow_provider_spotmix.backends import backend
from airflow_provider_spotmix.core.errors import ClusterNotReadyError
from airflow_provider_spotmix.core.spec import AGENT, AIRFLOW, FleetSpec
from airflow_provider_spotmix.fleet.lease import AGENT_SELECTOR
from airflow_provider_spotmix.fleet.permissions import PAGE, Grant, grants
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.errors import Forbidden, NotFound
from airflow_provider_spotmix.kube.resources import LEASES, NAMESPACES

# Which Kubernetes lifts gates as `template` needs it (and `groups`, whose second attempts are gated): behind a feature
# gate that is on by default, and stable.
# https://kubernetes.io/docs/concepts/scheduling-eviction/pod-scheduling-readiness/
GATES_BETA, GATES_STABLE = (1, 27), (1, 30)
# How long a fleet waits for an agent that is just being replaced.
AGENT_SECONDS = 60.0
_LOOK_SECONDS = 2.0
AGENT_PAGE = "docs/agent.md"
_GATED = frozenset({"template", "groups"})


class Level(Enum):
    """What a finding means."""

    GOOD = "ok"
    UNSEEN = "not seen"  # nothing says that it is bad
    WARNING = "warning"
    MISSING = "missing"


class Finding(NamedTuple):
    """One line of the checklist."""

    level: Level
    text: str

    def __str__(self) -> str:
        return f"{self.level.value}: {self.text}"


async def require(
    kube: Kube, spec: FleetSpec, *, tell: Callable[[str, bool], None], agent_seconds: float = AGENT_SECONDS
) -> None:
    """Refuse to go on where the fleet could not be run or looked after; tell what it will have to do without.

    An agent that should be there is waited for: it may just be being replaced.

    Raises:
        ClusterNotReadyError: something is missing; the text has all of it.
        KubeError: the API server did not answer.

    """
    if spec.controller == AGENT:
        await _wait_for_agent(kube, spec.namespace, tell, agent_seconds)
    findings = await examine(
        kube, spec.namespace, backend_name=spec.backend, placement=spec.placement, controller=spec.controller
    )
    if any(finding.level is Level.MISSING for finding in findings):
        lines = [str(finding) for finding in findings if finding.level is not Level.GOOD]
        raise ClusterNotReadyError("\n- ".join(["nothing was submitted, the cluster is not ready for it:", *lines]))
    for finding in findings:
        if finding.level is Level.WARNING:
            tell(finding.text, True)


async def examine(
    kube: Kube,
    namespace: str,
    *,
    backend_name: str = "kubeflow",
    placement: str = "template",
    controller: str = AIRFLOW,
) -> tuple[Finding, ...]:
    """Go through the checklist.

    Raises:
        KubeError: the API server did not answer, or does not accept the credentials.

    """
    return (
        await _version(kube, placement),
        await _kind(kube, backend_name),
        await _namespace(kube, namespace),
        *await _permissions(kube, namespace, grants(backend_name, controller)),
        *([await _agent(kube, namespace)] if controller == AGENT else []),
    )


async def _version(kube: Kube, placement: str) -> Finding:
    try:
        version = await kube.server_version()
    except Forbidden as error:
        return Finding(Level.UNSEEN, f"the version of Kubernetes: {error}")
    found = f"Kubernetes {version.git_version}"
    beta, stable = (".".join(map(str, each)) for each in (GATES_BETA, GATES_STABLE))
    if placement not in _GATED or version.at_least(*GATES_STABLE):
        return Finding(Level.GOOD, found)
    if version.at_least(*GATES_BETA):
        return Finding(Level.WARNING, f"{found}: placement {placement!r} is tested from {stable} on; upgrade")
    return Finding(
        Level.MISSING,
        f"{found} has no scheduling gates, placement {placement!r} needs {beta}, better {stable}: upgrade",
    )


async def _kind(kube: Kube, backend_name: str) -> Finding:
    resource = backend(backend_name).resource
    found = f"{resource.kind} ({resource.api_version})"
    try:
        if await kube.serves(resource):
            return Finding(Level.GOOD, f"{found} is served")
    except Forbidden as error:
        return Finding(Level.UNSEEN, f"{found}: {error}")
    return Finding(
        Level.MISSING,
        f"the cluster does not serve {found}: install the Kubeflow spark-operator, 2.1 or later, with its CRDs"
        " (https://www.kubeflow.org/docs/components/spark-operator/getting-started/)",
    )


async def _namespace(kube: Kube, namespace: str) -> Finding:
    try:
        await kube.get(NAMESPACES, namespace)
    except NotFound:
        return Finding(
            Level.MISSING,
            f"there is no namespace {namespace!r}: create it, or correct 'namespace' of the task, its application or"
            " the connection",
        )
    except Forbidden:  # documented permissions do not include it: it is a cluster-wide object
        return Finding(Level.UNSEEN, f"whether there is a namespace {namespace!r} (these credentials may not read it)")
    return Finding(Level.GOOD, f"namespace {namespace!r} is there")


async def _agent(kube: Kube, namespace: str) -> Finding:
    try:
        leases = (await kube.list(LEASES, namespace, label_selector=AGENT_SELECTOR)).items
    except (Forbidden, NotFound) as error:
        return Finding(Level.UNSEEN, f"whether an agent runs in namespace {namespace!r}: {error}")
    if leases:
        return Finding(Level.GOOD, f"an agent runs in namespace {namespace!r}: {leases[0].spec.holder_identity}")
    return Finding(
        Level.MISSING,
        f"no agent runs in namespace {namespace!r}, and controller is 'agent': install one ({AGENT_PAGE}), or leave"
        " controller out",
    )


async def _wait_for_agent(kube: Kube, namespace: str, tell: Callable[[str, bool], None], seconds: float) -> None:
    loop = asyncio.get_running_loop()
    give_up, told = loop.time() + seconds, False
    while (await _agent(kube, namespace)).level is Level.MISSING and loop.time() < give_up:
        if not told:
            tell(f"waiting for an agent in namespace {namespace} (up to {seconds:g} s)", True)
        told = True
        await asyncio.sleep(_LOOK_SECONDS)


async def _permissions(kube: Kube, namespace: str, wanted: tuple[Grant, ...]) -> tuple[Finding, ...]:
    missing = await _missing(kube, namespace, wanted)
    if not missing:
        return (Finding(Level.GOOD, f"all permissions are granted in namespace {namespace!r}"),)
    return tuple(_denied(grant, namespace) for grant in missing)


def _denied(grant: Grant, namespace: str) -> Finding:
    scope = f"namespace {namespace!r}" if grant.resource.namespaced else "the whole cluster"
    role = "Role" if grant.resource.namespaced else "ClusterRole"
    told = f"permission in {scope}: {grant}; {PAGE} has the {role} that grants it"
    if grant.without:
        return Finding(Level.WARNING, f"no {told}; without it {grant.without}")
    return Finding(Level.MISSING, told)


async def _missing(kube: Kube, namespace: str, wanted: tuple[Grant, ...]) -> tuple[Grant, ...]:
    """Return what is not granted, each with only the verbs that are not."""
    rules = await kube.rules(namespace)
    found = []
    for grant in wanted:
        where = namespace if grant.resource.namespaced else None
        verbs = [verb for verb in grant.verbs if not rules.permit(verb, grant.resource, grant.subresource)]
        if verbs and not (rules.complete and grant.without):
            verbs = [
                verb
                for verb in verbs
                if not await kube.can_i(verb, grant.resource, where, subresource=grant.subresource)
            ]
        if verbs:
            found.append(grant._replace(verbs=tuple(verbs)))
    return tuple(found)
