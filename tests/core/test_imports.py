"""Which part may import which: the table, and the proof that the code keeps to it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "dreamstereo_core"
ORDER = (
    # What everything stands on.
    *(
        "types",
        "checks",
        "errors",
        "options",
        "version",
        "devices",
        "interrupts",
        "filters",
        "easing",
        "masks",
        "stream",
    ),
    # Geometry: pure functions.
    *("disparity", "gapw_triton", "gapw", "pbdp", "blend", "equirectangular", "packing"),
    *("floating_window", "comfort"),
    *("optical_flow", "prefetch", "shots", "video_io", "models", "sampling"),
    *(
        "depth",
        "fill",
        "convergence",
        "subtitles",
        "convert_options",
        "pipeline",
        "photographs",
        "pieces",
        "targets",
        "film",
        "plan",
        "workers",
        "cluster",
        "planned",
        "convert",
        "report",
        "preview",
        "cli",
    ),
)
"""A room of the core imports only rooms that stand before it."""
NEVER = {("fill", "depth"), ("sampling", "video_io"), ("models", "video_io"), ("fill", "video_io")}
"""(room, what it does not import although that stands before it)."""
OUTSIDE = {
    "dreamstereo_core": {"comfy", "comfy_api", "comfy_extras", "folder_paths", "nodes", "training"},
    "nodes": {"training"},
    "training": {"comfy", "comfy_api", "comfy_extras", "folder_paths", "nodes"},
}
"""What the packages do not import."""


def imports(path):
    """Yield every module that a file imports, from the root on, with dots."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            module = (*base, *(node.module or "").split("."))
            for alias in node.names:
                yield ".".join((*filter(None, module), alias.name))


def room(module):
    """Return the core's room of a module's name, or None."""
    parts = module.split(".")
    return parts[1] if parts[0] == "dreamstereo_core" and len(parts) > 1 else None


ROOMS = sorted({p.relative_to(CORE).parts[0].removesuffix(".py") for p in CORE.rglob("*.py")})


def test_every_room_stands_in_the_table():
    assert set(ROOMS) - {"__init__"} <= set(ORDER)


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_imports_only_what_stands_before_it(path):
    own = path.relative_to(CORE).parts[0].removesuffix(".py")
    if own == "__init__":
        return
    for module in imports(path):
        other = room(module)
        if other in ORDER and other != own:
            assert ORDER.index(other) < ORDER.index(own), f"{own} imports {module}"
            assert (own, other) not in NEVER, f"{own} imports {module}"


@pytest.mark.parametrize("package", OUTSIDE)
def test_the_packages_keep_apart(package):
    for path in (ROOT / package).rglob("*.py"):
        found = {module.split(".")[0] for module in imports(path)} & OUTSIDE[package]
        assert not found, f"{path.relative_to(ROOT)} imports {found}"


def test_nobody_imports_the_command():
    for package in ("dreamstereo_core", "nodes", "training"):
        for path in (ROOT / package).rglob("*.py"):
            if "cli" not in path.relative_to(ROOT).parts:
                assert not [m for m in imports(path) if room(m) == "cli"], path
