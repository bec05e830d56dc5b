"""Delete what earlier tries of a task instance left behind: they are over, or Airflow would not have begun this one.

Left behind is, for one, the fleet of a try whose worker was killed at once, or that was cleared while it was deferred:
by the time its trigger asks, the next try may be deferred already, and Airflow does not tell the two apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_spotmix.backends import backend
from airflow_provider_spotmix.kube.errors import Conflict, NotFound
from airflow_provider_spotmix.manifests import labels

if TYPE_CHECKING:
    from airflow_provider_spotmix.fleet.plan import FleetPlan
    from airflow_provider_spotmix.fleet.submit import Tell
    from airflow_provider_spotmix.kube.client import Kube
    from airflow_provider_spotmix.kube.objects import Raw

TASK = ("dag_id", "task_id", "run_id")


async def end_earlier_tries(kube: Kube, plan: FleetPlan, *, tell: Tell) -> None:
    """Delete the applications of other tries, but for those that are over and kept on purpose.

    Raises:
        KubeError: the API server refused.

    """
    api = backend(plan.spec.backend)
    mine = plan.applications[0]["metadata"]
    selector = ",".join([labels.FLEET, *(f"{key}={mine['labels'][key]}" for key in TASK)])
    for found in (await kube.list(api.resource, plan.spec.namespace, label_selector=selector)).items:
        is_kept = api.status(found).phase.over and _is_to_be_kept(found)
        if is_kept or not _is_of_another_try(found, mine):
            continue
        tell(f"deleting {found.metadata.name}, which an earlier try of this task left behind", True)
        try:
            await kube.delete(
                api.resource,
                found.metadata.name,
                plan.spec.namespace,
                propagation_policy="Background",
                uid=found.metadata.uid,
            )
        except (NotFound, Conflict):  # it is gone, and maybe another has taken its name
            continue


def _is_to_be_kept(found: Raw) -> bool:
    """Earlier versions did not say whether, nor of which task it is."""
    annotations = found.metadata.annotations
    return labels.KEEP in annotations or labels.TASK not in annotations


def _is_of_another_try(found: Raw, mine: dict[str, dict[str, str]]) -> bool:
    """Whether it belongs to another try of the same task instance, of the same Airflow: a namespace may be shared."""
    ours, theirs = (each.get(labels.IDENTITY, "") for each in (mine["annotations"], found.metadata.annotations))
    return (
        theirs != ours
        and theirs.rpartition("/")[0] == ours.rpartition("/")[0]
        and found.metadata.labels.get("map_index") == mine["labels"].get("map_index")
    )
