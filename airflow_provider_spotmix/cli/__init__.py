"""The command `spotmix`. Each subcommand is a module of its own, imported only when it is called."""

from __future__ import annotations

import importlib
import os
import sys

import click

from airflow_provider_spotmix import __version__

# Name: module, attribute, and what `spotmix --help` says without importing it.
COMMANDS = {
    "plan": ("airflow_provider_spotmix.cli.plan", "plan", "Show what would be submitted, without a cluster."),
    "demo": ("airflow_provider_spotmix.cli.demo", "demo", "Show a Spark job keep its mix through an interruption."),
    "up": ("airflow_provider_spotmix.cli.demo", "up", "Start the lab and an Airflow with the example DAGs."),
    "down": ("airflow_provider_spotmix.cli.demo", "down", "Stop what `up` started."),
    "gc": ("airflow_provider_spotmix.cli.gc", "gc", "Delete what is left of fleets that nobody looks after any more."),
    "agent": ("airflow_provider_spotmix.cli.agent", "agent", "Look after fleets in a namespace, without Airflow."),
    "lab": ("airflow_provider_spotmix.cli.lab", "lab", "Rehearse on this machine: a real cluster without a cluster."),
}

EXIT_ERROR, EXIT_INTERRUPTED = 1, 130


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called; errors are one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.{attribute} is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run; turn an error into one line and exit code 1 (SPOTMIX_DEBUG=1: into a traceback)."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # the last: whoever reads our output has seen enough, which click knows
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except Exception as error:
            if os.environ.get("SPOTMIX_DEBUG"):
                raise
            click.echo(f"error: {explain(error)}", err=True)
            sys.exit(EXIT_ERROR)


def explain(error: Exception) -> str:
    """What a person is told about an error: its story and the remedy."""
    if isinstance(error, ModuleNotFoundError):
        remedy = "pip install 'airflow-provider-spotmix[lab]'"
        return f"the Python package {error.name} is not installed; {remedy}"
    from airflow_provider_spotmix.core.errors import SpotmixError
    from airflow_provider_spotmix.kube.errors import KubeError
    from airflow_provider_spotmix.lab.errors import LabError

    if isinstance(error, LabError | SpotmixError | KubeError):
        return str(error)
    return f"{type(error).__name__}: {error} (SPOTMIX_DEBUG=1 shows where)"


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="spotmix")
def main() -> None:
    """Keep a mix of spot and on-demand executors: tools beside the Airflow operator."""
