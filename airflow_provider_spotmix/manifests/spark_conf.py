"""Spark properties that keep an interruption from failing a healthy job. Defaults only: a person's own always win.

Sources: https://spark.apache.org/docs/latest/configuration.html and the measurements in docs/interruptions.md.
"""

from __future__ import annotations


def for_spot(executors: int) -> dict[str, str]:
    """Properties for an application of which some executors run on spot.

    Args:
        executors: executors that it starts with.

    """
    return {
        "spark.decommission.enabled": "true",
        "spark.storage.decommission.enabled": "true",
        # 30 s by default: longer than what most clouds leave between the notice and the end, so that an executor would
        # be killed before its blocks have moved.
        "spark.storage.decommission.replicationReattemptInterval": "2s",
        # The node is gone 120 s after the notice (AWS, Azure and Google give less and take the node itself).
        "spark.executor.decommission.killInterval": "110s",
        "spark.stage.ignoreDecommissionFetchFailure": "true",
        "spark.scheduler.maxRetainedRemovedDecommissionExecutors": str(max(executors, 1)),
        # Losses of nodes are charged to these budgets; the default of 3 or twice the executors is spent by one storm.
        "spark.executor.maxNumFailures": str(max(20, 10 * executors)),
        "spark.executor.failuresValidityInterval": "1h",
        "spark.task.maxFailures": "8",
    }
