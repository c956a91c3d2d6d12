"""What a recipe needs before it can start: its config, and the files that this one names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from engine.settings import SettingsError, load_settings

CONFIGS = Path(__file__).parents[1] / "configs"
FILES = {
    "base": "a transformer's file",
    "context": "a text encoder's output, by training/encode_prompt.py",
    "lora": "a LoRA by training/train_lora.py",
    "pairs": "a folder by training/build_pairs.py",
    "start": "what to go on from",
    "teacher": "an autoencoder's file",
    "transformer": "a transformer's file",
    "trunk": "weights by training/fetch_media.py",
    "vae": "an autoencoder's file",
    "views": "a folder by training/render_scenes.py or weak_views.py",
}
"""Settings that name files or folders, and what those are."""


def named_files(settings: Any, place: str = "") -> Iterator[tuple[str, Path]]:
    """Yield the files and folders that settings name, each with its place in them."""
    for field in fields(settings):
        value, name = getattr(settings, field.name), f"{place}{field.name}"
        for item in value if isinstance(value, list | tuple) else [value]:
            if is_dataclass(item):
                yield from named_files(item, f"{name}.")
            elif isinstance(item, str) and field.name in FILES and _is_path(field.name, item):
                yield name, Path(item)


def missing_files(settings: Any) -> list[str]:
    """Return a line for each file or folder that settings name and that is not there."""
    missing = {path: name for name, path in named_files(settings) if not path.exists()}
    return [f"{name}: {path}, {FILES[name.rpartition('.')[2]]}" for path, name in missing.items()]


def describe_needs(cls: type) -> str:
    """Return in one list what a recipe needs: a config, and what each that ships names."""
    lines = ["expected a config; those of this recipe, and what they need that is not there:"]
    for path in sorted(CONFIGS.glob("*.yaml")):
        try:
            missing = missing_files(load_settings(cls, path))
        except SettingsError:
            continue  # of another recipe
        lines.append(f"  training/configs/{path.name}")
        lines += [f"    {line}" for line in missing]
    return "\n".join(lines)


def _is_path(name: str, text: str) -> bool:
    # Elsewhere a word may be the name of a model.
    return name in ("pairs", "views") or "/" in text or "\\" in text
