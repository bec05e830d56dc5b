"""Work in two waves with a lull between them, so that dynamic allocation grows, shrinks and grows again."""

import sys
import time

from pyspark.sql import SparkSession

TASKS, TASK_SECONDS, LIMIT_SECONDS = 48, 0.5, 90.0


def slow(number: int) -> int:
    time.sleep(TASK_SECONDS)
    return number


def main() -> int:
    fewest, most = int(sys.argv[1]), int(sys.argv[2])
    spark = SparkSession.builder.getOrCreate()
    executors = spark.sparkContext._jsc.sc().getExecutorMemoryStatus

    def wave() -> None:
        """Ask for all executors, until they are there."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while True:
            numbers = spark.sparkContext.parallelize(range(TASKS), TASKS)
            assert numbers.map(slow).sum() == sum(range(TASKS))
            if executors().size() - 1 >= most:
                return
            assert time.monotonic() < deadline, f"{executors().size() - 1} executors, not {most}"

    def lull() -> None:
        deadline = time.monotonic() + LIMIT_SECONDS
        while executors().size() - 1 > fewest:
            assert time.monotonic() < deadline, f"{executors().size() - 1} executors, not {fewest}"
            time.sleep(0.2)

    for name, act in (("grown", wave), ("shrunk", lull), ("grown again", wave)):
        act()
        print(f"WAVES {name}", flush=True)
    spark.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
