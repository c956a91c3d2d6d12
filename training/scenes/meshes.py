"""Furniture of Sweet Home 3D's libraries (.sh3f) as textured triangles, in metres."""

from __future__ import annotations

import posixpath
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data.files import DataError

LARGEST = 1_200_000
"""Bytes of an OBJ text; finer meshes cost more time than their looks are worth."""
FLOATS = 12
"""Of a vertex: position, normal, texture coordinate, texture (-1 = none), colour."""


@dataclass(frozen=True)
class Mesh:
    """Triangles `[3 n, FLOATS]` that stand on y = 0, centred in x and z."""

    name: str
    vertices: np.ndarray
    size: tuple[float, float, float]
    """Width (x), height (y), depth (z) in metres."""


@dataclass
class MeshFiles:
    """Reads meshes; `textures` fills with the pictures `[h, w, 3]` RGB that they use."""

    textures: list[np.ndarray]

    def read(self, library: Path) -> list[Mesh]:
        """Return a library's meshes that are not too fine.

        Raises:
            DataError: it is no such library.
        """
        try:
            with zipfile.ZipFile(library) as archive:
                names = {info.filename: info.file_size for info in archive.infolist()}
                catalog = _catalog(archive)
                found = [
                    self._mesh(archive, names, entry)
                    for entry in catalog.values()
                    if names.get(entry.get("model", "").lstrip("/"), LARGEST) < LARGEST
                ]
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise DataError(f"{library}: expected a furniture library, .sh3f ({error})") from error
        return [mesh for mesh in found if mesh is not None]

    def _mesh(
        self, archive: zipfile.ZipFile, names: dict[str, int], entry: dict[str, str]
    ) -> Mesh | None:
        path = entry["model"].lstrip("/")
        if not path.endswith(".obj"):
            return None
        text = archive.read(path).decode("latin1")
        folder = posixpath.dirname(path)
        materials: dict[str, tuple[int, tuple[float, ...]]] = {}
        for name in re.findall(r"^mtllib (.+?)\s*$", text, re.MULTILINE):
            place = posixpath.join(folder, name)
            if place in names:
                materials |= self._materials(archive, names, place)
        vertices = read_obj(text, materials)
        w, h, d = (float(entry[key]) / 100 for key in ("width", "height", "depth"))
        size = (w, h, d)
        if not len(vertices) or min(size) <= 0:
            return None
        return Mesh(posixpath.basename(path), stand(vertices, size), size)

    def _materials(
        self, archive: zipfile.ZipFile, names: dict[str, int], place: str
    ) -> dict[str, tuple[int, tuple[float, ...]]]:
        materials, current = {}, ""
        for line in archive.read(place).decode("latin1").splitlines():
            key, _, value = line.strip().partition(" ")
            if key == "newmtl":
                current = value.strip()
                materials[current] = (-1, (0.7, 0.7, 0.7))
            elif key == "Kd" and current:
                layer, _ = materials[current]
                materials[current] = (layer, tuple(float(x) for x in value.split()[:3]))
            elif key == "map_Kd" and current:
                picture = posixpath.join(posixpath.dirname(place), value.split("\\")[-1].strip())
                image = None
                if picture in names:
                    data = np.frombuffer(archive.read(picture), np.uint8)
                    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
                if image is not None:
                    self.textures.append(np.ascontiguousarray(image[..., ::-1]))
                    materials[current] = (len(self.textures) - 1, (1.0, 1.0, 1.0))
        return materials


def read_obj(text: str, materials: dict[str, tuple[int, tuple[float, ...]]]) -> np.ndarray:
    """Return the triangles `[3 n, FLOATS]` of an OBJ text; normals are those of the faces."""
    points: list[list[float]] = []
    uvs: list[list[float]] = []
    corners: list[tuple[int, int]] = []
    styles: list[tuple[float, ...]] = []
    style = (-1.0, 0.7, 0.7, 0.7)
    for line in text.splitlines():
        if line.startswith("v "):
            points.append([float(x) for x in line.split()[1:4]])
        elif line.startswith("vt "):
            uvs.append([float(x) for x in line.split()[1:3]])
        elif line.startswith("usemtl"):
            layer, colour = materials.get(line[6:].strip(), (-1, (0.7, 0.7, 0.7)))
            style = (float(layer), *colour)
        elif line.startswith("f "):
            face = [_corner(part, len(points), len(uvs)) for part in line.split()[1:]]
            for i in range(1, len(face) - 1):
                corners += [face[0], face[i], face[i + 1]]
                styles.append(style)
    if not corners:
        return np.zeros((0, FLOATS), np.float32)
    index = np.array(corners)
    xyz = np.array(points, np.float32)[index[:, 0]]
    uv = np.array([*uvs, [0.0, 0.0]], np.float32)[index[:, 1]]
    style_array = np.repeat(np.array(styles, np.float32), 3, axis=0)
    return np.concatenate([xyz, face_normals(xyz), uv, style_array], axis=1)


def face_normals(xyz: np.ndarray) -> np.ndarray:
    """Return each corner's unit normal `[3 n, 3]` of triangles `[3 n, 3]`."""
    a, b, c = xyz.reshape(-1, 3, 3).transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    return np.repeat(normal, 3, axis=0).astype(np.float32)


def stand(vertices: np.ndarray, size: tuple[float, ...]) -> np.ndarray:
    """Scale to `size` in metres and put onto y = 0, centred."""
    xyz = vertices[:, :3]
    low, high = xyz.min(0), xyz.max(0)
    xyz = (xyz - (low + high) / 2) / np.maximum(high - low, 1e-6) * np.array(size, np.float32)
    xyz[:, 1] += size[1] / 2
    return np.concatenate([xyz, face_normals(xyz), vertices[:, 6:]], axis=1).astype(np.float32)


def _corner(text: str, points: int, uvs: int) -> tuple[int, int]:
    """Return zero-based indices of a corner's point and texture coordinate (-1 = none)."""
    parts = text.split("/")
    point = int(parts[0])
    uv = int(parts[1]) if len(parts) > 1 and parts[1] else 0
    return (point - 1 if point > 0 else points + point, uv - 1 if uv >= 0 else uvs + uv)


def _catalog(archive: zipfile.ZipFile) -> dict[str, dict[str, str]]:
    text = archive.read("PluginFurnitureCatalog.properties").decode("latin1")
    entries: dict[str, dict[str, str]] = {}
    for key, number, value in re.findall(r"^(\w+)#(\d+)=(.*?)\s*$", text, re.MULTILINE):
        entries.setdefault(number, {})[key] = value
    return {
        number: entry
        for number, entry in entries.items()
        if entry.keys() >= {"model", "width", "height", "depth"}
    }
