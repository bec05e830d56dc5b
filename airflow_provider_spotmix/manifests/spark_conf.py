"""Spark properties that keep an interruption from failing a healthy job. Defaults only: a person's own always win.

Sources: version and default of each property's ``ConfigEntry`` in Spark 4.0.4 (``internal/config/package.scala``),
https://spark.apache.org/docs/latest/configuration.html, for the grace period https://github.com/apache/spark/pull/52618,
and the measurements in docs/interruptions.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from airflow_provider_spotmix.core.pools import AKS_PRIORITY, GKE_SPOT, Pool

# Spark 4.1 and later set every executor's grace period from this one (30 s by default), whatever the template says;
# earlier ones do not know it and leave the template's.
GRACE_PERIOD = "spark.kubernetes.executor.terminationGracePeriodSeconds"

DECOMMISSION, STORAGE = "spark.decommission.enabled", "spark.storage.decommission.enabled"
SHUFFLE_BLOCKS = "spark.storage.decommission.shuffleBlocks.enabled"
REATTEMPT, KILL = "spark.storage.decommission.replicationReattemptInterval", "spark.executor.decommission.killInterval"
IGNORE_FETCH = "spark.stage.ignoreDecommissionFetchFailure"
FAILURES, RETAINED = "spark.executor.maxNumFailures", "spark.scheduler.maxRetainedRemovedDecommissionExecutors"
VALIDITY = "spark.executor.failuresValidityInterval"
TASK_FAILURES, STAGE_ATTEMPTS = "spark.task.maxFailures", "spark.stage.maxConsecutiveAttempts"
ALL_ATTEMPTS, ALL_EXECUTORS = "spark.stage.maxAttempts", "spark.kubernetes.allocation.maximum"
# Spark's own defaults; the first is twice the executors where that is more.
_LEAST = {FAILURES: 3, TASK_FAILURES: 4, STAGE_ATTEMPTS: 4}
# Without limit by default; any limit counts what interruptions cost, for as long as the application runs.
_ENDLESS = {
    ALL_ATTEMPTS: "a stage is given up after so many attempts, those that interruptions cost among them",
    ALL_EXECUTORS: "after so many executors, replacements among them, Spark asks for no more",
}

_NO_LIMIT = 2**31 - 1

# The first version that heeds each property we set. An earlier one ignores it, so it is set all the same: what the
# application says of its version is a note, which nobody compares with the image.
SINCE: dict[str, tuple[int, int]] = {
    TASK_FAILURES: (0, 8),
    STAGE_ATTEMPTS: (2, 2),
    DECOMMISSION: (3, 1),
    STORAGE: (3, 1),
    REATTEMPT: (3, 1),
    KILL: (3, 1),
    IGNORE_FETCH: (3, 4),
    RETAINED: (3, 4),
    FAILURES: (3, 5),
    VALIDITY: (3, 5),
    GRACE_PERIOD: (4, 1),
}
# What an earlier version goes without. Of the rest it needs nothing: Spark counts failed executors on Kubernetes since
# 3.5, and heeds the template's grace period up to 4.0.
_MISSED = (IGNORE_FETCH, RETAINED)

# How long an executor may take to leave: what the cloud grants between its notice and the end, less a margin.
# AWS: 120 s. Azure: 30 s. Google Cloud: 30 s, of which the kubelet leaves 15 to pods that are not critical to the node.
_GRACE_SECONDS = 100
_SHORTER = {GKE_SPOT: 15, AKS_PRIORITY: 25}


def grace_seconds(pools: Iterable[Pool]) -> int:
    """Seconds that an executor on spot is given to move its blocks; that of the hastiest cloud among the pools."""
    keys = {key for pool in pools if pool.is_spot for key in pool.node_selector}
    return min([_SHORTER[key] for key in keys & _SHORTER.keys()], default=_GRACE_SECONDS)


def for_spot(most: int | None, grace_seconds: int = _GRACE_SECONDS, spark_version: str = "") -> dict[str, str]:
    """Properties for an application of which some executors run on spot.

    Args:
        most: executors that it may have at once; None when nothing limits them.
        grace_seconds: how long an executor may take to leave.
        spark_version: that of the application, as far as it says.

    """
    # Losses of nodes are charged to these budgets. Spark's default of 3 or twice the executors is spent by one
    # storm; where nothing limits the executors, it has none either.
    budget = {} if most is None else {FAILURES: str(max(20, 10 * most)), RETAINED: str(max(most, 1))}
    return {
        DECOMMISSION: "true",
        STORAGE: "true",
        # 30 s by default: longer than what most clouds leave between the notice and the end, so that an executor would
        # be killed before its blocks have moved.
        REATTEMPT: "2s",
        # When the executor is killed, counted from its notice: Spark speculates on tasks that would not end in time.
        KILL: f"{grace_seconds}s",
        IGNORE_FETCH: "true",
        VALIDITY: "1h",
        TASK_FAILURES: "8",
        # The output of an executor that was lost without a notice is missed by one attempt of a stage after the other;
        # where Spark does not tell them apart, also that of one that was lost with a notice.
        STAGE_ATTEMPTS: "20" if unheeded([IGNORE_FETCH], spark_version) else "10",
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
    found += [
        f"{name} is {properties[name]}: {said}; remove it"
        for name, said in _ENDLESS.items()
        if properties.get(name, "").strip().isdecimal() and int(properties[name]) < _NO_LIMIT
    ]
    return found


def unheeded(names: Iterable[str], spark_version: str) -> list[str]:
    """Which properties a version of Spark does not know; none when it does not say which it is."""
    found = re.match(r"v?(\d+)\.(\d+)", spark_version.strip())
    version = (int(found[1]), int(found[2])) if found else (9, 0)
    return sorted(name for name in names if SINCE.get(name, (0, 0)) > version)


def missed(properties: Mapping[str, str], spark_version: str) -> list[str]:
    """What an application goes without because its Spark is too old for it, and what to do about it."""
    names = [name for name in unheeded(properties, spark_version) if name in _MISSED]
    said = (
        f"Spark {spark_version.strip()} does not know {' and '.join(names)}: what is computed again after an announced"
        " interruption uses up the attempts of a stage; use Spark 3.5 or later"
    )
    return [said] if names else []
