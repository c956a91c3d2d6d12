"""Pictures and exact inverse depth of scenes of textured meshes, by OpenGL without a window.

Axes: x right, y up, the camera looks along -z; metres. On a machine without a GPU it is Mesa that
draws (Debian: libegl1), about 30 ms a view of 768x448.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from data.files import DataError
from scenes.meshes import FLOATS, Mesh, face_normals
from scenes.textures import SIDE, Textures

NEAR, FAR = 0.05, 2000.0
SHADOWS = 32
"""Objects that darken the ground below them."""

_VERTEX = """
#version 330
uniform mat4 model, camera;
uniform mat3 turn;
in vec3 position; in vec3 normal; in vec2 uv; in float layer; in vec3 colour;
out vec3 place; out vec3 facing; out vec2 at; out vec3 own; flat out float own_layer;
void main() {
    vec4 world = model * vec4(position, 1.0);
    place = world.xyz; facing = turn * normal; at = uv; own = colour; own_layer = layer;
    gl_Position = camera * world;
}
"""
_FRAGMENT = """
#version 330
uniform sampler2DArray textures;
uniform float layer, lit, nearness, sun_power, ambient, lamp_power, fog;
uniform vec2 repeat, offset;
uniform vec3 tint, sun, lamp, eye, fog_colour;
uniform vec3 shadows[SHADOWS];
uniform int shadow_count;
in vec3 place; in vec3 facing; in vec2 at; in vec3 own; flat in float own_layer;
layout(location = 0) out vec4 picture; layout(location = 1) out float inverse_depth;
void main() {
    float chosen = layer >= -1.0 ? layer : own_layer;
    vec4 texel = chosen < 0.0 ? vec4(1.0)
        : texture(textures, vec3(at * repeat + offset, chosen));
    if (texel.a < 0.5) discard;
    vec3 seen = texel.rgb * tint * (layer >= -1.0 ? vec3(1.0) : own);
    vec3 n = normalize(facing), view = eye - place;
    if (dot(n, view) < 0.0) n = -n;
    vec3 to_lamp = lamp - place;
    float light = ambient * (0.75 + 0.25 * n.y) + sun_power * max(dot(n, sun), 0.0)
        + lamp_power * max(dot(n, normalize(to_lamp)), 0.0) / (1.0 + 0.15 * dot(to_lamp, to_lamp));
    float shade = 1.0;
    if (place.y < 0.06 && n.y > 0.5)
        for (int i = 0; i < shadow_count; i++) {
            vec2 d = (place.xz - shadows[i].xy) / shadows[i].z;
            shade *= 1.0 - 0.55 * exp(-dot(d, d));
        }
    seen *= mix(1.0, light * shade, lit);
    float clear = exp(-fog * length(view) * (nearness > 0.0 ? 1.0 : 0.3));
    picture = vec4(mix(fog_colour, seen, clear), 1.0);
    inverse_depth = gl_FragCoord.w * nearness;  // w is the distance along the axis
}
""".replace("SHADOWS", str(SHADOWS), 1)


@dataclass(frozen=True)
class Item:
    """A mesh in its place."""

    mesh: str
    matrix: np.ndarray
    """`[4, 4]`, from the mesh's metres to the world's."""
    layer: float = -1.0
    """Texture; -1 = plain, -2 = the mesh's own."""
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    repeat: tuple[float, float] = (1.0, 1.0)
    """Of the texture."""
    offset: tuple[float, float] = (0.0, 0.0)
    lit: float = 1.0
    """0 = shines by itself."""
    nearness: float = 1.0
    """Factor on its inverse depth: 0 = infinitely far."""


@dataclass(frozen=True)
class Camera:
    """A place `[3]`, angles in radians; `fov` is that of the width."""

    position: tuple[float, float, float] = (0.0, 1.6, 0.0)
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    fov: float = math.radians(55)


@dataclass
class Scene:
    """Items, light and air."""

    camera: Camera
    items: list[Item] = field(default_factory=list)
    sun: tuple[float, float, float] = (0.4, 0.8, 0.4)
    sun_power: float = 0.5
    ambient: float = 0.5
    lamp: tuple[float, float, float] = (0.0, 2.3, 0.0)
    lamp_power: float = 0.0
    fog: float = 0.0
    """Per metre."""
    fog_colour: tuple[float, float, float] = (0.8, 0.8, 0.8)
    shadows: list[tuple[float, float, float]] = field(default_factory=list)
    """x, z and radius."""
    aperture: float = 0.0
    """Blur of what is out of focus: pixels (of 384) for a difference in inverse depth of 1/m."""


class SceneRenderer:
    """Draws scenes of these meshes, the primitives and the textures at `size` (width, height).

    Raises:
        DataError: OpenGL is not there.
    """

    def __init__(self, meshes: list[Mesh], textures: Textures, size: tuple[int, int]):
        try:
            import moderngl

            wanted: dict[str, Any] = {"backend": "egl"}
            context = moderngl.create_standalone_context(require=330, **wanted)
        except Exception as error:  # glcontext raises nothing more special
            raise DataError(
                f"rendering: expected moderngl and EGL (Debian: libegl1), got {error}"
            ) from error
        self.context, self.size = context, size
        context.enable(moderngl.DEPTH_TEST)
        self.program: Any = context.program(vertex_shader=_VERTEX, fragment_shader=_FRAGMENT)
        self.ranges: dict[str, tuple[int, int]] = {}
        parts, first = [], 0
        for name, vertices in [*((m.name, m.vertices) for m in meshes), *primitives().items()]:
            self.ranges[name] = (first, len(vertices))
            first += len(vertices)
            parts.append(vertices)
        buffer = context.buffer(np.concatenate(parts).astype("f4").tobytes())
        inputs = ("position", "normal", "uv", "layer", "colour")
        self.vertices = context.vertex_array(self.program, [(buffer, "3f 3f 2f 1f 3f", *inputs)])
        layers = textures.layers or [np.full((SIDE, SIDE, 4), 255, np.uint8)]
        self.textures = context.texture_array(
            (SIDE, SIDE, len(layers)), 4, np.stack(layers).tobytes()
        )
        self.textures.build_mipmaps()
        self.textures.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
        self.picture = context.texture(size, 4)
        self.inverse_depth = context.texture(size, 1, dtype="f4")
        self.target = context.framebuffer(
            [self.picture, self.inverse_depth], context.depth_renderbuffer(size)
        )

    def render(self, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        """Return the picture `[H, W, 3]` uint8 RGB and the inverse depth `[H, W]` in 1/m."""
        self.target.use()
        self.target.clear(*scene.fog_colour, 0.0)
        # The clear colour goes to both: nothing drawn is infinitely far.
        self.inverse_depth.write(bytes(4 * self.size[0] * self.size[1]))
        self._set(scene)
        self.textures.use(0)
        for item in scene.items:
            first, count = self.ranges[item.mesh]
            program = self.program
            program["model"].write(item.matrix.T.astype("f4").tobytes())
            turn = np.linalg.inv(item.matrix[:3, :3]).T
            program["turn"].write(turn.T.astype("f4").tobytes())
            for name in ("layer", "tint", "repeat", "offset", "lit", "nearness"):
                program[name].value = getattr(item, name)
            self.vertices.render(first=first, vertices=count)
        w, h = self.size
        picture = np.frombuffer(self.picture.read(), np.uint8).reshape(h, w, 4)[::-1, :, :3]
        inverse = np.frombuffer(self.inverse_depth.read(), np.float32).reshape(h, w)[::-1]
        return picture, inverse

    def _set(self, scene: Scene) -> None:
        program = self.program
        matrix = projection(scene.camera.fov, self.size) @ view(scene.camera)
        program["camera"].write(matrix.T.astype("f4").tobytes())
        sun = np.array(scene.sun)
        program["sun"].value = tuple(sun / np.linalg.norm(sun))
        program["eye"].value = scene.camera.position
        for name in ("sun_power", "ambient", "lamp", "lamp_power", "fog", "fog_colour"):
            program[name].value = getattr(scene, name)
        shadows = np.zeros((SHADOWS, 3), np.float32)
        kept = scene.shadows[:SHADOWS]
        if kept:
            shadows[: len(kept)] = kept
        program["shadows"].write(shadows.tobytes())
        program["shadow_count"].value = len(kept)


def projection(fov: float, size: tuple[int, int]) -> np.ndarray:
    """Return OpenGL's perspective `[4, 4]`; clip w is the distance along the axis."""
    f = 1 / math.tan(fov / 2)
    matrix = np.zeros((4, 4))
    matrix[0, 0], matrix[1, 1] = f, f * size[0] / size[1]
    matrix[2, 2], matrix[2, 3] = (FAR + NEAR) / (NEAR - FAR), 2 * FAR * NEAR / (NEAR - FAR)
    matrix[3, 2] = -1
    return matrix


def view(camera: Camera) -> np.ndarray:
    """Return the matrix `[4, 4]` from the world to the camera."""
    turned = rotation(2, -camera.roll) @ rotation(0, -camera.pitch) @ rotation(1, -camera.yaw)
    return turned @ moved(*(-x for x in camera.position))


def rotation(axis: int, angle: float) -> np.ndarray:
    """Return a rotation `[4, 4]` about x, y or z (0, 1, 2)."""
    matrix = np.eye(4)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix[i, i] = matrix[j, j] = math.cos(angle)
    matrix[i, j], matrix[j, i] = -math.sin(angle), math.sin(angle)
    return matrix


def moved(x: float, y: float, z: float) -> np.ndarray:
    """Return a translation `[4, 4]`."""
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


def scaled(x: float, y: float, z: float) -> np.ndarray:
    """Return a scaling `[4, 4]`."""
    return np.diag([x, y, z, 1.0])


def primitives() -> dict[str, np.ndarray]:
    """Return a unit box, ball, cylinder, upright quad and grounds, `[3 n, FLOATS]` each.

    Box, cylinder and quad stand on y = 0; the ball's centre is the origin; grounds span
    [-0.5, 0.5] in x and z, "ground0" flat, the others with hills around a flat middle.
    """
    shapes = {"box": _box(), "ball": _turned(_arc(10), 14), "quad": _patch(_upright, 1)}
    shapes["cylinder"] = _turned([(0, 0), (0.5, 0), (0.5, 1), (0, 1)], 12)
    ball = shapes["ball"]
    ball[:, 3:6] = ball[:, :3] / np.linalg.norm(ball[:, :3], axis=1, keepdims=True)
    for number in range(8):
        shapes[f"ground{number}"] = _patch(_hills(number), 48 if number else 8)
    return shapes


def _vertices(xyz: np.ndarray, uv: np.ndarray) -> np.ndarray:
    vertices = np.zeros((len(xyz), FLOATS), np.float32)
    vertices[:, :3], vertices[:, 3:6], vertices[:, 6:8] = xyz, face_normals(xyz), uv
    vertices[:, 8], vertices[:, 9:] = -1, 1
    return vertices


def _patch(shape: Callable[[np.ndarray], np.ndarray], cells: int) -> np.ndarray:
    """Return a grid of triangles; `shape` maps uv `[..., 2]` to points `[..., 3]`."""
    steps = np.linspace(0, 1, cells + 1)
    uv = np.stack(np.meshgrid(steps, steps, indexing="xy"), axis=-1)
    a, b, c, d = uv[:-1, :-1], uv[:-1, 1:], uv[1:, 1:], uv[1:, :-1]
    corners = np.stack([a, b, c, a, c, d], axis=2).reshape(-1, 2)
    return _vertices(shape(corners).astype(np.float32), corners * [1, -1])


def _upright(uv: np.ndarray) -> np.ndarray:
    return np.stack([uv[:, 0] - 0.5, uv[:, 1], np.zeros(len(uv))], axis=1)


def _hills(number: int) -> Callable[[np.ndarray], np.ndarray]:
    rng = np.random.default_rng([number, 5])
    waves = [(rng.normal(0, 2 + 3 * k, 2), rng.random() * 6.3, 0.5**k) for k in range(4)]

    def shape(uv: np.ndarray) -> np.ndarray:
        x, z = uv[:, 0] - 0.5, uv[:, 1] - 0.5
        y = sum(a * np.sin(f[0] * x * 6 + f[1] * z * 6 + p) for f, p, a in waves) if number else 0
        flat = np.clip((np.hypot(x, z) - 0.05) * 6, 0, 1) ** 2  # around the camera
        return np.stack([x, np.maximum(y, 0) * flat + np.zeros_like(x), z], axis=1)

    return shape


def _box() -> np.ndarray:
    front = _patch(_upright, 1)
    faces = [moved(0, 0, 0.5) @ np.eye(4), moved(0, 0, 0) @ rotation(1, math.pi) @ moved(0, 0, 0.5)]
    faces += [rotation(1, side * math.pi / 2) @ moved(0, 0, 0.5) for side in (1, -1)]
    faces += [moved(0, y, 0.5) @ rotation(0, -math.pi / 2) for y in (0, 1)]
    points = np.concatenate([front[:, :3] @ m[:3, :3].T + m[:3, 3] for m in faces])
    return _vertices(points.astype(np.float32), np.tile(front[:, 6:8], (len(faces), 1)))


def _arc(steps: int) -> list[tuple[float, float]]:
    angles = np.linspace(-math.pi / 2, math.pi / 2, steps + 1)
    return [(0.5 * math.cos(a), 0.5 * math.sin(a)) for a in angles]


def _turned(outline: list[tuple[float, float]], sides: int) -> np.ndarray:
    """Turn an outline of (radius, height) around the y axis."""
    line = np.array(outline)
    u, v = np.arange(sides + 1) / sides, np.linspace(0, 1, len(line))
    angle = 2 * math.pi * u[:, None]
    grid = np.stack(
        [
            line[:, 0] * np.cos(angle),
            np.broadcast_to(line[:, 1], (sides + 1, len(line))),
            line[:, 0] * np.sin(angle),
            np.broadcast_to(u[:, None], (sides + 1, len(line))),
            np.broadcast_to(-v, (sides + 1, len(line))),
        ],
        axis=-1,
    )
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    corners = np.stack([a, b, c, a, c, d], axis=2).reshape(-1, 5)
    return _vertices(corners[:, :3].astype(np.float32), corners[:, 3:])
