"""Random rooms, landscapes, views from above and close-ups."""

from __future__ import annotations

import math

import numpy as np

from scenes.props import Builder, Props
from scenes.renderer import Camera, Scene, moved, rotation, scaled


def random_scene(props: Props, rng: np.random.Generator, kind: str | None = None) -> Scene:
    """Draw a scene of one of `KINDS`; None = a room, a landscape or a view from above."""
    share = rng.random()
    if kind is None:
        kind = "room" if share < 0.42 else "landscape" if share < 0.92 else "above"
    scene = Scene(Camera())
    KINDS[kind](Builder(props, rng, scene))
    return scene


def before_camera(build: Builder, near: float, far: float) -> tuple[float, float]:
    """Draw a place (x, z) in the picture's width, nearer ones as often as farther ones."""
    camera = build.scene.camera
    distance = build.log_uniform(near, far)
    side = math.tan(camera.fov / 2) * distance * build.uniform(-1.05, 1.05)
    s, c = math.sin(camera.yaw), math.cos(camera.yaw)
    x = camera.position[0] - s * distance + c * side
    z = camera.position[2] - c * distance - s * side
    return x, z


def room(build: Builder) -> None:
    """Furnish a room and look into it."""
    u = build.uniform
    w, h, d = u(2.5, 10), u(2.2, 4), u(3, 14)
    scene, rng = build.scene, build.rng
    yaw = float(rng.normal(0, 0.5))
    scene.camera = Camera(
        (u(-0.3, 0.3) * w, min(u(0.4, 2.0), h - 0.3), (0.5 - u(0.03, 0.2)) * d),
        yaw,
        float(rng.normal(-0.08, 0.15)),
        float(rng.normal(0, 0.04)),
        math.radians(u(30, 80)),
    )
    scene.ambient, scene.sun_power = u(0.25, 0.7), u(0, 0.4)
    scene.sun = (u(-1, 1), u(0.2, 1), u(-0.5, 1))
    scene.lamp, scene.lamp_power = (u(-0.4, 0.4) * w, h - 0.2, u(-0.4, 0.4) * d), u(0.2, 1.2)
    style = build.surface("pattern", "detail", repeat=u(1, 5), plain=0.2)
    build.add("ground0", scaled(w, 1, d), **style)
    ceiling = build.surface("detail", repeat=2, plain=0.8)
    build.add("ground0", moved(0, h, 0) @ scaled(w, 1, d), **ceiling)
    wall = build.surface("pattern", "detail", "photo", repeat=u(1, 4), plain=0.5)
    for turn, long, away in ((0, w, d / 2), (1, d, w / 2), (2, w, d / 2), (3, d, w / 2)):
        base = rotation(1, turn * math.pi / 2) @ moved(0, 0, -away)
        build.add("quad", base @ scaled(long, h, 1), **wall)
        for _ in range(int(rng.integers(0, 4))):
            _on_wall(build, base, long, h)
    for _ in range(int(rng.integers(3, 16))):
        x, z = before_camera(build, 0.7, 1.2 * d)
        x, z = np.clip(x, -w / 2 + 0.4, w / 2 - 0.4), np.clip(z, -d / 2 + 0.4, d / 2)
        camera_x, _, camera_z = scene.camera.position
        if math.hypot(x - camera_x, z - camera_z) > 1.1:
            build.furniture(float(x), float(z), most=3.0)
    for _ in range(int(rng.integers(0, 4))):
        x, z = before_camera(build, 1.1, 0.8 * d)
        if abs(x) < w / 2 and abs(z) < d / 2:
            build.person(x, z)


def _on_wall(build: Builder, base: np.ndarray, long: float, h: float) -> None:
    """Hang a picture, or open a window onto something far."""
    u = build.uniform
    wide, high = u(0.3, min(2.5, 0.6 * long)), u(0.3, 1.4)
    matrix = base @ moved(u(-0.4, 0.4) * long, u(0.3, 0.5) * h, 0.02) @ scaled(wide, high, 1)
    if build.rng.random() < 0.3:
        build.add(
            "quad", matrix @ moved(0, 0, -0.01), tint=build.colour(0.5), lit=0.0, nearness=0.03
        )
        style = {"layer": build.layer("sky", "ridge"), "lit": 0.0, "nearness": 0.05}
    else:
        style = {"layer": build.layer("photo", "detail", "pattern")}
    build.add("quad", matrix, **style)


def landscape(build: Builder) -> None:
    """Look over a ground with things on it to a far horizon."""
    u, rng, scene = build.uniform, build.rng, build.scene
    high = build.log_uniform(0.4, 6.0) if rng.random() < 0.5 else u(1.3, 1.9)
    scene.camera = Camera(
        (0.0, high, 0.0),
        u(-math.pi, math.pi),
        float(rng.normal(-0.05, 0.12)),
        float(rng.normal(0, 0.04)),
        math.radians(u(22, 75)),
    )
    _daylight(build)
    far_away(build)
    grounds = int(rng.integers(8)) if rng.random() < 0.5 else 0
    style = build.surface("detail", "pattern", "photo", repeat=u(30, 250), plain=0.15)
    build.add(f"ground{grounds}", scaled(800, u(2, 40), 800), **style)
    if rng.random() < 0.5:  # a road, a river, a path
        turn = rotation(1, scene.camera.yaw + u(-0.9, 0.9))
        style = build.surface("detail", "pattern", repeat=u(1, 3), plain=0.6)
        place = moved(u(-3, 3), 0.02, u(-3, 3))
        build.add("ground0", place @ turn @ scaled(u(2, 9), 1, 700), **style)
    things = {
        "person": rng.integers(0, 9),
        "animal": rng.integers(0, 4) * (rng.random() < 0.4),
        "tree": rng.integers(0, 25) * (rng.random() < 0.7),
        "house": rng.integers(1, 12) * (rng.random() < 0.45),
        "pole": rng.integers(0, 6) * (rng.random() < 0.4),
        "furniture": rng.integers(0, 8) * (rng.random() < 0.6),
        "crate": rng.integers(0, 5) * (rng.random() < 0.4),
        "cutout": rng.integers(0, 4) * (rng.random() < 0.4),
    }
    nearest = {"person": 1.4, "animal": 1.8, "tree": 3.0, "house": 14.0, "pole": 1.5}
    for name, count in things.items():
        for _ in range(int(count)):
            x, z = before_camera(build, nearest.get(name, 2.0), 120 if name == "house" else 50)
            if name == "crate":
                build.crate(x, z, 0.0, build.log_uniform(0.2, 3))
            elif name == "cutout":
                build.cutout(x, z, scene.camera.yaw)
            elif name == "furniture":
                build.furniture(x, z, most=20.0)
            else:
                getattr(build, name)(x, z)
    if rng.random() < 0.15:  # an indoor-like wall or fence at the side
        x, z = before_camera(build, 4, 20)
        turn = rotation(1, u(0, 6.3))
        style = build.surface("pattern", "photo", repeat=u(2, 10))
        build.add("box", moved(x, 0, z) @ turn @ scaled(u(5, 40), u(1, 5), 0.3), **style)


def from_above(build: Builder) -> None:
    """Look down onto roofs, trees and streets."""
    u, rng, scene = build.uniform, build.rng, build.scene
    high = u(15, 70)
    scene.camera = Camera(
        (0.0, high, 0.0), u(-3, 3), u(-0.9, -0.15), float(rng.normal(0, 0.05)), u(0.6, 1.2)
    )
    _daylight(build)
    far_away(build)
    style = build.surface("detail", "pattern", "photo", repeat=u(20, 80), plain=0.1)
    build.add(f"ground{int(rng.integers(8))}", scaled(1600, u(0, 40), 1600), **style)
    for _ in range(int(rng.integers(20, 60))):
        x, z = before_camera(build, 0.5 * high, 8 * high)
        build.house(x, z)
    for _ in range(int(rng.integers(0, 60))):
        x, z = before_camera(build, 0.5 * high, 5 * high)
        build.tree(x, z)


def _daylight(build: Builder) -> None:
    u, rng, scene = build.uniform, build.rng, build.scene
    scene.sun, scene.sun_power = (u(-1, 1), u(0.15, 1), u(-1, 1)), u(0.1, 0.9)
    scene.ambient = u(0.25, 0.7)
    scene.fog_colour = build.colour(0.5, 0.95)
    if rng.random() < 0.45:
        scene.fog = build.log_uniform(0.002, 0.05)
    if rng.random() < 0.12:  # night
        scene.ambient, scene.sun_power = u(0.08, 0.25), u(0, 0.2)
        scene.fog_colour = build.colour(0.02, 0.2)
        scene.lamp, scene.lamp_power = (u(-4, 4), u(2, 5), u(-4, 4)), u(0.5, 2)


def far_away(build: Builder) -> None:
    """Close the view with a sky, and often with hills before it."""
    u, rng, scene = build.uniform, build.rng, build.scene
    x, _, z = scene.camera.position
    base = moved(x, 0, z) @ rotation(1, scene.camera.yaw)
    light = min(1.0, scene.ambient + 0.5)
    sky = base @ moved(0, -250, -1500) @ scaled(3600, u(1200, 2200), 1)
    tint = (light, light, light)
    build.add("quad", sky, layer=build.layer("sky"), lit=0.0, nearness=0.0, tint=tint)
    for _ in range(int(rng.integers(0, 3))):
        far = u(300, 900)
        matrix = base @ moved(u(-100, 100), -2, -far) @ scaled(2.6 * far, far * u(0.05, 0.35), 1)
        style = {"layer": build.layer("ridge"), "tint": build.colour(0.4, 1.0)}
        build.add("quad", matrix, repeat=(1.0, 1.0), **style)


def close_up(build: Builder) -> None:
    """Look at people's upper halves, or at things on a table, before something blurred."""
    u, rng, scene = build.uniform, build.rng, build.scene
    is_portrait = rng.random() < 0.5
    scene.aperture = build.log_uniform(2, 40) if rng.random() < 0.6 else 0.0
    table = 0.0 if is_portrait else u(0.4, 0.9)
    high = u(1.3, 1.8) if is_portrait else table + u(0.1, 0.8)
    pitch = u(-0.1, 0.08) if is_portrait else u(0.0, 0.25) - math.atan2(high - table, 0.9)
    scene.camera = Camera((0.0, high, 0.0), 0.0, pitch, float(rng.normal(0, 0.05)), u(0.4, 1.0))
    _daylight(build)
    scene.fog = 0.0
    _behind(build)
    if not is_portrait:
        deep = u(0.8, 3.0)
        style = build.surface("pattern", "detail", "photo", repeat=u(0.5, 3), plain=0.3)
        middle = moved(u(-0.3, 0.3), table - 0.05, -deep / 2 - u(0.0, 0.3))
        build.add("box", middle @ scaled(u(1, 4), 0.05, deep), **style)
    for _ in range(int(rng.integers(1, 4) if is_portrait else rng.integers(4, 25))):
        x, z = before_camera(build, 0.75, 4.0 if is_portrait else 2.5)
        if is_portrait:
            build.person(x, z)
        else:
            build.trinket(x, z, table)
    for _ in range(int(rng.integers(0, 6))):
        x, z = before_camera(build, 3.0, 12.0)
        getattr(build, str(rng.choice(["person", "tree", "furniture", "animal"])))(x, z)


def _behind(build: Builder) -> None:
    """Close the view with a wall not far away, or with a ground and a sky."""
    u, rng = build.uniform, build.rng
    ground = build.surface("detail", "pattern", repeat=u(4, 40), plain=0.3)
    if rng.random() < 0.6:
        away = build.log_uniform(1.8, 10)
        build.add("ground0", scaled(40, 1, 40), **ground)
        wall = build.surface("pattern", "detail", "photo", repeat=u(1, 6), plain=0.3)
        build.add(
            "quad", rotation(1, u(-0.5, 0.5)) @ moved(0, -1, -away) @ scaled(30, 9, 1), **wall
        )
        for _ in range(int(rng.integers(0, 5))):
            place = moved(u(-0.6, 0.6) * away, u(0.2, 1.6), -0.97 * away)
            size = scaled(u(0.3, 1.5), u(0.3, 1.2), 0.03)
            build.add("box", place @ size, layer=build.layer("photo", "detail", "pattern"))
    else:
        far_away(build)
        build.add("ground0", scaled(400, 1, 400), **ground)


KINDS = {"room": room, "landscape": landscape, "above": from_above, "close": close_up}
