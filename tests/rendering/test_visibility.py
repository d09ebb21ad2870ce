"""The rasterizer against its float64 twin: whatever the faces, every pixel."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dhm.rendering import Fragments, default_window, rasterize, rasterizer
from dhm.rendering.pixel_loop import is_machine_code
from tests.references import rasterizer as twin
from tests.rendering import scenes
from tests.rendering.agreement import assert_agrees

SCENES = scenes.nasty_scenes()
# All three loops that draw: over tiles, over the pixels of windows, over windows pixel by pixel.
every_way = pytest.mark.parametrize(
    "options",
    [{"window": 1}, {"window": 32, "schedule": "in_turn"}, {"window": 32, "schedule": "at_once"}],
    ids=["work list", "pixel by pixel", "windows together"],
)


@partial(jax.jit, static_argnames=("image_size", "options"))
def draw(v_camera, K, image_size=scenes.IMAGE_SIZE, options=()):
    return rasterize(v_camera, scenes.FACES, K, image_size, **dict(options))


def draw_one(vertices, K, **options):
    result = draw(jnp.asarray(vertices)[None], jnp.asarray(K)[None], options=tuple(options.items()))
    return Fragments(*(np.asarray(part[0]) for part in result))


@pytest.mark.parametrize("name", SCENES)
def test_nasty_scenes_agree_with_the_twin(name):
    vertices, K = SCENES[name]
    pixels = 0.02 if name in ("covers the screen", "zoomed crop") else 2e-3
    thin = name.startswith("thin")
    result = draw_one(vertices, K)
    equal = assert_agrees(result, vertices, scenes.FACES, K, pixels=pixels, thin=thin)
    assert equal > (0.5 if thin else 0.99)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.floats(-2, np.log10(200)).map(lambda exponent: 10**exponent),
    distance=st.sampled_from([2.0, 20.0, 100.0, 1000.0]),
    ruined=st.lists(st.tuples(st.integers(0, 71), st.integers(0, 2)), max_size=4),
    ruin=st.sampled_from([np.nan, np.inf, -np.inf]),
    copies=st.integers(0, 12),
)
def test_soups_agree_with_the_twin(seed, size, distance, ruined, ruin, copies):
    vertices = scenes.random_soup(seed, size, distance)
    vertices[3 * (scenes.NUM_FACES - copies) :] = vertices[: 3 * copies]
    for vertex, axis in ruined:
        vertices[vertex, axis] = ruin
    # A face of 200 mm at 2 mm from the eye has corners some 1e5 pixels away.
    pixels = 1e-3 * (1 + size / distance)
    assert_agrees(draw_one(vertices, scenes.K), vertices, scenes.FACES, scenes.K, pixels=pixels)


@pytest.mark.parametrize(
    "options",
    [
        {"pixel_center": 0.5},
        {"cull_backfaces": True},
        {"near": 90.0},
        {"window": 1},
        {"window": 11},
    ],
    ids=str,
)
def test_options_agree_with_the_twin(options):
    passed = {name: value for name, value in options.items() if name != "window"}
    for size in (3.0, 20.0, 200.0):
        vertices = scenes.random_soup(7, size)
        assert_agrees(
            draw_one(vertices, scenes.K, **options), vertices, scenes.FACES, scenes.K, **passed
        )


@every_way
def test_corners_on_pixel_centres_leave_no_hole_and_reach_no_further(options):
    face = draw_one(scenes.pixel_grid(), scenes.GRID_K, **options).pix_to_face
    expected = np.zeros(scenes.IMAGE_SIZE, bool)
    expected[2:18, 3:24] = True
    np.testing.assert_array_equal(face >= 0, expected)


@every_way
def test_no_pixel_falls_between_two_neighbours(options):
    """Pixel centres on common edges, up to float32: rounding must not lose them to either side."""
    row, column = np.indices(scenes.IMAGE_SIZE)
    inside = (column + row > 4) & (column + row < 28) & (row >= 1) & (row <= 22)
    for seed in range(40):
        vertices = scenes.strip_between_diagonals(seed)
        face = draw_one(vertices, scenes.K, **options).pix_to_face
        assert (face[inside] >= 0).all()


@every_way
def test_thin_faces_stay_within_their_own_depths(options):
    """However badly a sliver's coordinates round, it stays behind a wall before all its corners."""
    wall = [[-300.0, -300, 98], [300, -300, 98], [0, 500, 98]]
    for seed in range(40):
        slivers = scenes.thin_triangles(-6, -3.5, nearest=100, middle=100, seed=seed)
        face = draw_one(scenes.soup(wall, *slivers), scenes.K, **options).pix_to_face
        np.testing.assert_array_equal(face, 0)


@pytest.mark.parametrize("nearest", [50, -90], ids=["in front", "one corner behind"])
@every_way
def test_faces_whose_area_is_rounding_are_not_drawn(nearest, options):
    """Seen exactly on edge, along diagonals of pixel centres: float32 leaves them an area."""
    edgewise = scenes.thin_triangles(-20, -15, nearest=nearest)
    vertices = scenes.soup(scenes.BACKDROP, *edgewise)
    face = draw_one(vertices, scenes.K, **options).pix_to_face
    np.testing.assert_array_equal(face, 0)


def test_half_a_pixel_is_half_a_pixel():
    """Pixel centres at 0.5 in one K are those at 0 in a K whose principal point is 0.5 less."""
    vertices, shifted = scenes.random_soup(3, 20.0), scenes.K.copy()
    shifted[:2, 2] -= 0.5
    ours = draw_one(vertices, scenes.K, pixel_center=0.5)
    other = draw_one(vertices, shifted)
    assert (ours.pix_to_face == other.pix_to_face).mean() > 0.999
    both = (ours.zbuf > 0) & (ours.pix_to_face == other.pix_to_face)
    np.testing.assert_allclose(ours.zbuf[both], other.zbuf[both], rtol=1e-6)


def test_of_equal_faces_the_first_wins():
    vertices, K = SCENES["duplicates"]
    face = draw_one(vertices, K).pix_to_face
    assert set(np.unique(face)) == {0, 2}
    vertices = vertices.reshape(-1, 3, 3)[::-1].reshape(-1, 3)
    assert set(np.unique(draw_one(vertices, K).pix_to_face)) == {19, 20}


def test_faces_that_are_not_finite_are_not_drawn():
    vertices, K = SCENES["not finite"]
    result = draw_one(vertices, K)
    assert set(np.unique(result.pix_to_face)) == {1}
    assert np.isfinite(result.zbuf).all() and np.isfinite(result.bary_coords).all()


def test_culling_leaves_out_what_is_clockwise_seen_from_the_camera():
    # x to the right and y down in the image: this one is counter-clockwise to the eye.
    front = [[-50.0, -50, 90], [0, 70, 90], [50, -50, 90]]
    vertices = scenes.soup(front, np.array(front)[::-1] * 0.5)
    assert set(np.unique(draw_one(vertices, scenes.K).pix_to_face)) == {-1, 1}
    assert set(np.unique(draw_one(vertices, scenes.K, cull_backfaces=True).pix_to_face)) == {-1, 0}


def test_near_plane_cuts_a_face_where_its_depth_says():
    vertices, K = SCENES["floor under the camera"]
    depth = draw_one(vertices, K, near=50.0).zbuf
    assert depth[depth > 0].min() > 50
    full = draw_one(vertices, K).zbuf
    np.testing.assert_array_equal(depth > 0, full > 50)


def test_schedules_are_equal_on_a_batch_of_192_views():
    # Whether a sliver as thin as the rounding is hit may depend on the schedule.
    period = [scene for name, scene in SCENES.items() if not name.startswith("thin")]
    views = [period[view % len(period)] for view in range(192)]
    vertices, K = (np.stack(part) for part in zip(*views, strict=True))
    one, other = (
        jax.device_get(draw(vertices, K, options=(("schedule", schedule),)))
        for schedule in ("in_turn", "at_once")
    )
    np.testing.assert_allclose(one.zbuf, other.zbuf, rtol=1e-6)
    # The compiler contracts products differently: which of two neighbours owns a pixel centre on
    # their common edge may differ, nothing else.
    assert (one.pix_to_face == other.pix_to_face).mean() > 0.999
    first, second = slice(0, len(period)), slice(len(period), 2 * len(period))
    np.testing.assert_array_equal(one.pix_to_face[first], one.pix_to_face[second])


@pytest.mark.parametrize("image_size", [(1, 1), (90, 70)])
def test_image_of_any_size(image_size):
    """The larger one has more tiles on its work list than one turn of the loop takes."""
    vertices = scenes.random_soup(2, 60.0)
    result = draw(vertices[None], scenes.K[None], image_size=image_size)
    assert_agrees([part[0] for part in result], vertices, scenes.FACES, scenes.K)


def test_a_mesh_without_faces_is_background():
    vertices = jnp.zeros((1, 3, 3))
    empty = rasterize(vertices, np.zeros((0, 3), np.int32), scenes.K[None], (4, 5))
    assert (np.asarray(empty.pix_to_face) == -1).all()
    assert not np.asarray(empty.zbuf).any() and not np.asarray(empty.bary_coords).any()
    assert empty.bary_coords.shape == (1, 4, 5, 3)


def test_x64_stays_off_outside():
    draw_one(scenes.random_soup(1, 9.0), scenes.K)
    assert jnp.arange(3).dtype == jnp.int32
    assert not jax.config.jax_enable_x64


def test_twin_finds_a_hand_computed_depth():
    """A plane z = 100 + x, seen at pixel (column 20, row 10) with fx = 40, cx = 15.3."""
    plane = np.array([[-90.0, -90, 10], [90, -90, 190], [0, 180, 100]])
    face, bary, depth = twin.fragments(plane, np.array([[0, 1, 2]]), scenes.K, scenes.IMAGE_SIZE)
    slope = (20 - 15.3) / 40
    assert face[10, 20] == 0
    np.testing.assert_allclose(depth[10, 20], 100 / (1 - slope), rtol=1e-6)
    np.testing.assert_allclose(bary[10, 20] @ plane[:, 2], depth[10, 20], rtol=1e-6)


def test_on_a_cpu_the_loop_over_pixels_is_machine_code():
    """XLA marks what is one piece of machine code: the probe's small loop, and a large one."""
    assert is_machine_code()
    vertices, faces = scenes.bumpy_sphere(80)
    K, T = scenes.ring_of_cameras(1, (256, 256))
    v_camera = jnp.asarray(vertices) @ T[0, :3, :3].T + T[0, :3, 3]
    program = jax.jit(partial(rasterize, faces=faces, image_size=(256, 256)))
    lines = program.lower(v_camera[None], K=K).compile().as_text().splitlines()
    marked = [line for line in lines if "xla_cpu_small_call" in line]
    # Other small loops may have the mark: this one carries the z-buffer and all faces.
    assert any("u64[65536]" in line and f"[{len(faces)}]" in line for line in marked)


def test_without_the_xla_pass_windows_are_drawn_plainly_with_the_same_result(monkeypatch):
    without_pass = partial(is_machine_code, "small-while-loop-hoisting")
    assert not without_pass()
    names = [name for name in SCENES if not name.startswith("thin")]
    vertices, K = (jnp.stack(part) for part in zip(*map(SCENES.get, names), strict=True))
    fast = rasterize(vertices, scenes.FACES, K, scenes.IMAGE_SIZE)
    monkeypatch.setattr(rasterizer, "is_machine_code", without_pass)
    assert default_window(25_000, (256, 256), "in_turn") == 6
    plain = rasterize(vertices, scenes.FACES, K, scenes.IMAGE_SIZE)
    np.testing.assert_allclose(fast.zbuf, plain.zbuf, rtol=1e-6)
    # Products are contracted differently: of two neighbours either may own a pixel centre on their
    # common edge. Where all numbers are exact, nothing differs.
    assert (fast.pix_to_face == plain.pix_to_face).mean() > 0.999
    exact = names.index("corners on pixel centres")
    np.testing.assert_array_equal(fast.pix_to_face[exact], plain.pix_to_face[exact])


def test_the_pass_is_looked_for_under_jit_vmap_and_grad():
    vertices, K = SCENES["soup of 20.0 mm"]

    def total(vertices):
        is_machine_code.cache_clear()
        return rasterize(vertices[None], scenes.FACES, K[None], scenes.IMAGE_SIZE).zbuf.sum()

    gradients = jax.jit(jax.vmap(jax.grad(total)))(jnp.stack([vertices, vertices]))
    assert is_machine_code.cache_info().misses == 1
    np.testing.assert_array_equal(*gradients)


def test_default_window_follows_mesh_and_resolution():
    sizes = (64, 128, 256, 512)
    assert [default_window(25_000, (size, size), "at_once") for size in sizes] == [2, 2, 4, 8]
    assert default_window(12, (256, 256), "at_once") == 8
    assert default_window(10**7, (64, 64), "at_once") == 2
    # Pixel by pixel, a larger one costs nothing.
    assert default_window(25_000, (64, 80), "in_turn") == 80


def test_off_a_cpu_views_in_turn_have_their_windows_drawn_together(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    sizes = (64, 128, 256, 512)
    assert [default_window(25_000, (size, size), "in_turn") for size in sizes] == [2, 3, 6, 8]
    vertices, K = SCENES["soup of 20.0 mm"]
    views = jnp.stack([jnp.asarray(vertices)] * 2), jnp.stack([jnp.asarray(K)] * 2)
    result = rasterize(views[0], scenes.FACES, views[1], scenes.IMAGE_SIZE, schedule="in_turn")
    assert_agrees([part[1] for part in result], vertices, scenes.FACES, K)
