"""The lab and an Airflow with the example DAGs, wired to each other: the stage of the demo and of `spotmix up`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from airflow_provider_spotmix.lab import paths
from airflow_provider_spotmix.lab.airflow import AirflowConfig, AirflowHarness
from airflow_provider_spotmix.lab.borrowed import Borrowed
from airflow_provider_spotmix.lab.config import example_dags
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.lab.progress import Progress

# For costs to look at; no provider's own.
_PRICES = {
    "spot": {"core_hour": "0.011", "gib_hour": "0.0014"},
    "on-demand": {"core_hour": "0.032", "gib_hour": "0.0041"},
}


def airflow_config(lab: Lab, *, logs: Path | None = None, dags: Path | None = None) -> AirflowConfig:
    """Airflow with a connection `spotmix_default` that refers to a Kubernetes connection to the lab.

    Raises:
        LabError: the example DAGs are not installed.

    """
    folder = dags or example_dags()
    if folder is None:
        raise LabError("the example DAGs are not installed", remedy="install the wheel, or work in a checkout")
    return AirflowConfig(
        dags=folder,
        logs=logs,
        connections={
            "spotmix_default": {"conn_type": "spotmix", "extra": {"kubernetes_conn_id": "lab", "prices": _PRICES}},
            "lab": {"conn_type": "kubernetes", "extra": {"kube_config_path": str(lab.kubeconfig)}},
        },
    )


@contextmanager
def ephemeral(progress: Progress, *, logs: Path) -> Iterator[tuple[Lab, AirflowHarness]]:
    """A stage for the length of a block; it ends with this process, however that dies."""
    with Lab.ephemeral(progress=progress) as lab:
        home = lab.files.root.parent / f"{lab.name}-airflow"
        with AirflowHarness(home, airflow_config(lab, logs=logs), progress=progress) as airflow:
            yield lab, airflow


@contextmanager
def on_borrowed(place: Borrowed, progress: Progress, *, logs: Path) -> Iterator[AirflowHarness]:
    """An Airflow that is connected to somebody's cluster, for the length of a block."""
    home = paths.labs_dir().parent / "airflow" / f"demo-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="spotmix-demo-") as scratch:
        dags = place.write_dags(Path(scratch) / "dags")
        config = AirflowConfig(dags=dags, logs=logs, connections=place.connections())
        try:
            with AirflowHarness(home, config, progress=progress) as airflow:
                yield airflow
        finally:
            _remove_empty(home.parent)


def up(name: str, progress: Progress) -> tuple[Lab, AirflowHarness]:
    """Start a stage that stays until `down`, or find it."""
    lab = Lab.up(name, progress=progress)
    home = _home(name)
    try:
        return lab, AirflowHarness.attach(home, airflow_config(lab))
    except LabError:
        airflow = AirflowHarness(home, airflow_config(lab), progress=progress, ephemeral=False)
        return lab, airflow.up()


def down(name: str) -> bool:
    """Stop a stage and remove it; False if there was none."""
    home = _home(name)
    there = home.exists()
    AirflowHarness.stop(home)
    _remove_empty(home.parent)
    return Lab.stop(name) or there


def _remove_empty(directory: Path) -> None:
    for each in (directory, directory.parent):
        with suppress(OSError):  # another stage is in it
            each.rmdir()


def _home(name: str) -> Path:
    return paths.labs_dir().parent / "airflow" / name
