"""Work on two executors for a while: each task must run once, and what one has shuffled must be there for the other."""

import sys
import time
from collections.abc import Iterable, Iterator

from pyspark import SparkContext

TASKS, SECONDS, KEYS = 48, 0.5, 7


def main() -> int:
    sc = SparkContext.getOrCreate()
    run = sc.accumulator(0)

    def task(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
        run.add(1)
        time.sleep(SECONDS)
        yield from ((number % KEYS, number) for number in numbers)

    print("BEGUN", flush=True)
    sums = dict(sc.parallelize(range(1000), TASKS).mapPartitions(task).reduceByKey(lambda a, b: a + b, 4).collect())
    if sums != {key: sum(range(key, 1000, KEYS)) for key in range(KEYS)}:
        sys.exit(f"wrong result: {sums}")
    print(f"RESULT ok, tasks run: {run.value} of {TASKS}", flush=True)
    sc.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
