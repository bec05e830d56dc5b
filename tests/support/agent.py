"""A namespace agent in a process of its own, as its Deployment starts it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_provider_spotmix.fleet.lease import AGENT_SELECTOR
from airflow_provider_spotmix.lab.lab import Lab

SECONDS = 60


def leases(lab: Lab, namespace: str) -> list[str]:
    """Names of the Leases of agents."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    return [each["metadata"]["name"] for each in lab.api.items(path, labelSelector=AGENT_SELECTOR)]


@contextmanager
def agent(lab: Lab, namespace: str, kubeconfig: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run one until the block ends; ready when the block begins."""
    before = set(leases(lab, namespace))
    command = [str(Path(sys.executable).with_name("spotmix")), "agent", "--namespace", namespace]
    command += ["--kubeconfig", str(kubeconfig or lab.kubeconfig), "--health-port", "0"]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + SECONDS
        while not set(leases(lab, namespace)) - before:
            assert process.poll() is None, f"the agent ended with {process.returncode}"
            assert time.monotonic() < deadline, "the agent is not ready"
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(SECONDS)
