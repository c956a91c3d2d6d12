import importlib
import os
import sys

import pytest


@pytest.fixture(scope="session")
def comfy_path():
    """ComfyUI's tree, importable: its modules know no other way."""
    path = os.environ.get("COMFYUI_PATH")
    if not path:
        pytest.skip("COMFYUI_PATH is not set")
    sys.path.insert(0, path)
    arguments, sys.argv = sys.argv, ["main.py", "--cpu"]
    import comfy.options

    comfy.options.enable_args_parsing()
    importlib.import_module("comfy.cli_args")  # reads sys.argv once

    sys.argv = arguments
    yield path
    sys.path.remove(path)
