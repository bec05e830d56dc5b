"""What the documentation says of the code is true of it."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import msgspec
import pytest
import yaml

from airflow_provider_spotmix.backends.kubeflow import Kubeflow
from airflow_provider_spotmix.cli.gc import gc
from airflow_provider_spotmix.cli.lab import lab
from airflow_provider_spotmix.core import interruption
from airflow_provider_spotmix.core.actions import Topic
from airflow_provider_spotmix.core.history import HISTORY_DETAILS, Cause
from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.core.pools import PRESETS
from airflow_provider_spotmix.fleet.report import SCHEMA, Report
from airflow_provider_spotmix.hooks.choice import choose
from airflow_provider_spotmix.hooks.prices import PriceModel
from airflow_provider_spotmix.hooks.settings import DEFAULTS, SpotmixExtra, read_pools
from airflow_provider_spotmix.lab.kwok import STAGES
from airflow_provider_spotmix.lab.signals import SIGNALS
from airflow_provider_spotmix.manifests import labels, spark_conf
from airflow_provider_spotmix.operators import peer_input
from airflow_provider_spotmix.operators.peer_arguments import REFUSED, SAME
from airflow_provider_spotmix.operators.spark_fleet import SparkFleetOperator
from airflow_provider_spotmix.provider_info import PROVIDER_INFO
from airflow_provider_spotmix.sensors.spark_fleet import SparkFleetSensor
from tests.docs.pages import ROOT, blocks, pages

PACKAGE = ROOT / "airflow_provider_spotmix"


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def test_it_builds_without_a_warning(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", str(tmp_path / "trees")]
    done = subprocess.run(
        [*build, str(ROOT / "docs"), str(tmp_path / "html")], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "html" / "index.html").is_file()


@pytest.mark.parametrize("path", [pytest.param(p, id=str(p.relative_to(ROOT))) for p in pages()])
def test_links_and_files_lead_somewhere(path: Path) -> None:
    text = path.read_text("utf-8")
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"\w+:|#", link)}
    assert [link for link in sorted(links) if not (path.parent / link).exists()] == []
    modules = set(re.findall(r"`((?:backends|core|fleet|kube|lab|manifests|placements)/[\w/]+\.py)`", text))
    assert [module for module in sorted(modules) if not (PACKAGE / module).is_file()] == []


@pytest.mark.parametrize("path", [pytest.param(p, id=str(p.relative_to(ROOT))) for p in pages()])
def test_labels_are_those_of_the_code(path: Path) -> None:
    ours = {value for name, value in vars(labels).items() if name.isupper()}
    named = set(re.findall(r"(?<![\w.])spotmix\.io/[a-z-]+\b", path.read_text("utf-8")))
    assert named - ours - {"spotmix.io/lab", "spotmix.io/lab-operator", "spotmix.io/lab-kwok"} == set()


def test_every_annotation_of_a_played_pod_is_listed() -> None:
    heeded, told = (set(re.findall(r"lab\.spotmix\.io/[a-z-]+", text)) for text in (STAGES.read_text(), page("lab.md")))
    assert told == heeded


def test_every_sign_of_an_interruption_is_listed() -> None:
    rows = [
        [cell.strip() for cell in row]
        for row in re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \| (.+?) \| (.*?) ?\|$", page("interruptions.md"), re.M)
    ]
    signs = [[f"`{s.key}`", s.where.value, s.writer, s.meaning.value, acted_on(s)] for s in interruption.SIGNS]
    assert [sign for sign in signs if sign not in rows] == []


def test_every_reason_of_an_event_is_listed() -> None:
    assert [topic for topic in Topic if f"`{topic.value}`" not in page("life-of-a-task.md")] == []


def test_every_option_of_gc_is_listed() -> None:
    text = page("life-of-a-task.md")
    assert [word for option in gc.params for word in option.opts if f"`{word}`" not in text] == []


def test_every_command_of_the_lab_is_listed() -> None:
    told = {word for cell in first_column(page("lab.md")) for word in re.findall(r"[a-z]+", cell)}
    assert set(lab.commands) - told == set()


def test_every_annotation_of_an_application_is_listed() -> None:
    text = page("life-of-a-task.md")
    assert [name for name in (labels.IDENTITY, labels.TASK, labels.KEEP) if f"| `{name}` |" not in text] == []


def test_every_cause_is_listed() -> None:
    assert [cause for cause in Cause if f"| `{cause.value}` |" not in page("interruptions.md")] == []


def test_every_spark_property_is_listed_with_its_version_and_value() -> None:
    rows = re.findall(r"^\| `(spark\.[\w.]+)` \| (\d+)\.(\d+) \| ([^|]+) \|", page("interruptions.md"), re.M)
    assert {name: (int(major), int(minor)) for name, major, minor, _ in rows} == spark_conf.SINCE
    told = {name: value for name, *_, value in rows}
    fixed = {n: v for n, v in spark_conf.for_spot(5).items() if n not in (spark_conf.FAILURES, spark_conf.RETAINED)}
    assert [name for name, value in fixed.items() if not told[name].startswith(f"`{value}`")] == []
    old = spark_conf.for_spot(5, spark_version="3.3")[spark_conf.STAGE_ATTEMPTS]
    assert f"`{old}` below Spark 3.4" in told[spark_conf.STAGE_ATTEMPTS]


def acted_on(sign: interruption.Sign) -> str:
    """What the table says that follows at once."""
    if sign.proves_gone:
        return "executors there are rescued"
    return "executors there leave at once" if sign.announces else ""


def first_column(text: str) -> set[str]:
    """Names in the first column of all tables."""
    cells = re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_argument_of_the_operator_is_listed() -> None:
    arguments = set(inspect.signature(SparkFleetOperator.__init__).parameters) - {"self", "kwargs"}
    assert arguments - first_column(page("operators.md")) == set()


def test_every_argument_of_the_peer_is_listed_with_what_becomes_of_it() -> None:
    _, taken, refused = re.split(r"^## Arguments that are .*$", page("migration.md"), flags=re.MULTILINE)
    assert first_column(taken) == SAME
    rows = re.findall(r"^\| (`[^|]+`) \| ([^|]+) \|$", refused.partition("\n## ")[0], re.MULTILINE)
    assert {name: remedy for names, remedy in rows for name in re.findall(r"`(\w+)`", names)} == REFUSED


def test_every_key_of_the_peers_section_is_listed() -> None:
    listed = {name.removeprefix("kubernetes.") for name in first_column(page("migration.md")) if "kubernetes." in name}
    assert listed == {*peer_input.CLUSTER, *peer_input.SECTION}


def test_templated_arguments_are_marked() -> None:
    marked = re.findall(r"^\| `(\w+)` \| t \|", page("operators.md"), re.MULTILINE)
    assert sorted(marked) == sorted(SparkFleetOperator.template_fields)


def test_every_argument_of_the_sensor_is_listed_and_marked() -> None:
    arguments = set(inspect.signature(SparkFleetSensor.__init__).parameters) - {"self", "kwargs"}
    assert arguments - first_column(page("sensor.md")) == set()
    marked = re.findall(r"^\| `(\w+)` \| t \|", page("sensor.md"), re.MULTILINE)
    assert sorted(marked) == sorted(SparkFleetSensor.template_fields)


def test_defaults_are_told() -> None:
    for name, value in DEFAULTS.items():
        assert re.search(
            rf"^\| `{name}` \|[ t]*\| `?{re.escape(str(value))}`? \|", page("operators.md"), re.MULTILINE
        ), name


def test_the_report_is_the_one_shown() -> None:
    shown = next(json.loads(b.text) for b in blocks("json") if b.page == "docs/operators.md")
    assert list(shown) == list(Report.__struct_fields__)
    assert set(shown) - first_column(page("operators.md")) == set()
    assert shown["schema"] == SCHEMA
    assert f"the last {HISTORY_DETAILS} entries" in page("operators.md")


def test_every_field_of_the_connection_is_listed() -> None:
    assert set(SpotmixExtra.model_fields) - first_column(page("connection.md")) == set()


def test_every_option_of_the_configuration_is_listed() -> None:
    assert set(PROVIDER_INFO["config"]["spotmix"]["options"]) - first_column(page("connection.md")) == set()


def test_every_setting_of_the_policy_is_listed_with_its_default() -> None:
    for each in msgspec.structs.fields(Policy):
        default = each.default if isinstance(each.default, str) else f"{each.default:g}"
        assert f"| `{each.name}` | {default} |" in page("connection.md")


def test_prices_that_are_shown_can_be_read() -> None:
    (shown,) = [json.loads(b.text) for b in blocks("json") if b.page == "docs/connection.md" and "gib_hour" in b.text]
    assert choose({}, {"prices": shown}, {}).prices
    assert set(PriceModel.model_fields) - first_column(page("cost.md")) == set()


def test_price_files_that_are_shown_can_be_read(tmp_path: Path) -> None:
    shown = [b.text for b in blocks("yaml") if b.page == "docs/cost.md"]
    for number, text in enumerate(shown):
        (tmp_path / f"{number}.yaml").write_text(text, "utf-8")
        assert choose({}, {"price_file": str(tmp_path / f"{number}.yaml")}, {}).prices
    assert len(shown) == 2


def test_the_versions_that_are_tested_are_those_that_are_installed() -> None:
    shown = re.findall(r"^\| ([^|]+) \| [^|]+ \| ([\d.]+) \|", page("versions.md"), re.MULTILINE)
    told = {name.strip("`").partition("`")[0]: version for name, version in shown}
    assert metadata.version("apache-airflow") == told["Airflow"]
    assert metadata.version("pyspark") == told["Spark"]
    peer = "apache-airflow-providers-cncf-kubernetes"
    assert metadata.version(peer) == told[peer]
    modules = "".join((PACKAGE / "lab" / name / "go.mod").read_text("utf-8") for name in ("go", "go_operator"))
    assert f"k8s.io/kubernetes v{told['Kubernetes']}" in modules
    assert f"spark-operator/v2 v{told['Kubeflow spark-operator']}" in modules


def test_presets_are_told() -> None:
    assert [name for name in PRESETS if f"| `{name}`" not in page("connection.md")] == []


def test_pools_that_are_shown_can_be_read() -> None:
    shown = [b for b in blocks("yaml") if b.text.lstrip("# ").find("pools:") >= 0]
    assert shown
    for block in shown:
        assert read_pools(yaml.safe_load(block.text)["pools"])


def test_applications_that_are_shown_can_be_placed() -> None:
    shown = [d for b in blocks("yaml") for d in yaml.safe_load_all(b.text) if d.get("kind") == "SparkApplication"]
    assert shown
    for manifest in shown:
        Kubeflow().check(manifest)


def test_every_signal_of_the_lab_is_listed() -> None:
    assert set(SIGNALS) - first_column(page("lab.md")) == set()


def test_the_changelog_has_the_place_where_releases_go() -> None:
    assert "<!-- releases, newest first -->\n" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_every_guarantee_names_tests_that_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", page("guarantees.md")))
    sources = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(named - {name for source in sources for name in re.findall(r"def (test_\w+)", source)}) == []
    _, _, section = page("guarantees.md").partition("## When something fails")
    rows = [row for row in section.partition("\n## ")[0].splitlines() if row.startswith("| ")]
    assert [row for row in rows[1:] if "`test_" not in row] == []
