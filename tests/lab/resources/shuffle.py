"""A job that shuffles and checks its own result: the sum of the squares of 0 ... n-1, grouped by remainder."""

from __future__ import annotations

import sys
import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

ROWS, GROUPS = 20_000, 7


def main(rounds: int, pause_seconds: float) -> None:
    spark = SparkSession.builder.appName("shuffle").getOrCreate()
    for done in range(rounds):
        rows = spark.range(ROWS, numPartitions=4).withColumn("group", f.col("id") % GROUPS)
        sums = rows.groupBy("group").agg(f.sum(f.col("id") * f.col("id")).alias("total")).collect()
        total = sum(row.total for row in sums)
        if len(sums) != GROUPS or total != (ROWS - 1) * ROWS * (2 * ROWS - 1) // 6:
            sys.exit(f"wrong result: {len(sums)} groups, total {total}")
        print(f"ROUND {done + 1} ok", flush=True)
        time.sleep(pause_seconds)
    print(f"RESULT ok after {rounds} rounds", flush=True)
    spark.stop()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(int(arguments[0]) if arguments else 1, float(arguments[1]) if len(arguments) > 1 else 0.0)
