"""What our credentials need. The one table: docs/rbac.md shows it, the preflight asks for it."""

from __future__ import annotations

from typing import Any, NamedTuple

from airflow_provider_spotmix.backends import backend
from airflow_provider_spotmix.core.spec import AIRFLOW
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS, EVENTS, LEASES, NODES, PODS, Resource

PAGE = "docs/rbac.md"


class Grant(NamedTuple):
    """Some verbs on a kind.

    Attributes:
        resource: the kind.
        verbs: RBAC verbs.
        why: what they are for.
        subresource: of that kind, such as ``status``.
        without: what is not done without them; empty when nothing works then.

    """

    resource: Resource[Any]
    verbs: tuple[str, ...]
    why: str
    subresource: str | None = None
    without: str = ""

    def __str__(self) -> str:
        return f"{', '.join(self.verbs)} on {self.resource.rbac_name(self.subresource)} ({self.why})"


# Beside what looking after a fleet needs: an agent finds its fleets' records, and fetches nothing from Airflow.
RECORDS = Grant(CONFIG_MAPS, ("list", "watch"), "find the fleets")

# In the namespace `default`, where the Events of nodes are. Only Karpenter's nodes need it, so nobody asks for it
# before a fleet starts: what is not known without it is said when it matters.
NODE_EVENTS = Grant(EVENTS, ("list",), "see why Karpenter takes a node away")


def grants(backend_name: str = "kubeflow", controller: str = AIRFLOW) -> tuple[Grant, ...]:
    """Return what Airflow's credentials need for a fleet of that backend, by who looks after it."""
    resource = backend(backend_name).resource
    take_over = Grant(
        resource,
        ("patch",),
        "take over the fleet of an earlier try",
        without="a fleet that an earlier try left running is deleted and submitted again, not taken over",
    )
    log = Grant(PODS, ("get",), "the end of the driver's log", "log")
    if controller == AIRFLOW:
        return (*agent_grants(backend_name), take_over, log)
    return (
        Grant(resource, ("get", "list", "create", "delete"), "run the application"),
        take_over,
        Grant(PODS, ("get", "list"), "see that nothing of an earlier try runs any more"),
        log,
        Grant(CONFIG_MAPS, ("get", "list", "watch", "delete"), "what the agent says of the fleet"),
        Grant(LEASES, ("list",), "see that an agent runs"),
    )


def agent_grants(backend_name: str = "kubeflow") -> tuple[Grant, ...]:
    """Return what looking after fleets needs; an agent needs `RECORDS` beside it."""
    return (
        Grant(backend(backend_name).resource, ("get", "list", "watch", "create", "delete"), "run the application"),
        Grant(PODS, ("get", "list", "watch", "patch", "delete"), "place executors; remove those of dead nodes"),
        Grant(PODS, ("patch",), "tell Spark that a dead node's executor is gone", "status"),
        Grant(CONFIG_MAPS, ("get", "create", "patch"), "the checkpoint"),
        Grant(
            CONFIG_MAPS,
            ("list", "watch"),
            "see that somebody deletes or spoils the checkpoint",
            without="a checkpoint that somebody deletes is written again only with the next thing that happens",
        ),
        Grant(
            EVENTS,
            ("list", "create"),
            "what happened, on the application; how one ended that is gone",
            without="only the task's log tells what happens, and less is known of an application that is gone",
        ),
        Grant(LEASES, ("get", "list", "create", "patch", "delete"), "one controller per fleet"),
        Grant(
            NODES,
            ("get", "list", "watch"),
            "see why executors are lost",
            without="losses are explained by pods alone, no notice is seen, executors of dead nodes are not rescued",
        ),
    )
