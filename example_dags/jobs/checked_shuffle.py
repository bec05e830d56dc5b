"""A job that really shuffles, survives the loss of executors, and checks its own result.

It counts integers by remainder through a shuffle and compares every count with the one that arithmetic gives. Its tasks
are slowed down, so that there is time to watch an interruption.
"""

import argparse
import sys
import time
from collections.abc import Iterable

from pyspark.sql import SparkSession


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="integers to count")
    parser.add_argument("--partitions", type=int, default=200, help="tasks before the shuffle")
    parser.add_argument("--groups", type=int, default=20, help="groups, and tasks after the shuffle")
    parser.add_argument("--task-seconds", type=float, default=0.5, help="how long each task takes at least")
    parser.add_argument("--executors", type=int, default=0, help="wait until so many executors are there")
    arguments = parser.parse_args()

    spark = SparkSession.builder.getOrCreate()
    wait_for_executors(spark, arguments.executors)
    found = count_by_group(spark, arguments)
    expected = [len(range(group, arguments.rows, arguments.groups)) for group in range(arguments.groups)]
    correct = found == expected
    print(f"RESULT {'correct' if correct else 'WRONG'}: {sum(found)} rows in {len(found)} groups", flush=True)
    spark.stop()
    return 0 if correct else 1


def wait_for_executors(spark: SparkSession, executors: int, timeout_seconds: float = 300) -> None:
    """Begin with all executors, so that a run shows the whole mix; after the timeout go on with what is there."""
    status = spark.sparkContext._jsc.sc().getExecutorMemoryStatus
    deadline = time.monotonic() + timeout_seconds
    while status().size() - 1 < executors and time.monotonic() < deadline:  # the driver is one of them
        time.sleep(0.2)


def count_by_group(spark: SparkSession, arguments: argparse.Namespace) -> list[int]:
    """Count the integers of each group, with one shuffle between the slow tasks."""
    groups, seconds = arguments.groups, arguments.task_seconds

    def slowly(pairs: Iterable[tuple[int, int]]) -> Iterable[tuple[int, int]]:
        time.sleep(seconds)
        return pairs

    numbers = spark.sparkContext.parallelize(range(arguments.rows), arguments.partitions)
    counts = (
        numbers.map(lambda number: (number % groups, 1))
        .mapPartitions(slowly)
        .reduceByKey(lambda one, other: one + other, groups)
        .mapPartitions(slowly)
        .collectAsMap()
    )
    return [counts.get(group, 0) for group in range(groups)]


if __name__ == "__main__":
    sys.exit(main())
