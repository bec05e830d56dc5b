"""What an executor requests, read as Spark reads it."""

from __future__ import annotations

import pytest

from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.manifests.executor_request import ExecutorRequest, executor_request

GIB = 1024


@pytest.mark.parametrize(
    ("properties", "language", "cores", "mib"),
    [
        pytest.param({}, "jvm", 1, 1024 + 384, id="sparks-own-defaults"),
        pytest.param({"spark.executor.memory": "8g"}, "jvm", 1, 8 * GIB + 819, id="a-tenth-more"),
        pytest.param({"spark.executor.memory": "8g"}, "python", 1, 8 * GIB + 3276, id="python-needs-more"),
        pytest.param({"spark.executor.memory": "8g"}, "r", 1, 8 * GIB + 3276, id="so-does-r"),
        pytest.param({"spark.executor.memory": "2048"}, "jvm", 1, 2048 + 384, id="mib-without-a-unit"),
        pytest.param({"spark.executor.memory": " 4GB "}, "jvm", 1, 4 * GIB + 409, id="unit-in-capitals"),
        pytest.param(
            {"spark.executor.memory": "4g", "spark.executor.memoryOverhead": "1g"}, "python", 1, 5 * GIB, id="overhead"
        ),
        pytest.param(
            {"spark.executor.memory": "10g", "spark.kubernetes.memoryOverheadFactor": "0.2"},
            "python",
            1,
            12 * GIB,
            id="factor",
        ),
        pytest.param(
            {
                "spark.executor.memory": "10g",
                "spark.kubernetes.memoryOverheadFactor": "0.2",
                "spark.executor.memoryOverheadFactor": "0.5",
            },
            "jvm",
            1,
            15 * GIB,
            id="the-executors-own-factor-wins",
        ),
        pytest.param({"spark.executor.minMemoryOverhead": "1g"}, "jvm", 1, 2 * GIB, id="least-overhead"),
        pytest.param(
            {"spark.executor.pyspark.memory": "1g", "spark.executor.memoryOverhead": "0"},
            "python",
            1,
            2 * GIB,
            id="pyspark",
        ),
        pytest.param(
            {"spark.executor.pyspark.memory": "1g", "spark.executor.memoryOverhead": "0"},
            "jvm",
            1,
            GIB,
            id="pyspark-without-python",
        ),
        pytest.param(
            {
                "spark.memory.offHeap.enabled": "true",
                "spark.memory.offHeap.size": str(2**30),
                "spark.executor.memoryOverhead": "0",
            },
            "jvm",
            1,
            2 * GIB,
            id="off-heap-in-bytes",
        ),
        pytest.param(
            {"spark.memory.offHeap.size": "1g", "spark.executor.memoryOverhead": "0"}, "jvm", 1, GIB, id="off-heap-off"
        ),
        pytest.param({"spark.executor.cores": "4"}, "jvm", 4, 1408, id="cores"),
        pytest.param(
            {"spark.executor.cores": "4", "spark.kubernetes.executor.request.cores": "3500m"},
            "jvm",
            3.5,
            1408,
            id="what-is-requested-of-kubernetes-wins",
        ),
        pytest.param({"spark.kubernetes.executor.request.cores": "0.5"}, "jvm", 0.5, 1408, id="half-a-core"),
    ],
)
def test_it_is_what_spark_computes(properties: dict[str, str], language: str, cores: float, mib: int) -> None:
    assert executor_request(properties, language=language) == ExecutorRequest(cores=cores, memory_gib=mib / GIB)


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        pytest.param({"spark.executor.memory": "4Gi"}, r"spec.executor.memory is '4Gi'; write it as Spark", id="gi"),
        pytest.param({"spark.executor.memory": "1.5g"}, "memory is '1.5g'; write", id="spark-takes-no-fractions"),
        pytest.param({"spark.executor.memory": ""}, "memory is ''; write", id="empty"),
        pytest.param({"spark.executor.cores": "two"}, "^spark.executor.cores is 'two'; write \"2\"", id="no-number"),
        pytest.param({"spark.kubernetes.executor.request.cores": "-1"}, "cores is '-1'; write", id="negative"),
    ],
)
def test_what_spark_could_not_read_is_refused(properties: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        executor_request(properties, language="jvm", fields={"spark.executor.memory": "spec.executor.memory"})
