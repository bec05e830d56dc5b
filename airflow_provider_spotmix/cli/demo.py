"""`spotmix demo`, `spotmix up`, `spotmix down`: the whole thing on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from airflow_provider_spotmix.lab import demo as story
from airflow_provider_spotmix.lab import progress, stage
from airflow_provider_spotmix.lab.lab import DEFAULT_NAME

_NAME = click.option("--name", default=DEFAULT_NAME, show_default=True, help="Which lab: several can run side by side.")


@click.command()
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("build/demo/report.json"),
    show_default=True,
    help="Where to write the report.",
)
def demo(report: Path) -> None:
    """Show a real Spark job keep its 40:60 mix through an interruption.

    It starts a cluster and an Airflow of its own, runs the example DAG, takes a spot node away in mid-run, kills the
    triggerer with -9 before the replacement is placed, brings it back, and removes everything again.
    """
    display = progress.for_person()
    with stage.ephemeral(display, logs=report.parent / "logs") as (lab, airflow):
        told = story.run(lab, airflow, progress=display)
    story.write_report(told, report)
    _show(told.report, told.seconds)
    click.echo(f"\n{told.job_result}\nreport: {report}")


@click.command()
@_NAME
def up(name: str) -> None:
    """Start the lab and an Airflow with the example DAGs, and leave them running."""
    lab, airflow = stage.up(name, progress.for_person())
    click.echo(f"Airflow:  {airflow.url}  (user admin, password {airflow.password})")
    click.echo(f"Cluster:  export KUBECONFIG={lab.kubeconfig}")
    click.echo("Try:      trigger the DAG spotmix_minimal, then `spotmix lab interrupt spot-1 --lead 30`")


@click.command()
@_NAME
def down(name: str) -> None:
    """Stop what `spotmix up` started and remove it."""
    with progress.for_person().step("Stopping Airflow and the lab"):
        stopped = stage.down(name)
    click.echo("stopped" if stopped else "nothing was running")


def _show(report: dict[str, Any], seconds: dict[str, float]) -> None:
    """Print the report for a person."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Fleet {report['fleet']}: {report['result']}", title_justify="left")
    table.add_column("pool")
    for column in ("target", "placed at first", "replacements", "executor seconds"):
        table.add_column(column, justify="right")
    for pool, target in report["target"].items():
        account = report["ledger"].get(pool, {})
        replaced = report["replacements_by_pool"].get(pool, 0)
        held = account.get("executor_seconds", 0)
        table.add_row(pool, str(target), str(report["initial"].get(pool, 0)), str(replaced), f"{held:.0f}")
    console = Console()
    console.print(table)
    for loss in report["interruptions"]:
        console.print(f"lost      {loss['executor']} ({loss['pool']}, {loss['node']}): {loss['cause']}")
    for replacement in report["replacements"]:
        console.print(f"replaced  by {replacement['executor']} on {replacement['pool']}")
    gate = report["gate_latency_ms"]
    console.print(f"gate      lifted {gate['count']} times, median {gate.get('p50')} ms, slowest {gate.get('max')} ms")
    console.print("time      " + ", ".join(f"{act} {length:.1f} s" for act, length in seconds.items()))
