import pytest

from .server import ComfyServer
from .server import comfy as comfy


@pytest.fixture(scope="session")
def object_info(comfy: ComfyServer) -> dict:
    return comfy.object_info()
