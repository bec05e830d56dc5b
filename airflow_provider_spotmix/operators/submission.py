"""Submit a fleet when the API server comes and goes. It adopts what an earlier attempt of the same try created."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from airflow_provider_spotmix.fleet import preflight
from airflow_provider_spotmix.fleet.submit import submit
from airflow_provider_spotmix.kube.errors import KubeError
from airflow_provider_spotmix.kube.retry import Backoff, harmless_to_repeat
from airflow_provider_spotmix.operators.earlier_tries import follow_earlier_tries

if TYPE_CHECKING:
    from airflow_provider_spotmix.core.spec import FleetSpec
    from airflow_provider_spotmix.fleet.plan import FleetPlan
    from airflow_provider_spotmix.fleet.submit import Tell
    from airflow_provider_spotmix.kube.client import Kube

# Longer than the failover of a managed control plane; what takes longer is a case for the task's own retries.
PATIENCE_SECONDS = 120.0


async def submit_patiently(
    kube: Kube, plan: FleetPlan, *, tell: Tell, reattach: bool = False, patience_seconds: float = PATIENCE_SECONDS
) -> FleetSpec:
    """Submit the fleet in place of earlier tries', or take one over that runs; return the fleet that runs now.

    An API server that is away is waited for, but not longer than that.

    Raises:
        ClusterNotReadyError: something is missing there.
        FleetConflictError: an application of that name exists and is not this fleet's, or is being deleted.
        KubeError: the API server refused, or was away for too long.

    """
    backoff = Backoff(base_seconds=1, cap_seconds=15)
    give_up = asyncio.get_running_loop().time() + patience_seconds
    while True:
        try:
            await preflight.require(kube, plan.spec, tell=tell)
            adopted = await follow_earlier_tries(kube, plan, reattach=reattach, tell=tell)
            if adopted is None:
                await submit(kube, plan, tell=tell)
            return adopted or plan.spec
        except KubeError as error:
            wait = backoff.next_seconds()
            if not harmless_to_repeat(error, repeatable=True) or asyncio.get_running_loop().time() + wait > give_up:
                raise
            tell(f"not submitted yet, trying again in {wait:.0f} s: {error}", True)
            await asyncio.sleep(wait)
