#!/bin/sh
# Run the tests that touch Airflow against another version of it, in an environment of its own below build/. Usage:
# tools/test_airflow.sh VERSION [ARGUMENT OF PYTEST]...   VERSION such as 3.1 (its newest) or 3.1.8
# Called by `make test-airflow`, which has made build/tools/uv. Whatever the resolver finds newest is installed beside
# Airflow, as `pip install` would do it for a person.
set -eu
cd "$(dirname "$0")/.."

version=${1:?which version of Airflow, such as 3.1}
shift
case $version in *.*.*) wanted="==$version" ;; *) wanted="==$version.*" ;; esac
uv=build/tools/uv
home=build/airflow-$version
python=$home/bin/python

[ -x "$python" ] || "$uv" venv --quiet --python .venv/bin/python "$home"
"$uv" pip install --quiet --python "$python" --upgrade --editable . "apache-airflow$wanted" \
    hypothesis looptime psutil pytest pytest-asyncio pytest-timeout
"$uv" pip list --quiet --python "$python" | grep -E '^apache-airflow(-providers-cncf-kubernetes)? '
AIRFLOW__CORE__LOAD_EXAMPLES=False exec "$python" -m pytest -m "not cluster and not spark and not airflow" \
    --ignore-glob='*_cluster.py' tests/hooks tests/operators tests/plugins tests/triggers tests/example_dags "$@"
