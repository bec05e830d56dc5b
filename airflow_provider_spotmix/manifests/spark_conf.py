"""Spark properties that keep an interruption from failing a healthy job. Defaults only: a person's own always win.

Sources: https://spark.apache.org/docs/latest/configuration.html and the measurements in docs/interruptions.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from airflow_provider_spotmix.core.pools import AKS_PRIORITY, GKE_SPOT, Pool

# Spark 4.1 and later set every executor's grace period from this one (30 s by default), whatever the template says;
# earlier ones do not know it and leave the template's.
GRACE_PERIOD = "spark.kubernetes.executor.terminationGracePeriodSeconds"

DECOMMISSION, STORAGE = "spark.decommission.enabled", "spark.storage.decommission.enabled"
SHUFFLE_BLOCKS = "spark.storage.decommission.shuffleBlocks.enabled"
FAILURES, RETAINED = "spark.executor.maxNumFailures", "spark.scheduler.maxRetainedRemovedDecommissionExecutors"
TASK_FAILURES, STAGE_ATTEMPTS = "spark.task.maxFailures", "spark.stage.maxConsecutiveAttempts"
# Spark's own defaults; the first is twice the executors where that is more.
_LEAST = {FAILURES: 3, TASK_FAILURES: 4, STAGE_ATTEMPTS: 4}

# How long an executor may take to leave: what the cloud grants between its notice and the end, less a margin.
# AWS: 120 s. Azure: 30 s. Google Cloud: 30 s, of which the kubelet leaves 15 to pods that are not critical to the node.
_GRACE_SECONDS = 100
_SHORTER = {GKE_SPOT: 15, AKS_PRIORITY: 25}


def grace_seconds(pools: Iterable[Pool]) -> int:
    """Seconds that an executor on spot is given to move its blocks; that of the hastiest cloud among the pools."""
    keys = {key for pool in pools if pool.is_spot for key in pool.node_selector}
    return min([_SHORTER[key] for key in keys & _SHORTER.keys()], default=_GRACE_SECONDS)


def for_spot(most: int | None, grace_seconds: int = _GRACE_SECONDS) -> dict[str, str]:
    """Properties for an application of which some executors run on spot.

    Args:
        most: executors that it may have at once; None when nothing limits them.
        grace_seconds: how long an executor may take to leave.

    """
    # Losses of nodes are charged to these budgets. Spark's default of 3 or twice the executors is spent by one
    # storm; where nothing limits the executors, it has none either.
    budget = {} if most is None else {FAILURES: str(max(20, 10 * most)), RETAINED: str(max(most, 1))}
    return {
        DECOMMISSION: "true",
        STORAGE: "true",
        # 30 s by default: longer than what most clouds leave between the notice and the end, so that an executor would
        # be killed before its blocks have moved.
        "spark.storage.decommission.replicationReattemptInterval": "2s",
        # When the executor is killed, counted from its notice: Spark speculates on tasks that would not end in time.
        "spark.executor.decommission.killInterval": f"{grace_seconds}s",
        "spark.stage.ignoreDecommissionFetchFailure": "true",
        "spark.executor.failuresValidityInterval": "1h",
        TASK_FAILURES: "8",
        # The output of an executor that was lost without a notice is missed by one attempt of a stage after the other.
        STAGE_ATTEMPTS: "10",
    } | budget


def dangers(properties: Mapping[str, str]) -> list[str]:
    """What a person has set by which an interruption may end a healthy job, and what to do about it."""
    found = [
        f"{name} is {properties[name]}: an executor that is told to go leaves its blocks behind, and they are computed"
        " again; remove it"
        for name in (DECOMMISSION, STORAGE, SHUFFLE_BLOCKS)
        if properties.get(name, "true").strip().lower() == "false"
    ]
    for name, least in _LEAST.items():
        value = properties.get(name, "").strip()
        if value.isdecimal() and int(value) < least:
            found.append(
                f"{name} is {value}: fewer interruptions than Spark bears by default ({least}) end the job; remove it"
            )
    return found
