"""Listens where an Airflow sends its metrics to: StatsD with tags, by UDP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from types import TracebackType


def any_name(name: str) -> str:
    """Take every name, as far as StatsD can send it."""
    return name.encode("ascii", "replace").decode()


class Statsd:
    """Keeps every line about spotmix that arrives while it is open."""

    def __init__(self) -> None:
        """Take a free port."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)

    @property
    def env(self) -> Mapping[str, str]:
        """What makes an Airflow send its metrics here."""
        host, port = self._socket.getsockname()
        return {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": host,
            "AIRFLOW__METRICS__STATSD_PORT": str(port),
            "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
            # Airflow 3.3 schedules no run of a DAG whose id its own handler takes for no name of a metric.
            "AIRFLOW__METRICS__STAT_NAME_HANDLER": f"{__name__}.any_name",
        }

    def of(self, prefix: str, **tags: str) -> dict[str, set[str]]:
        """Return what was said of metrics with a prefix and these tags: by name and other tags, ``value|kind``."""
        found: dict[str, set[str]] = {}
        for line in list(self._lines):
            name, _, value = line.partition(":")
            name, *pairs = name.split(",")
            own = dict(pair.split("=", 1) for pair in pairs)
            if not name.startswith(f"airflow.{prefix}.") or not tags.items() <= own.items():
                continue
            others = ",".join(f"{key}={own[key]}" for key in sorted(own.keys() - tags.keys()))
            short = name.removeprefix(f"airflow.{prefix}.")
            found.setdefault(f"{short}{{{others}}}" if others else short, set()).add(value)
        return found

    def __enter__(self) -> Statsd:
        """Listen."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self._socket.close()

    def _listen(self) -> None:
        while True:
            try:
                packet = self._socket.recv(65536)
            except OSError:
                return
            self._lines += [line for line in packet.decode(errors="replace").splitlines() if "spotmix" in line]
