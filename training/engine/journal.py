"""What a run leaves for people: its settings, losses as a table and a curve, sample pictures."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from engine.pictures import write_png
from engine.settings import SettingsError, settings_text

FREE_TO_CHANGE = ("steps", "log_every", "sample_every", "checkpoint_every", "keep", "workers")
"""Keys that may differ when a run goes on."""


class Journal:
    """Writes into a run's folder; a run that goes on from a step forgets what came after it.

    Raises:
        SettingsError: the folder holds a run with other settings.
    """

    def __init__(self, folder: Path, settings: Any):
        self.folder = folder
        text = settings_text(settings)
        path = folder / "config.yaml"
        if path.exists():
            _check_same(path, text)
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def rewind(self, step: int) -> None:
        """Drop rows after `step`."""
        for path in self.folder.glob("*.csv"):
            with open(path, newline="", encoding="utf-8") as file:
                header, *rows = list(csv.reader(file)) or [[]]
            with open(path, "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([header, *(r for r in rows if int(r[0]) <= step)])

    def row(self, step: int, values: Mapping[str, float], table: str = "losses") -> None:
        """Append a row to a table."""
        path = self.folder / f"{table}.csv"
        is_new = not path.exists()
        with open(path, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(["step", *values])
            writer.writerow([step, *(f"{value:.6g}" for value in values.values())])

    def sample(self, step: int, picture: Tensor) -> None:
        """Keep a picture `[3, H, W]`."""
        write_png(self.folder / "samples" / f"step-{step:08d}.png", picture)

    def plot(self) -> None:
        """Draw the tables' columns over the steps."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        columns = [c for name in ("losses", "held_out") for c in self._columns(name)]
        columns = [c for c in columns if c[0] not in ("lr", "seconds")]
        if not columns:
            return
        figure = Figure(figsize=(5 * min(3, len(columns)), 3 * ((len(columns) + 2) // 3)))
        FigureCanvasAgg(figure)
        axes = figure.subplots((len(columns) + 2) // 3, min(3, len(columns)), squeeze=False)
        for axis in axes.flat[len(columns) :]:
            axis.remove()
        for axis, (name, steps, values) in zip(axes.flat, columns, strict=False):
            axis.plot(steps, values, lw=0.6, alpha=0.4)
            window = max(1, len(values) // 20)
            smooth = [
                sum(values[max(0, i - window) : i + 1]) / (i + 1 - max(0, i - window))
                for i in range(len(values))
            ]
            axis.plot(steps, smooth)
            axis.set_title(name)
            axis.grid(alpha=0.3)
        figure.tight_layout()
        figure.savefig(self.folder / "losses.png", dpi=90)

    def _columns(self, table: str) -> list[tuple[str, list[int], list[float]]]:
        path = self.folder / f"{table}.csv"
        if not path.exists():
            return []
        with open(path, newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        steps = [int(row[0]) for row in rows]
        return [
            (name, steps, [float(row[i]) for row in rows])
            for i, name in enumerate(header[1:], 1)
            if rows
        ]


def _check_same(path: Path, text: str) -> None:
    """Require that a run goes on with the settings that its folder holds.

    Raises:
        SettingsError: a setting differs that is not free to change.
    """
    there, here = (_flat(yaml.safe_load(x)) for x in (path.read_text(encoding="utf-8"), text))
    different = [
        f"{key} is {there.get(key)!r} there and {here.get(key)!r} here"
        for key in {**there, **here}
        if there.get(key) != here.get(key) and key.rpartition(".")[2] not in FREE_TO_CHANGE
    ]
    if different:
        raise SettingsError(
            f"{path}: expected the settings of the run in this folder; {'; '.join(different[:3])}; "
            "other ones need another folder (--out)"
        )


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """Return dotted key -> value of nested mappings and lists of mappings."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        value = {str(i): item for i, item in enumerate(value)}
    if not isinstance(value, dict):
        return {key: value}
    parts = (_flat(item, f"{key}.{name}" if key else name) for name, item in value.items())
    return {name: item for part in parts for name, item in part.items()}
