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
from airflow_provider_spotmix.manifests.labels import label_value
from airflow_provider_spotmix.operators.manifest import load_application

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
        pytest.param("'7': seven\n", None, {"7": "seven"}, id="keys-are-text"),
        pytest.param('{\n\t"a": "\\ud83d\\ude00"}', None, {"a": "\U0001f600"}, id="json-that-is-no-yaml"),
        pytest.param("{a: 1}", None, {"a": 1}, id="yaml-that-looks-like-json"),
        pytest.param("\ufeffa: 1\n", None, {"a": 1}, id="byte-order-mark"),
        pytest.param("---\na: 1\n---\n", None, {"a": 1}, id="empty-documents-around"),
        pytest.param(
            "a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}\n", None, {"a": {"b": 1, "c": 2}, "d": {"b": 3, "c": 2}}, id="merge"
        ),
        pytest.param({"a": 1}, None, {"a": 1}, id="rendered-to-a-mapping"),
        pytest.param("a: &x {b: 1}\nc: *x\n", None, {"a": {"b": 1}, "c": {"b": 1}}, id="anchors"),
        pytest.param("metadata:\n", None, {"metadata": None}, id="no-metadata"),
    ],
)
def test_it_is_read(file: str | None, spec: Any, expected: dict[str, Any]) -> None:
    assert load_application(file, spec).manifest == expected


def test_a_path_is_read(tmp_path: Path) -> None:
    path = tmp_path / "etl.yaml"
    path.write_text(TEXT)
    assert load_application(f"{path} ", None).manifest == APPLICATION


def test_what_is_given_is_not_changed() -> None:
    given_spec = {"spec": {"executor": {"instances": 5}}}
    load_application(None, given_spec).manifest["spec"]["executor"]["instances"] = 6
    assert given_spec == {"spec": {"executor": {"instances": 5}}}


def bomb(step: str) -> str:
    """Text of a few lines that a careless reader unfolds into 10**9 values."""
    return "a0: &a0 {x: y}\n" + "".join(
        f"a{n}: &a{n} {step.format(', '.join([f'*a{n - 1}'] * 10))}\n" for n in range(1, 10)
    )


TOO_LARGE = (
    "{} is larger than 1,000,000 characters, its anchors unfolded; Kubernetes does not store that much: move data out"
    " of it"
)
TOO_DEEP = "{} nests deeper than 64 levels, or contains itself; no SparkApplication does: flatten it"


@pytest.mark.parametrize(
    ("file", "spec", "message"),
    [
        pytest.param(
            "",
            None,
            "application_file is empty, after templates were rendered; give a SparkApplication",
            id="rendered-to-nothing",
        ),
        pytest.param(
            "# nothing\n",
            None,
            "application_file is empty, after templates were rendered; give a SparkApplication",
            id="only-a-comment",
        ),
        pytest.param(
            "[1, 2]",
            None,
            "application_file is [1, 2], no mapping; give a SparkApplication, or the path of one that ends with .yaml,"
            " .yml or .json",
            id="list",
        ),
        pytest.param(
            "etl",
            None,
            "application_file is 'etl', no mapping; give a SparkApplication, or the path of one that ends with .yaml,"
            " .yml or .json",
            id="path-without-extension",
        ),
        pytest.param(
            b"kind: A",
            None,
            "application_file is b'kind: A', no mapping; give a SparkApplication, or the path of"
            " one that ends with .yaml, .yml or .json",
            id="bytes",
        ),
        pytest.param(
            None,
            5,
            "template_spec is 5, no mapping; give a SparkApplication, or the path of one that ends with .yaml, .yml or"
            " .json",
            id="number",
        ),
        pytest.param(
            "nowhere.yaml",
            None,
            "application_file 'nowhere.yaml' cannot be read (No such file or directory); give a path that is relative"
            " to the DAG file or in template_searchpath",
            id="no-file",
        ),
        pytest.param(
            "nul\0.yaml",
            None,
            "application_file 'nul\\x00.yaml' cannot be read (embedded null byte); give a path that is relative to the"
            " DAG file or in template_searchpath",
            id="no-path-at-all",
        ),
        pytest.param(
            "x" * 5000 + ".yaml",
            None,
            f"application_file '{'x' * 99}... cannot be read (File name too long); give a path that is relative to the"
            " DAG file or in template_searchpath",
            id="path-too-long",
        ),
        pytest.param(
            "a: [1\nb: 2",
            None,
            "application_file is no YAML: expected ',' or ']', but got ':' (line 2, column 2); correct it",
            id="bad-yaml",
        ),
        pytest.param(
            '{"a": 1, }}',
            None,
            "application_file is no YAML: expected '<document start>', but found '}' (line 1, column 11); correct it",
            id="bad-json",
        ),
        pytest.param(
            "kind: A\n---\nkind: B\n",
            None,
            "application_file holds 2 documents (parted by '---'); give one SparkApplication, and each other in a task"
            " of its own",
            id="two-documents",
        ),
        pytest.param(
            "a: 1\nb: {c: 1, 'c': 2}\n",
            None,
            "application_file is no YAML: key 'c' is there twice, keep one (line 2, column 11); correct it",
            id="key-twice",
        ),
        pytest.param(
            '{"a": 1,\n"a": 2}',
            None,
            "application_file is no YAML: key 'a' is there twice, keep one (line 2, column 1); correct it",
            id="key-twice-in-json",
        ),
        pytest.param(
            "spec: {on: 1}\n",
            None,
            "spec has the key True, no text; put it into quotes (YAML reads yes, no, on, off and numbers as something"
            " else)",
            id="key-that-is-no-text",
        ),
        pytest.param(
            None,
            {("a", "b"): 1},
            "template_spec has the key ('a', 'b'), no text; put it into quotes (YAML reads yes, no, on, off and numbers"
            " as something else)",
            id="tuple-key",
        ),
        pytest.param(
            "? [a]\n: b\n",
            None,
            "application_file is no YAML: found unhashable key (line 1, column 3); correct it",
            id="list-key",
        ),
        pytest.param(
            "[" * 5000,
            None,
            TOO_DEEP.format("application_file"),
            id="too-deep-for-the-reader",
        ),
        pytest.param("a: " + "[" * 70 + "]" * 70, None, TOO_DEEP.format("application_file"), id="too-deep"),
        pytest.param("a: &a [*a]\n", None, TOO_DEEP.format("application_file"), id="contains-itself"),
        pytest.param(None, ITSELF, TOO_DEEP.format("template_spec"), id="mapping-contains-itself"),
        pytest.param(bomb("[{}]"), None, TOO_LARGE.format("application_file"), id="bomb-of-anchors"),
        pytest.param("a: " + "x" * 10**6, None, TOO_LARGE.format("application_file"), id="too-long"),
        pytest.param(None, {"a": "x" * 10**6}, TOO_LARGE.format("template_spec"), id="too-long-mapping"),
        pytest.param(
            "a: !!python/object:os.system {}\n",
            None,
            "application_file is no YAML: could not determine a constructor for the tag"
            " 'tag:yaml.org,2002:python/object:os.system' (line 1, column 4); correct it",
            id="python-tag",
        ),
        pytest.param(
            "a: b\0c\n",
            None,
            "application_file is no YAML: '\\x00' at position 4 is no character of text; remove it",
            id="nul",
        ),
        pytest.param(
            'a: {b: "\\0"}\n',
            None,
            "a.b has '\\x00', with a character that no file can hold; remove it",
            id="escaped-nul",
        ),
        pytest.param(
            '{"a": ["\\ud800"]}',
            None,
            "a[0] has '\\ud800', with a character that no file can hold; remove it",
            id="half-a-surrogate-pair",
        ),
        pytest.param(
            "spec: {sparkConf: {spark.x: .nan}}\n",
            None,
            "spec.sparkConf['spark.x'] is nan, a float that JSON cannot say; write it as text",
            id="nan",
        ),
        pytest.param('{"a": Infinity}', None, "a is inf, a float that JSON cannot say; write it as text", id="inf"),
        pytest.param(
            f"a: {2**63}\n",
            None,
            "a is 9223372036854775808, a int that JSON cannot say; write it as text",
            id="integer-of-more-than-64-bits",
        ),
        pytest.param(
            "a: !!binary aGk=\n", None, "a is b'hi', a bytes that JSON cannot say; write it as text", id="binary"
        ),
        pytest.param(None, {"spec": {1}}, "spec is {1}, a set that JSON cannot say; write it as text", id="set"),
        pytest.param(
            "password: !!binary aGk=\n",
            None,
            "password is something that is not shown here, a bytes that JSON cannot say; write it as text",
            id="a-secret-is-not-repeated",
        ),
        pytest.param(
            "spark: etl\n",
            None,
            "section 'spark' of application_file is 'etl', no mapping; give a SparkApplication, or the path of one that"
            " ends with .yaml, .yml or .json",
            id="wrapped-text",
        ),
        pytest.param(
            "spark:\n",
            None,
            "section 'spark' of application_file is empty, after templates were rendered; give a SparkApplication",
            id="wrapped-nothing",
        ),
        pytest.param(
            "metadata: etl\n", None, "metadata is 'etl'; a SparkApplication has a mapping there", id="metadata-is-text"
        ),
    ],
)
def test_it_is_refused(file: Any, spec: Any, message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        load_application(file, spec)
    assert str(caught.value) == message
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_merging_does_not_grow() -> None:
    found = load_application(bomb("{{<<: [{}]}}"), None).manifest
    assert found["a9"] == {"x": "y"}


@given(st.text())
@example("%YAML 9.9\n--- a")
@example("? [a]\n: b")
@example("a: 0o9\nb: 1:99:99\nc: 0b2\n")
def test_no_text_is_a_traceback(text: str) -> None:
    with suppress(InvalidInputError):
        assert isinstance(load_application(text, None).manifest, dict)


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
