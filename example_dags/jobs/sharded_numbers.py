"""A job that shards: of all numbers it writes those that are its shard's, each with its square.

It can be lost at any moment and run again: the shard has a directory of its own, which each attempt replaces as a
whole, and Spark marks it as complete (`_SUCCESS`) after everything else. Readers take only complete shards.
"""

import argparse
import os
import time
from collections.abc import Iterable

from pyspark.sql import SparkSession


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shard", required=True, metavar="INDEX/COUNT", help="which part of the numbers to write")
    parser.add_argument("--output", required=True, help="directory that all shards share")
    parser.add_argument("--numbers", type=int, default=3000, help="how many numbers all shards write together")
    parser.add_argument("--partitions", type=int, default=20, help="tasks of this shard")
    parser.add_argument("--task-seconds", type=float, default=1, help="how long each task takes at least")
    arguments = parser.parse_args()
    index, count = map(int, arguments.shard.split("/"))
    attempt, seconds = int(os.environ["SPOTMIX_GROUP_ATTEMPT"]), arguments.task_seconds

    def slowly(numbers: Iterable[int]) -> Iterable[tuple[int, int, int]]:
        time.sleep(seconds)
        return ((number, number * number, attempt) for number in numbers)

    spark = SparkSession.builder.getOrCreate()
    numbers = spark.sparkContext.parallelize(range(index, arguments.numbers, count), arguments.partitions)
    rows = spark.createDataFrame(numbers.mapPartitions(slowly), "number long, square long, attempt int")
    rows.write.mode("overwrite").json(f"{arguments.output}/shard={index}")
    print(f"RESULT shard {index} of {count} is complete, attempt {attempt}", flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
