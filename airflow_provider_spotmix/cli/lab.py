"""`spotmix lab`: start, look at, interrupt and stop a rehearsal lab."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click

from airflow_provider_spotmix.lab import progress
from airflow_provider_spotmix.lab.config import MAX_KWOK_NODES, LabConfig, nodes_of
from airflow_provider_spotmix.lab.lab import DEFAULT_NAME, Lab, option
from airflow_provider_spotmix.lab.pools import kwok_pools
from airflow_provider_spotmix.lab.signals import SIGNALS
from airflow_provider_spotmix.lab.status import LabStatus

_NAME = click.option("--name", default=DEFAULT_NAME, show_default=True, help="Which lab: several can run side by side.")
_LEADS = ", ".join(f"{signal.lead_seconds:g} for {name}" for name, signal in SIGNALS.items())


@click.group()
def lab() -> None:
    """Rehearse on this machine: a real cluster without a cluster.

    A Kubernetes control plane, the Kubeflow Spark operator, two spot and two on-demand nodes whose pods are local
    processes. It needs no root and no images, and listens on 127.0.0.0/8 only.
    """


@lab.command()
@_NAME
@click.option("--config", type=click.Path(path_type=Path), help="Pools, sizes and more; see `spotmix lab config`.")
@click.option(
    "--kwok-nodes", type=click.IntRange(1, MAX_KWOK_NODES), help="So many played nodes more, half of them spot."
)
def up(name: str, config: Path | None, kwok_nodes: int | None) -> None:
    """Start the lab and leave it running; the first time it is built, for some minutes.

    Of a lab that runs, what has died or was stopped is started.
    """
    running = Lab.up(name, _configuration(config, kwok_nodes), progress.for_person())
    click.echo(f"lab {name!r} is ready: {len(running.status().nodes)} nodes at {running.network.api_url}")
    click.echo(f"export KUBECONFIG={running.kubeconfig}")


@lab.command()
def config() -> None:
    """Print the default configuration, to begin one with: spotmix lab config > lab.yaml."""
    from airflow_provider_spotmix.lab.config_file import DEFAULT

    click.echo(DEFAULT, nl=False)


@lab.command()
@_NAME
def down(name: str) -> None:
    """Stop the lab and remove everything but the cache of built programs."""
    with progress.for_person().step(f"Stopping lab {name!r}"):
        stopped = Lab.stop(name)
    click.echo(f"lab {name!r} is stopped" if stopped else f"lab {name!r} was not running")


@lab.command()
@_NAME
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(name: str, *, as_json: bool) -> None:
    """Show processes and nodes; exit code 0 only when all is well."""
    found = Lab.attach(name).status()
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
    else:
        _show(found)
    if not found.healthy:
        raise click.exceptions.Exit(1)


@lab.command()
@_NAME
@click.argument("node")
@click.option("--signal", "signal_name", type=click.Choice(list(SIGNALS)), default="karpenter", show_default=True)
@click.option("--lead", type=click.FloatRange(min=0), metavar="SECONDS", help=f"Notice time. Default: {_LEADS}.")
def interrupt(name: str, node: str, signal_name: str, lead: float | None) -> None:
    """Take NODE away as its provider would; returns when it is gone."""
    running = Lab.attach(name)
    remedy = f"bring it back: spotmix lab restore {node}{option(name)}"
    try:
        running.interrupt(node, signal_name, lead, progress.for_person())
    except KeyboardInterrupt:
        click.echo(f"{node} stays as it is now; {remedy}", err=True)
        raise
    click.echo(f"{node} is gone; {remedy}")


@lab.command()
@_NAME
@click.argument("node")
def restore(name: str, node: str) -> None:
    """Start a new machine in place of the NODE that was taken away."""
    running = Lab.attach(name)
    with progress.for_person().step(f"Starting {node}"):
        running.restore(node)
    click.echo(f"{node} is Ready")


@lab.command()
@_NAME
@click.argument("components", metavar="COMPONENT...", nargs=-1, required=True)
def restart(name: str, components: tuple[str, ...]) -> None:
    """Restart components with the same state, ports and keys: as after a crash, or when one has died.

    COMPONENT is one of etcd, apiserver, controller-manager, scheduler, nodes, operator.
    """
    running, display = Lab.attach(name), progress.for_person()
    for component in components:
        running.restart(component, display)
        click.echo(f"{component} is ready")


@lab.command()
@_NAME
def kubeconfig(name: str) -> None:
    """Print the path of the kubeconfig: export KUBECONFIG=$(spotmix lab kubeconfig)."""
    click.echo(Lab.attach(name).kubeconfig)


def _configuration(path: Path | None, kwok_nodes: int | None) -> LabConfig | None:
    found = None
    if path is not None:
        from airflow_provider_spotmix.lab import config_file

        found = config_file.read(path)
    if kwok_nodes is not None:
        found = found or LabConfig()
        found = replace(found, nodes=(*found.nodes, *nodes_of(*kwok_pools(kwok_nodes))))
    return found


def _show(found: LabStatus) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    state = "[green]healthy[/]" if found.healthy else "[red]not healthy[/]"
    console.print(f"lab '{found.name}' {state}, API server {found.api_server}")
    console.print(f"KUBECONFIG={found.kubeconfig}", soft_wrap=True)
    nodes = Table("node", "capacity", "state", "pods", "taints", box=None, pad_edge=False)
    for node in found.nodes:
        ready = "Ready" if node.ready else "[red]NotReady[/]"
        nodes.add_row(node.name, node.capacity_type, ready, str(node.pods), ", ".join(node.taints))
    parts = Table("process", "pid", "state", "memory", box=None, pad_edge=False)
    for part in found.components:
        state = part.state if part.state == "running" else f"[red]{part.state}: {part.exit_code}[/]"
        parts.add_row(part.name, str(part.pid or ""), state, f"{part.memory_bytes / 2**20:.0f} MiB")
    console.print(nodes)
    console.print(parts)
    for part in found.components:
        if part.state == "ended":
            remedy = f"start it: spotmix lab restart {part.name}{option(found.name)}"
            click.echo(f"\n{part.name} has ended by itself; {remedy}\nThe end of {part.log}:\n{part.last_words}")
