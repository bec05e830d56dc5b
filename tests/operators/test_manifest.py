"""From what a person gives for an application to a plain mapping, or to an error that says what is wrong."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.providers.cncf.kubernetes.pod_generator import make_safe_label_value
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.operators.manifest import label_value, load_manifest

APPLICATION = {"apiVersion": "v1", "kind": "K", "metadata": {"name": "etl"}, "spec": {"executor": {"instances": 5}}}
TEXT = yaml.safe_dump(APPLICATION)
ITSELF: dict[str, Any] = {}
ITSELF["again"] = ITSELF


@pytest.mark.parametrize(
    ("file", "spec", "expected"),
    [
        pytest.param(TEXT, None, APPLICATION, id="yaml"),
        pytest.param(json.dumps(APPLICATION), None, APPLICATION, id="json"),
        pytest.param(None, APPLICATION, APPLICATION, id="mapping"),
        pytest.param(None, TEXT, APPLICATION, id="mapping-as-text"),
        pytest.param(yaml.safe_dump({"spark": APPLICATION}), None, APPLICATION, id="wrapper"),
        pytest.param(None, {"spark": APPLICATION, "kubernetes": {}}, APPLICATION, id="wrapper-empty-kubernetes"),
        pytest.param("since: 2026-01-01\n", None, {"since": "2026-01-01"}, id="dates-are-text"),
        pytest.param("7: seven\n", None, {"7": "seven"}, id="keys-are-text"),
        pytest.param("a: &x {b: 1}\nc: *x\n", None, {"a": {"b": 1}, "c": {"b": 1}}, id="anchors"),
        pytest.param("metadata:\n", None, {"metadata": None}, id="no-metadata"),
    ],
)
def test_it_is_read(file: str | None, spec: Any, expected: dict[str, Any]) -> None:
    assert load_manifest(file, spec) == expected


def test_a_path_is_read(tmp_path: Path) -> None:
    path = tmp_path / "etl.yaml"
    path.write_text(TEXT)
    assert load_manifest(f"{path} ", None) == APPLICATION


def test_what_is_given_is_not_changed() -> None:
    given_spec = {"spec": {"executor": {"instances": 5}}}
    load_manifest(None, given_spec)["spec"]["executor"]["instances"] = 6
    assert given_spec == {"spec": {"executor": {"instances": 5}}}


@pytest.mark.parametrize(
    ("file", "spec", "message"),
    [
        pytest.param("", None, "the application is empty; give", id="empty"),
        pytest.param("# nothing\n", None, "the application is empty; give", id="only-a-comment"),
        pytest.param("[1, 2]", None, r"is a list: '\[1, 2\]'; give a SparkApplication", id="list"),
        pytest.param("etl", None, "is a str: 'etl'; give .* path .* ends with .yaml", id="path-without-extension"),
        pytest.param("nowhere.yaml", None, "'nowhere.yaml' cannot be read .*No such file.*relative to", id="no-file"),
        pytest.param("nul\0.yaml", None, "cannot be read .*null byte", id="no-path-at-all"),
        pytest.param("a: [1\n", None, "(?s)is no YAML: .*line 2", id="bad-yaml"),
        pytest.param("a: 1\n---\nb: 2\n", None, "is no YAML: .*single document", id="two-documents"),
        pytest.param("a: 2026-02-31\n", None, "is no YAML: day is out of range", id="no-such-day"),
        pytest.param("[" * 5000, None, "is no YAML", id="too-deep"),
        pytest.param("a: !!python/object:os.system {}\n", None, "is no YAML: .*python/object", id="python-tag"),
        pytest.param("a: .nan\n", None, "JSON cannot say: Out of range float", id="nan"),
        pytest.param("a: &a [*a]\n", None, "JSON cannot say: Circular", id="contains-itself"),
        pytest.param("spark: etl\n", None, "'spark' of the application is a str: 'etl'", id="wrapped-text"),
        pytest.param("spark:\n", None, "'spark' of the application is empty", id="wrapped-nothing"),
        pytest.param("spark: {spec: {}}\nkubernetes: {x: 1}\n", None, "'kubernetes' section", id="kubernetes"),
        pytest.param("metadata: etl\n", None, "metadata of the application is a str", id="metadata-is-text"),
        pytest.param(None, {"spec": {1, 2}}, "JSON cannot say: a set", id="set"),
        pytest.param(None, ITSELF, "JSON cannot say: Circular", id="mapping-contains-itself"),
        pytest.param(None, {("a", "b"): 1}, "JSON cannot say: keys must be", id="tuple-key"),
        pytest.param(None, 5, "the application is a int: '5'", id="number"),
    ],
)
def test_it_is_refused(file: str | None, spec: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        load_manifest(file, spec)


@given(st.text())
@example("%YAML 9.9\n--- a")
@example("? [a]\n: b")
@example("a: 0o9\nb: 1:99:99\nc: 0b2\n")
def test_no_text_is_a_traceback(text: str) -> None:
    with suppress(InvalidInputError):
        assert isinstance(load_manifest(text, None), dict)


@given(st.text())
@example("manual__2026-01-01T00:00:00+00:00")
@example("a" * 64)
@example("--a--")
def test_label_values_are_those_of_the_kubernetes_provider(text: str) -> None:
    """Dashboards select pods by them; where the provider's own is invalid, ours is valid."""
    ours, theirs = label_value(text), make_safe_label_value(text)
    assert re.fullmatch(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", ours)
    assert len(ours) <= 63
    assert ours == theirs.lstrip("-_.")
