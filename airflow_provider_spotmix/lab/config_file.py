"""Read a lab's configuration from YAML. Every field is checked; an error names the field, its value and the remedy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from airflow_provider_spotmix.lab.config import LabConfig, default_app_dir, nodes_of
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.pools import DEFAULT_POOLS, PROVIDERS, PoolConfig

MAX_SHOWN = 60

# What `spotmix lab config` prints; tests hold it to the defaults of the code.
DEFAULT = """\
# A rehearsal lab: spotmix lab up --config FILE. Every field may be left out; these are the defaults.
pools:
  - name: spot            # its nodes are spot-1, spot-2, ...
    capacity: spot        # spot | on-demand
    provider: karpenter   # labels and taints of: karpenter | eks | gke | aks | plain
    nodes: 2
    cpu: 8                # of each node: what the scheduler may hand out
    memory: 8Gi
    zones: [lab-a, lab-b] # the nodes take turns
    labels: {}            # beside the provider's
    kwok: false           # true: played nodes for scale, without processes; only what tolerates kwok.x-k8s.io/node=fake
    # taints: []          # in place of the provider's: [{key: dedicated, value: spark, effect: NoSchedule}]
  - name: on-demand
    capacity: on-demand
# Components that are not started: controller-manager, scheduler, nodes, spark-operator.
without: []
# The API server's audit log: rotate (the last 400 MB are kept) | keep (all of it) | off.
audit: rotate
# What every Spark pod sees, read-only. Paths here are relative to this file.
# app_dir: ./jobs         # as /opt/app; default: the example jobs
# mounts: {/opt/data: ./data}
"""


def _text(value: Any) -> Any:
    """YAML takes 8 for a number, and a quantity may be one."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _matching(pattern: str, example: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"give {example}")
        return value

    return AfterValidator(check)


# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_PREFIX = r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?"
Key = Annotated[str, _matching(_PREFIX + _NAME, "a key of a label, such as example.com/team")]
Value = Annotated[str, BeforeValidator(_text), _matching(f"({_NAME})?", "up to 63 of A-Z, a-z, 0-9, -, _ and .")]
Cpu = Annotated[str, BeforeValidator(_text), _matching(r"\d+(\.\d+)?|\d+m", "a number of CPUs, such as 4, 0.5 or 500m")]
Memory = Annotated[str, BeforeValidator(_text), _matching(r"\d+([KMGT]i?|k)?", "an amount, such as 8Gi or 512Mi")]
# With a node's number behind it, it has to stay a DNS label.
PoolName = Annotated[str, _matching(r"[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?", "up to 50 of a-z, 0-9 and -")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TaintModel(_Strict):
    """A taint, in Kubernetes' own words."""

    key: Key
    value: Value = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


class PoolModel(_Strict):
    """Fields of `PoolConfig`."""

    name: PoolName
    capacity: Literal["spot", "on-demand"]
    provider: Literal[*PROVIDERS] = "karpenter"  # type: ignore[valid-type]
    nodes: Annotated[int, Field(ge=0, le=5000)] = 2
    cpu: Cpu = "8"
    memory: Memory = "8Gi"
    zones: Annotated[list[Value], Field(min_length=1)] = ["lab-a", "lab-b"]
    labels: dict[Key, Value] = {}
    taints: list[TaintModel] | None = None
    kwok: bool = False

    def to_pool(self) -> PoolConfig:
        """As what the lab knows."""
        taints = None if self.taints is None else tuple(taint.model_dump() for taint in self.taints)
        fields = self.model_dump(exclude={"taints", "zones"})
        return PoolConfig(**fields, zones=tuple(self.zones), taints=taints)


class FileModel(_Strict):
    """The whole file."""

    pools: list[PoolModel] | None = None
    without: list[str] = []
    audit: str = "rotate"
    app_dir: str | None = None
    mounts: dict[str, str] = {}


def read(path: Path) -> LabConfig:
    """Read a configuration.

    Raises:
        LabError: there is no such file, it is no YAML, or a field is wrong.

    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        remedy = "to begin one: spotmix lab config > lab.yaml"
        raise LabError(f"--config {path}: {error.strerror}", remedy=remedy) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LabError(f"--config {path} is no YAML: {' '.join(str(error).split())}") from None
    try:
        return parse({} if content is None else content, path.parent)
    except LabError as error:
        raise LabError(f"{path}: {error}", remedy="all fields: spotmix lab config") from None


def parse(content: Any, directory: Path) -> LabConfig:
    """Check a configuration.

    Args:
        content: what YAML has made of the file.
        directory: what its paths are relative to.

    Raises:
        LabError: names field, value and remedy.

    """
    if not isinstance(content, dict):
        raise LabError(f"it is {_shown(content)}; give fields, such as pools")
    try:
        model = FileModel.model_validate(content)
    except ValidationError as error:
        said = map(_told, error.errors(include_url=False, include_context=False))
        raise LabError("; ".join(said)) from None
    pools = DEFAULT_POOLS if model.pools is None else tuple(pool.to_pool() for pool in model.pools)
    return LabConfig(
        nodes=nodes_of(*pools),
        app_dir=default_app_dir() if model.app_dir is None else (directory / model.app_dir).resolve(),
        mounts={target: (directory / source).resolve() for target, source in model.mounts.items()},
        without=tuple(model.without),
        audit=model.audit,
    )


def _told(error: Any) -> str:
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"] if part != "[key]")
    field = field.removeprefix(".")
    if error["type"] == "extra_forbidden":
        return f"{field}: there is no such field"
    if error["type"] == "missing":
        return f"{field} is missing"
    message = error["msg"].removeprefix("Value error, ")
    return f"{field} is {_shown(error['input'])}; {message[:1].lower()}{message[1:]}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."
