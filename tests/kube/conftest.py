import os
import uuid
from collections.abc import AsyncGenerator

import pytest

from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.resources import NAMESPACES
from tests.kube.memory import MemoryServer
from tests.kube.wire import WireServer, serving


@pytest.fixture
async def wire() -> AsyncGenerator[WireServer, None]:
    async with serving() as server:
        yield server


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> ClusterConfig:
    """The lab, or the cluster of ``$SPOTMIX_TEST_KUBECONFIG``: its user must be an administrator."""
    path = os.environ.get("SPOTMIX_TEST_KUBECONFIG") or request.getfixturevalue("lab").kubeconfig
    return ClusterConfig(config_file=str(path))


@pytest.fixture
async def admin(cluster: ClusterConfig) -> AsyncGenerator[Kube, None]:
    kube = await cluster.connect()
    yield kube
    await kube.close()


@pytest.fixture
async def namespace(admin: Kube) -> AsyncGenerator[str, None]:
    name = f"test-{uuid.uuid4().hex[:10]}"
    await admin.create(NAMESPACES, {"metadata": {"name": name}})
    yield name
    await admin.delete(NAMESPACES, name)


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.cluster)])
def place(request: pytest.FixtureRequest) -> tuple[Kube, str]:
    """A client and a namespace of its own: in memory, and on the real API server."""
    if request.param == "memory":
        return MemoryServer().client(), "spark"
    return request.getfixturevalue("admin"), request.getfixturevalue("namespace")
