"""Lose an executor after it has computed: what it had computed must not be computed again.

Shuffle and cached partitions are there once only. If they were not moved away before their executor left, Spark would
have to run their tasks again, and the accumulators would tell.
"""

import sys
import time
from collections.abc import Iterable, Iterator

from pyspark import Accumulator, SparkContext

NUMBERS, PARTITIONS, KEYS, LIMIT_SECONDS = 1000, 4, 7, 120.0


def main() -> int:
    sc = SparkContext.getOrCreate()
    executors(sc, lambda found: len(found) == 2)
    mapped, cached = sc.accumulator(0), sc.accumulator(0)
    sums = counted(sc, mapped).map(lambda number: (number % KEYS, number)).reduceByKey(lambda a, b: a + b, PARTITIONS)
    kept = counted(sc, cached).cache()
    expected = sorted((key, sum(range(key, NUMBERS, KEYS))) for key in range(KEYS))
    if sorted(sums.collect()) != expected or kept.sum() != sum(range(NUMBERS)):
        sys.exit("wrong result")
    before = executors(sc, lambda found: len(found) == 2)
    print("COMPUTED", flush=True)
    executors(sc, lambda found: bool(before - found))
    if sorted(sums.collect()) != expected or kept.sum() != sum(range(NUMBERS)):
        sys.exit("wrong result after the loss")
    print(f"RESULT ok, tasks run for {PARTITIONS} partitions: shuffle {mapped.value}, cache {cached.value}", flush=True)
    sc.stop()
    return 0


def counted(sc: SparkContext, tasks: "Accumulator[int]"):  # type: ignore[no-untyped-def]
    """The numbers, slowly, so that both executors take part."""

    def partition(numbers: Iterable[int]) -> Iterator[int]:
        tasks.add(1)
        time.sleep(1)
        yield from numbers

    return sc.parallelize(range(NUMBERS), PARTITIONS).mapPartitions(partition)


def executors(sc: SparkContext, enough) -> set[str]:  # type: ignore[no-untyped-def]
    """Addresses of the executors, when they are as asked for."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        found = set(sc._jsc.sc().getExecutorMemoryStatus().keys().mkString(" ").split())
        found = {address for address in found if not address.startswith(sc.getConf().get("spark.driver.host"))}
        if enough(found):
            return found
        assert time.monotonic() < deadline, f"executors: {found}"
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
