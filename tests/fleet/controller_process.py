"""A controller in a process of its own, to be killed: ``python -m tests.fleet.controller_process KUBECONFIG SPEC``."""

from __future__ import annotations

import asyncio
import sys

import msgspec

from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.fleet.runner import run_fleet
from airflow_provider_spotmix.kube.config import ClusterConfig


async def main(kubeconfig: str, spec: str) -> None:
    await run_fleet(
        Hub.shared(),
        ClusterConfig(config_file=kubeconfig),
        msgspec.json.decode(spec, type=FleetSpec),
        tell=lambda message, _: print(message, flush=True),
    )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
