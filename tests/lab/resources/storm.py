"""A healthy job whose first executors are told to end while idle, as a kubelet that shuts down tells its pods.

Their pods end as Failed without having been deleted, which Spark charges to its budget of failures.
"""

import os
import sys
import time
from pathlib import Path

from pyspark import SparkContext

DOOMED = int(sys.argv[1])


def jvm() -> int:
    """The executor: the parent of the daemon that is the parent of this worker."""
    status = Path(f"/proc/{os.getppid()}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("PPid:")).split()[1])


def work(_: int) -> int:
    number = int(os.environ["SPARK_EXECUTOR_ID"])
    if number <= DOOMED:
        os.system(f"(sleep 0.2; kill -TERM {jvm()}) >/dev/null 2>&1 &")
    time.sleep(0.05)
    return number


sc = SparkContext.getOrCreate()
seen: set[int] = set()
while max(seen, default=0) <= DOOMED:
    seen |= set(sc.parallelize(range(2), 2).map(work).collect())
    time.sleep(1)
print(f"RESULT ok, {DOOMED} executors were lost", flush=True)
sc.stop()
