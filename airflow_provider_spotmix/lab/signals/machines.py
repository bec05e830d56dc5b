"""The machine ends, hangs or is cut off without any notice, and what others then find out."""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_spotmix.lab.signals.scene import Scene, Signal, countdown, switch_off, taint

STOPPED = {"key": "node.cloudprovider.kubernetes.io/shutdown", "effect": "NoSchedule"}
OUT_OF_SERVICE = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}


def _death(scene: Scene) -> None:
    """The machine is gone without a word: nobody tells the API server."""
    countdown(scene, "until the machine dies")
    scene.machines.kill(scene.node)


def _freeze(scene: Scene) -> None:
    """The machine stands still: who is connected to it waits, because nobody closes the connection."""
    countdown(scene, "until the machine freezes")
    scene.machines.freeze(scene.node)


def _deletion(scene: Scene) -> None:
    """The cloud controller sees that the instance is no more, and removes its Node."""
    countdown(scene, "until the machine dies")
    switch_off(scene)


def _stopped(mark: dict[str, str]) -> Callable[[Scene], None]:
    """The machine is dead, and somebody who knows says so."""

    def play(scene: Scene) -> None:
        _death(scene)
        taint(scene, mark)

    return play


def _partition(what: str) -> Callable[[Scene], None]:
    """The machine and its pods run on, but who is elsewhere does not hear of them, nor they of those."""

    def play(scene: Scene) -> None:
        countdown(scene, "until the network breaks")
        scene.machines.cut(scene.node, what)

    return play


SIGNALS = {
    "node-death": Signal("sudden death, without any notice", 0.0, _death),
    "node-freeze": Signal("sudden standstill, without any notice", 0.0, _freeze),
    "node-deletion": Signal("sudden death, and the Node object goes with the machine", 0.0, _deletion),
    "node-stopped": Signal("sudden death, and the cloud controller says that it is stopped", 0.0, _stopped(STOPPED)),
    "out-of-service": Signal("sudden death, and a person says so with a taint", 0.0, _stopped(OUT_OF_SERVICE)),
    "node-partition": Signal("cut off from everybody, pods run on", 0.0, _partition("cut-off"), "is cut off"),
    "api-partition": Signal("cut off from the API server", 0.0, _partition("cut-from-api"), "is cut off"),
    "pod-partition": Signal("its pods are cut off", 0.0, _partition("cut-from-pods"), "is cut off"),
}
