"""What Spark asks Kubernetes for, for one executor. Pure.

Source: Spark's ``BasicExecutorFeatureStep``, ``BasicDriverFeatureStep`` (the factor's default) and ``ResourceProfile``,
3.5 to 4.1. Executors of a stage-level resource profile ask for something else, which is not known beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from airflow_provider_spotmix.core.errors import InvalidInputError, shown

CORES, CORE_REQUEST = "spark.executor.cores", "spark.kubernetes.executor.request.cores"
MEMORY, OVERHEAD = "spark.executor.memory", "spark.executor.memoryOverhead"
OVERHEAD_FACTOR = "spark.kubernetes.memoryOverheadFactor"
_OWN_FACTOR = "spark.executor.memoryOverheadFactor"
_LEAST_OVERHEAD = "spark.executor.minMemoryOverhead"
_PYSPARK = "spark.executor.pyspark.memory"
_OFF_HEAP, _OFF_HEAP_SIZE = "spark.memory.offHeap.enabled", "spark.memory.offHeap.size"

_MIB = 2**20
_UNITS = {"b": 1, "k": 2**10, "m": _MIB, "g": 2**30, "t": 2**40, "p": 2**50}


class ExecutorRequest(Struct, frozen=True):
    """What one executor's container requests: cores, and GiB of memory with all overhead."""

    cores: float
    memory_gib: float


def executor_request(
    properties: Mapping[str, str], *, language: str, fields: Mapping[str, str] | None = None
) -> ExecutorRequest:
    """Compute it from an application's Spark properties.

    Args:
        properties: all of them, those that the backend derives from fields of its own included.
        language: ``jvm``, ``python`` or ``r``.
        fields: where a person wrote a property, for messages; by default its name.

    Raises:
        InvalidInputError: an amount is nothing that Spark can read.

    """
    asked = _Asked(properties, fields or {})
    heap = asked.mib(MEMORY, "1g")
    if OVERHEAD in properties:
        overhead = asked.mib(OVERHEAD, "")
    else:
        factor = asked.number(_OWN_FACTOR, asked.number(OVERHEAD_FACTOR, 0.1 if language == "jvm" else 0.4))
        overhead = max(int(factor * heap), asked.mib(_LEAST_OVERHEAD, "384m"))
    pyspark = asked.mib(_PYSPARK, "0") if language == "python" else 0
    off_heap = asked.mib(_OFF_HEAP_SIZE, "0", unit="b") if properties.get(_OFF_HEAP, "").strip() == "true" else 0
    return ExecutorRequest(
        cores=asked.number(CORE_REQUEST, asked.number(CORES, 1.0)),
        memory_gib=(heap + overhead + pyspark + off_heap) / 1024,
    )


class _Asked:
    """Properties, read as Spark reads them."""

    def __init__(self, properties: Mapping[str, str], fields: Mapping[str, str]) -> None:
        self._properties = properties
        self._fields = fields

    def number(self, name: str, default: float) -> float:
        """A number, or a thousand times one with the suffix ``m`` as Kubernetes writes it."""
        if name not in self._properties:
            return default
        text = self._properties[name].strip()
        found = re.fullmatch(r"(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})(m?)", text, re.ASCII)
        if not found:
            raise self._unreadable(name, 'write "2", "0.5" or, for cores, "500m"')
        return float(found[1]) / (1000 if found[2] else 1)

    def mib(self, name: str, default: str, *, unit: str = "m") -> int:
        """An amount of memory in MiB; ``unit`` is meant when it has none."""
        text = self._properties.get(name, default).strip().lower()
        found = re.fullmatch(r"(\d{1,18})([bkmgtp]?)b?", text, re.ASCII)
        if not found:
            raise self._unreadable(name, 'write it as Spark does, such as "4g" or "512m"')
        return int(found[1]) * _UNITS[found[2] or unit] // _MIB

    def _unreadable(self, name: str, remedy: str) -> InvalidInputError:
        return InvalidInputError(f"{self._fields.get(name, name)} is {shown(self._properties[name])}; {remedy}")
