"""What importing SparkFleetOperator adds to a DAG file, beside SparkKubernetesOperator.

Every DAG file is imported again and again by the dag-processor, and once more by each task that runs from it. The
measure is what the import adds to ``from airflow.sdk import DAG``, which a DAG file needs anyway: wall time, and
resident memory after a garbage collection.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile

from bench import harness

OURS = "airflow_provider_spotmix.operators.spark_fleet.SparkFleetOperator"
PEER = "airflow.providers.cncf.kubernetes.operators.spark_kubernetes.SparkKubernetesOperator"

TIME_SHARE = 1 / 20  # of the peer's
MEMORY_MB = 5.0

# Run in a fresh process. It must not import anything of its own between the two readings.
PROBE = """
import gc, importlib, json, resource, sys, time
from airflow.sdk import DAG
module, _, name = sys.argv[1].rpartition(".")
def resident():
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()
resident()
modules, before, start = len(sys.modules), resident(), time.perf_counter()
getattr(importlib.import_module(module), name)
seconds = time.perf_counter() - start
grown = resident() - before
print(json.dumps({"ms": seconds * 1e3, "mb": grown / 1e6, "modules": len(sys.modules) - modules}))
"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="how often each is imported")
    runs = max(parser.parse_args(arguments).runs, 1)
    with tempfile.TemporaryDirectory(prefix="spotmix-bench-") as home:
        samples = harness.interleaved(
            {target: [sys.executable, "-c", PROBE, target] for target in (OURS, PEER)}, runs=runs, env=environment(home)
        )
    ours, peer = harness.medians(samples[OURS]), harness.medians(samples[PEER])
    print(f"dag_import: {ours['modules']:.0f} modules more, peer {peer['modules']:.0f}")
    return harness.finish(
        "dag_import",
        [
            harness.Measure(name="time", unit="ms", ours=ours["ms"], peer=peer["ms"], limit=peer["ms"] * TIME_SHARE),
            harness.Measure(name="memory", unit="MB", ours=ours["mb"], peer=peer["mb"], limit=MEMORY_MB),
        ],
        runs=runs,
    )


def environment(home: str) -> dict[str, str]:
    """An Airflow of this bench's own: a person's configuration would be measured too."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {**kept, "AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "false"}


if __name__ == "__main__":
    sys.exit(main())
