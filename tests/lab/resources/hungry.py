"""A task whose first attempt takes more memory than an executor may have; the next one does not."""

import time

from pyspark import SparkContext, TaskContext

CHUNK, MOST = 64 << 20, 3 << 30


def work(number: int) -> int:
    context = TaskContext.get()
    assert context is not None
    held: list[bytes] = []
    if number == 0 and context.attemptNumber() == 0:
        while len(held) * CHUNK < MOST:
            held.append(b"x" * CHUNK)
            time.sleep(0.05)
    return number


sc = SparkContext.getOrCreate()
total = sc.parallelize(range(4), 4).map(work).sum()
print(f"RESULT ok, {total} in spite of it", flush=True)
sc.stop()
