from collections.abc import AsyncGenerator

import pytest

from tests.kube.wire import WireServer, serving


@pytest.fixture
async def wire() -> AsyncGenerator[WireServer, None]:
    async with serving() as server:
        yield server
