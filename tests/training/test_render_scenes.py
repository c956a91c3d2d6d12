"""Rendered scenes: meshes, textures, geometry and depth."""

import math
import os
import zipfile

import numpy as np
import pytest

from data.depth_shards import list_views
from data.files import DataError
from render_scenes import defocus, main, render, render_view
from scenes.meshes import MeshFiles, read_obj, stand
from scenes.props import Builder, Props
from scenes.random_scenes import KINDS, random_scene
from scenes.renderer import (
    Camera,
    Item,
    Scene,
    SceneRenderer,
    moved,
    primitives,
    projection,
    rotation,
    scaled,
    view,
)
from scenes.textures import Textures

SIZE = (96, 64)
OBJ = """
mtllib a.mtl
v -1 0 0
v 1 0 0
v 1 2 0
v -1 2 0
vt 0 0
vt 1 1
usemtl red
f 1/1 2/2 3/1 4/2
f -4 -3 -2
"""


def textures() -> Textures:
    made = Textures()
    for group in ("photo", "detail", "pattern", "sky", "leaves", "cutout", "ridge"):
        made.add(group, np.full((8, 8, 3), 200, np.uint8))
    return made


@pytest.fixture(scope="module")
def renderer():
    try:
        return SceneRenderer([], textures(), SIZE)
    except DataError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def draw(renderer, *items, **camera):
    scene = Scene(Camera(**{"position": (0.0, 0.0, 0.0), **camera}), list(items), ambient=1.0)
    return renderer.render(scene)


class TestMeshes:
    def test_faces_become_triangles_with_their_material(self):
        vertices = read_obj(OBJ, {"red": (3, (1.0, 0.0, 0.0))})
        assert vertices.shape == (9, 12)
        assert vertices[0].tolist() == [-1, 0, 0, 0, 0, 1, 0, 0, 3, 1, 0, 0]
        assert vertices[1, 6:8].tolist() == [1, 1]
        np.testing.assert_array_equal(vertices[6:, :3], vertices[:3, :3])

    def test_stands_on_the_ground_in_its_size(self):
        stood = stand(read_obj(OBJ, {}), (0.5, 3.0, 1.0))
        assert stood[:, 1].min() == 0 and stood[:, 1].max() == 3
        assert np.ptp(stood[:, 0]) == 0.5 and stood[:, 0].mean() == pytest.approx(0, abs=0.1)

    def test_a_library_is_read(self, tmp_path):
        path = tmp_path / "x.sh3f"
        catalog = "model#1=/a/a.obj\nwidth#1=50\nheight#1=300\ndepth#1=100\nname#2=none\n"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("PluginFurnitureCatalog.properties", catalog)
            archive.writestr("a/a.obj", OBJ)
            archive.writestr("a/a.mtl", "newmtl red\nKd 1 0 0\n")
        (mesh,) = MeshFiles([]).read(path)
        assert mesh.size == (0.5, 3.0, 1.0) and mesh.vertices[0, 9:].tolist() == [1, 0, 0]

    def test_another_file_is_named(self, tmp_path):
        (tmp_path / "x.sh3f").write_bytes(b"no")
        with pytest.raises(DataError, match=r"x\.sh3f: expected a furniture library"):
            MeshFiles([]).read(tmp_path / "x.sh3f")


class TestGeometry:
    def test_projection_by_hand(self):
        # 90 degrees: at 5 m the picture's right border is at x = 5.
        clip = projection(math.pi / 2, (200, 100)) @ np.array([5.0, 2.5, -5.0, 1.0])
        np.testing.assert_allclose(clip[[0, 1, 3]], [5, 5, 5])

    def test_the_camera_looks_where_it_is_turned(self):
        left = view(Camera((1.0, 2.0, 3.0), yaw=math.pi / 2)) @ np.array([-3.0, 2.0, 3.0, 1.0])
        np.testing.assert_allclose(left[:3], [0, 0, -4], atol=1e-9)
        up = view(Camera((0.0, 0.0, 0.0), pitch=math.pi / 2)) @ np.array([0.0, 4.0, 0.0, 1.0])
        np.testing.assert_allclose(up[:3], [0, 0, -4], atol=1e-9)

    def test_primitives_are_unit_sized(self):
        for name, vertices in primitives().items():
            span = np.ptp(vertices[:, :3], axis=0)
            assert span.max() <= (1.01 if not name.startswith("ground") else 100), name
            length = np.linalg.norm(vertices[:, 3:6], axis=1)  # 0: a triangle at a pole
            assert (np.isclose(length, 1, atol=1e-3) | (length == 0)).all(), name
            assert length.mean() > 0.6, name


class TestRenderer:
    def test_a_box_at_a_known_distance(self, renderer):
        box = Item("box", moved(0, -0.5, -4.5))  # its front is 4 m away
        picture, inverse = draw(renderer, box, fov=math.pi / 2)
        h, w = inverse.shape
        assert (h, w, picture.shape) == (SIZE[1], SIZE[0], (SIZE[1], SIZE[0], 3))
        assert inverse[h // 2, w // 2] == pytest.approx(1 / 4, rel=1e-4)
        assert inverse[2, 2] == 0  # nothing there: infinitely far
        # 1 m of 8 m is an eighth of the width.
        assert (inverse[h // 2] > 0).sum() == w // 8

    def test_a_ground_recedes_as_geometry_says(self, renderer):
        _, inverse = draw(renderer, Item("ground0", moved(0, -1.5, 0) @ scaled(400, 1, 400)),
                          fov=math.pi / 2)  # fmt: skip
        h, w = inverse.shape
        rows = np.arange(h) + 0.5
        expected = np.maximum(rows - h / 2, 0) / (w / 2) / 1.5  # tan(angle) / height
        np.testing.assert_allclose(inverse[h // 2 + 2 :, 5], expected[h // 2 + 2 :], atol=2e-4)

    def test_the_nearer_one_hides(self, renderer):
        near, far = Item("box", moved(0, -0.5, -3)), Item("box", moved(0, -0.5, -6))
        for items in ((near, far), (far, near)):
            assert draw(renderer, *items)[1].max() == pytest.approx(1 / 2.5, rel=1e-3)

    def test_up_is_up_and_right_is_right(self, renderer):
        ball = Item("ball", moved(1, 0.6, -4), tint=(1.0, 0.0, 0.0))
        _, inverse = draw(renderer, ball)
        y, x = np.argwhere(inverse > 0).mean(0)
        assert y < SIZE[1] / 2 - 3 and x > SIZE[0] / 2 + 3

    def test_nearness_pushes_away(self, renderer):
        quad = Item("quad", moved(0, -5, -2) @ scaled(10, 10, 1), nearness=0.0)
        assert draw(renderer, quad)[1].max() == 0

    def test_turned_meshes_are_lit_from_their_own_side(self, renderer):
        for angle, bright in ((0.0, True), (math.pi / 2, False)):
            quad = Item("quad", moved(0, -1, -3) @ rotation(1, angle) @ scaled(2, 2, 1))
            scene = Scene(Camera((0.0, 0.0, 0.0), yaw=-angle / 2), [quad], sun=(0, 0, 1))
            scene.ambient, scene.sun_power = 0.1, 0.8
            picture, inverse = renderer.render(scene)
            if (inverse > 0).any():
                assert (picture[inverse > 0].mean() > 150) == bright


class TestScenes:
    @pytest.mark.parametrize("kind", [None, *sorted(KINDS)])
    def test_every_kind_draws_something_near_and_far(self, renderer, kind):
        props = Props([], textures())
        made = render_view(props, renderer, [0, 1], kind)
        assert made.picture.shape == (SIZE[1] // 2, SIZE[0] // 2, 3)
        far, near = np.quantile(made.inverse_depth, (0.1, 0.9))
        assert near > 1.3 * far and made.picture.std() > 1

    def test_a_number_gives_one_scene(self, renderer):
        props = Props([], textures())
        a, b, other = (render_view(props, renderer, [3, i]) for i in (5, 5, 6))
        assert np.array_equal(a.inverse_depth, b.inverse_depth)
        assert np.array_equal(a.picture, b.picture)
        assert not np.array_equal(a.inverse_depth, other.inverse_depth)

    def test_a_person_stands_on_the_ground(self):
        scene = Scene(Camera())
        Builder(Props([], textures()), np.random.default_rng(0), scene).person(1.0, -5.0)
        corners = primitives()["ball"][:, :3]
        points = np.concatenate([corners @ i.matrix[:3, :3].T + i.matrix[:3, 3]
                                 for i in scene.items])  # fmt: skip
        assert -0.1 < points[:, 1].min() < 0.15 and 1.0 < points[:, 1].max() < 2.2

    def test_random_scenes_differ(self):
        props = Props([], textures())
        counts = {len(random_scene(props, np.random.default_rng(i)).items) for i in range(8)}
        assert len(counts) > 4

    def test_defocus_blurs_what_is_away_from_the_focus(self):
        rng = np.random.default_rng(0)
        noise = rng.uniform(0, 255, (40, 80, 3)).astype(np.float32)
        inverse = np.full((40, 80), 0.9, np.float32)
        inverse[:, :30] = 0.1
        blurred = defocus(noise, inverse, 8.0, np.random.default_rng(0))
        assert blurred[:, :20].std() < 0.4 * noise[:, :20].std()
        np.testing.assert_allclose(blurred[:, 45:], noise[:, 45:], atol=2)

    def test_going_on_writes_the_rest(self, renderer, tmp_path, monkeypatch):
        monkeypatch.setattr("data.depth_shards.SHARD_VIEWS", 2)
        monkeypatch.setattr("render_scenes.SHARD_VIEWS", 2)
        props = Props([], textures())
        for views in (2, 5):
            render(props, tmp_path / "parts", views, 0, (48, 32))
        render(props, tmp_path / "whole", 5, 0, (48, 32))
        a, b = (list_views(tmp_path / name) for name in ("parts", "whole"))
        assert len(a) == len(b) == 5
        for x, y in zip(a, b, strict=True):
            assert np.array_equal(x.read().inverse_depth, y.read().inverse_depth)

    def test_no_photographs_is_one_line(self, tmp_path, capsys):
        assert main([str(tmp_path / "out"), "--photos", str(tmp_path)]) == 1
        assert "expected photographs" in capsys.readouterr().err
