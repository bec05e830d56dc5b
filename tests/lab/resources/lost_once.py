"""A driver that never ends when it is run for the first time, after its executors have worked. A file remembers."""

import sys
import time
from pathlib import Path

from pyspark import SparkContext

sc = SparkContext.getOrCreate()
total = sc.parallelize(range(100), 4).sum()
marker = Path(sys.argv[1])
if not marker.exists():
    marker.touch()
    time.sleep(1000)
print(f"RESULT ok, {total} at the second run", flush=True)
sc.stop()
