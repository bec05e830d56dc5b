from __future__ import annotations

import pytest

from airflow_provider_spotmix.lab.quantities import quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [("8", 8), ("500m", 0.5), ("0.5", 0.5), ("8Gi", 8 * 2**30), ("896Mi", 896 * 2**20), ("1k", 1000), ("1e3", 1000)],
)
def test_what_the_api_server_writes_is_read(text: str, number: float) -> None:
    assert quantity(text) == pytest.approx(number)


def test_what_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="'8GB' is no quantity"):
        quantity("8GB")
