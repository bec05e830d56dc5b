from collections.abc import AsyncIterator

import pytest

from airflow_provider_spotmix.lab.lab import Lab
from tests.fleet.scene import Scene, staged


@pytest.fixture
async def scene(lab: Lab) -> AsyncIterator[Scene]:
    async with staged(lab) as found:
        yield found
