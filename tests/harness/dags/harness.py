"""What the harness' own tests run: a plain task, a deferrable one, and one that is still running when all must end."""

from __future__ import annotations

import os
import subprocess

from airflow.providers.standard.sensors.filesystem import FileSensor
from airflow.sdk import DAG, task

with DAG("harness", schedule=None):

    @task
    def answer() -> dict[str, object]:
        print("a line of the task's log")
        return {"answer": 42, "environment": os.environ.get("HARNESS_TEST")}

    # The connection `files` says in which directory, the run's conf which file: the test decides when it goes on.
    wait = FileSensor(
        task_id="wait",
        fs_conn_id="files",
        filepath="{{ dag_run.conf['file'] }}",
        deferrable=True,
        poke_interval=0.2,
    )
    answer() >> wait

with DAG("harness_busy", schedule=None):

    @task
    def busy() -> None:
        subprocess.run(["sleep", os.environ["HARNESS_BUSY_SECONDS"]], check=True)

    busy()
