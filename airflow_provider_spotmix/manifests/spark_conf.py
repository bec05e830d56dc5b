"""Spark properties that keep an interruption from failing a healthy job. Defaults only: a person's own always win.

Sources: https://spark.apache.org/docs/latest/configuration.html and the measurements in docs/interruptions.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_spotmix.core.pools import AKS_PRIORITY, GKE_SPOT, Pool

# Spark 4.1 and later set every executor's grace period from this one (30 s by default), whatever the template says;
# earlier ones do not know it and leave the template's.
GRACE_PERIOD = "spark.kubernetes.executor.terminationGracePeriodSeconds"

# How long an executor may take to leave: what the cloud grants between its notice and the end, less a margin.
# AWS: 120 s. Azure: 30 s. Google Cloud: 30 s, of which the kubelet leaves 15 to pods that are not critical to the node.
_GRACE_SECONDS = 100
_SHORTER = {GKE_SPOT: 15, AKS_PRIORITY: 25}


def grace_seconds(pools: Iterable[Pool]) -> int:
    """Seconds that an executor on spot is given to move its blocks; that of the hastiest cloud among the pools."""
    keys = {key for pool in pools if pool.is_spot for key in pool.node_selector}
    return min([_SHORTER[key] for key in keys & _SHORTER.keys()], default=_GRACE_SECONDS)


def for_spot(executors: int, grace_seconds: int = _GRACE_SECONDS) -> dict[str, str]:
    """Properties for an application of which some executors run on spot.

    Args:
        executors: executors that it starts with.
        grace_seconds: how long an executor may take to leave.

    """
    return {
        "spark.decommission.enabled": "true",
        "spark.storage.decommission.enabled": "true",
        # 30 s by default: longer than what most clouds leave between the notice and the end, so that an executor would
        # be killed before its blocks have moved.
        "spark.storage.decommission.replicationReattemptInterval": "2s",
        # When the executor is killed, counted from its notice: Spark speculates on tasks that would not end in time.
        "spark.executor.decommission.killInterval": f"{grace_seconds}s",
        "spark.stage.ignoreDecommissionFetchFailure": "true",
        "spark.scheduler.maxRetainedRemovedDecommissionExecutors": str(max(executors, 1)),
        # Losses of nodes are charged to these budgets; the default of 3 or twice the executors is spent by one storm.
        "spark.executor.maxNumFailures": str(max(20, 10 * executors)),
        "spark.executor.failuresValidityInterval": "1h",
        "spark.task.maxFailures": "8",
    }
