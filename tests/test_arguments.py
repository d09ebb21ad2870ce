"""Arguments of public functions that cannot be right, in an installation without beartype."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

import dhm
from dhm.arguments import concrete, require_last_row, require_shapes
from dhm.errors import BadInputError
from dhm.geometry.hand_rig import JOINT_NAMES
from dhm.geometry.mesh import vertex_neighbours
from dhm.geometry.spheres import PenetrationParts
from tests.references.mano import random_mano


@pytest.fixture(autouse=True)
def without_type_checker():
    """Annotations are comments, as in an installation without beartype."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


zeros = jnp.zeros


def test_shapes_that_fit_are_taken():
    require_shapes(
        points=(zeros((5, 2, 7, 3)), "... n 3"),
        weights=(np.zeros((2, 7)), "... n"),
        table=(np.zeros((7, 7)), "n n"),
    )


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"a": (zeros((4, 3)), "... 4 4")},
            r"^a: found shape \[4, 3\], expected \[\.\.\., 4, 4\]$",
        ),
        ({"a": (zeros(3), "n 3")}, r"found shape \[3\], expected \[n, 3\]$"),
        ({"a": (zeros((2, 5, 3)), "n 3")}, r"found shape \[2, 5, 3\], expected \[n, 3\]$"),
        ({"a": (zeros((2, 3)), "n n")}, r"found shape \[2, 3\], expected \[n, n\]$"),
        ({"a": ([0, 1, 2], "... 3")}, r"found a list, expected an array of shape \[\.\.\., 3\]"),
        (
            {"a": (zeros((5, 3)), "n 3"), "b": (zeros(4), "n")},
            r"^b: found shape \[4\], expected \[n\] with n = 5 as in a$",
        ),
        (
            {"a": (zeros((2, 5, 3)), "... n 3"), "b": (zeros((4, 5)), "... n")},
            r"^b: found batch axes \[4\], expected batch axes that broadcast against \[2\] of a$",
        ),
    ],
)
def test_other_shapes_are_named(arrays, message):
    with pytest.raises(BadInputError, match=message):
        require_shapes(**arrays)


def test_values_are_looked_at_where_they_are():
    assert concrete(zeros(3)).tolist() == concrete(np.zeros(3)).tolist() == [0, 0, 0]
    seen = []
    jax.jit(lambda x: seen.append(concrete(x)))(zeros(3))
    jax.grad(lambda x: (seen.append(concrete(x)), x.sum())[1])(zeros(3))
    assert seen == [None, None]
    require_last_row("K", np.tile(np.eye(3), (2, 1, 1)), (0, 0, 1), "")
    with pytest.raises(BadInputError, match=r"K: found the last row \[0.0, 5.0, 1.0\], expected"):
        require_last_row(
            "K", np.array([np.eye(3), [[1, 0, 0], [0, 1, 0], [0, 5, 1]]]), (0, 0, 1), ""
        )


RIG = tuple(range(-1, 21))  # a chain of 22 joints
IDENTITIES = jnp.tile(jnp.eye(4), (22, 1, 1))
TURNS = IDENTITIES[:, :3, :3]
MODEL = random_mano(num_vertices=40)
PARTS = PenetrationParts(((0, 1), (1, 2), (2, 3)), ((0, 2),), (2,), (0, 1))
TRIANGLE = np.array([[0, 1, 2]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda: dhm.euler_angles_to_matrix(zeros(28)),
            r"euler: found shape \[28\], expected \[\.\.\., 3\]",
            marks=pytest.mark.mistake(
                "dhm, kinematics", "a pose of 28 angles as Euler triples", "refused"
            ),
        ),
        pytest.param(
            lambda: dhm.forward_kinematics(IDENTITIES, zeros((22, 3)), RIG),
            r"rotations: found shape \[22, 3\], expected \[\.\.\., j, 3, 3\] with j = 22 as in par",
            marks=pytest.mark.mistake(
                "dhm, kinematics", "Euler angles instead of rotations", "refused"
            ),
        ),
        pytest.param(
            lambda: dhm.forward_kinematics(IDENTITIES[:, :3], TURNS, RIG),
            r"T_parent_joint: found shape \[22, 3, 4\], expected \[\.\.\., j, 4, 4\]",
            marks=pytest.mark.mistake("dhm, kinematics", "transforms of three rows", "refused"),
        ),
        pytest.param(
            lambda: dhm.forward_kinematics(IDENTITIES, TURNS, RIG[:16]),
            r"T_parent_joint: found shape \[22, 4, 4\], .* with j = 16 as in parents",
            marks=pytest.mark.mistake("dhm, kinematics", "parents of another rig", "refused"),
        ),
        pytest.param(
            lambda: dhm.linear_blend_skinning(
                zeros((5, 3)), zeros((22, 5)), IDENTITIES, IDENTITIES
            ),
            r"vertices: found shape \[5, 3\], expected .* with v = 22 as in lbs_weights",
            marks=pytest.mark.mistake(
                "dhm, kinematics", "skinning weights [j v] instead of [v j]", "refused"
            ),
        ),
        pytest.param(
            lambda: dhm.linear_blend_skinning(
                zeros((5, 4)), zeros((5, 22)), IDENTITIES, IDENTITIES
            ),
            r"vertices: found shape \[5, 4\], expected \[\.\.\., v, 3\]",
            marks=pytest.mark.mistake("dhm, kinematics", "homogeneous vertices [v 4]", "refused"),
        ),
        pytest.param(
            lambda: dhm.rigid_alignment(zeros((3, 9)), zeros((3, 9)), jnp.ones(9)),
            r"source: found shape \[3, 9\], expected \[\.\.\., n, 3\]",
            marks=pytest.mark.mistake(
                "dhm, kinematics", "points [3 n] to align instead of [n 3]", "refused"
            ),
        ),
        pytest.param(
            lambda: dhm.rigid_alignment(zeros((9, 3)), zeros((8, 3)), jnp.ones(9)),
            r"target: found shape \[8, 3\], .* with n = 9 as in source",
            marks=pytest.mark.mistake(
                "dhm, kinematics", "two numbers of points to align", "refused"
            ),
        ),
        pytest.param(
            lambda: dhm.joint_loss(zeros((4, 22, 3)), zeros((4, 22, 3)), jnp.ones((4, 22, 1))),
            r"valid: found shape \[4, 22, 1\], expected \[\.\.\., j\] with j = 22 as in joints",
            marks=pytest.mark.mistake("dhm, losses", "a flag of each joint as [b j 1]", "refused"),
        ),
        pytest.param(
            lambda: dhm.joint_loss(zeros((4, 22, 3)), zeros((4, 21, 3)), jnp.ones((4, 22))),
            r"target: found shape \[4, 21, 3\]",
            marks=pytest.mark.mistake(
                "dhm, losses", "targets of 21 joints for a hand of 22", "refused"
            ),
        ),
        pytest.param(
            lambda: dhm.depth_loss(zeros((4, 8, 6)), zeros((4, 6, 8))),
            r"target: found shape \[4, 6, 8\], expected .* h = 8 as in rendered",
            marks=pytest.mark.mistake(
                "dhm, losses", "depth maps of two sizes, or one turned", "refused"
            ),
        ),
        pytest.param(
            lambda: dhm.depth_loss(zeros((4, 8, 8)), zeros((4, 8, 8, 1))),
            r"target: found shape \[4, 8, 8, 1\]",
            marks=pytest.mark.mistake(
                "dhm, losses", "depth maps with a channel [h w 1]", "refused"
            ),
        ),
        pytest.param(
            lambda: dhm.laplacian_loss(zeros((2, 5, 3)), vertex_neighbours(TRIANGLE, 3)),
            r"vertices: found shape \[2, 5, 3\], .* with v = 3 as in neighbours\.index",
            marks=pytest.mark.mistake("dhm, losses", "neighbours of another mesh", "refused"),
        ),
        pytest.param(
            lambda: dhm.rigid_penetration_loss(zeros((2, 4, 10, 3)), zeros((2, 4, 10)), PARTS),
            r"centers: found shape \[2, 4, 10, 3\], .* with s = 3 as in parts\.bones",
            marks=pytest.mark.mistake("dhm, losses", "spheres of another rig", "refused"),
        ),
        (
            lambda: dhm.non_rigid_penetration_loss(
                zeros((3, 10, 3)), zeros((3, 9)), zeros((5, 3)), PARTS
            ),
            r"radii: found shape \[3, 9\], .* k = 10 as in centers",
        ),
        (lambda: dhm.skeleton_loss(zeros((22, 4))), r"change: found shape \[22, 4\]"),
        pytest.param(
            lambda: dhm.mano(MODEL, zeros(10), zeros(48)),
            r"pose: found shape \[48\], expected \[\.\.\., 45\].*; the wrist's is global_orient",
            marks=pytest.mark.mistake(
                "dhm.mano", "a pose of 48 numbers, the wrist's first", "refused"
            ),
        ),
        pytest.param(
            lambda: dhm.mano(MODEL, zeros(10), zeros(15)),
            r"pose: found shape \[15\], expected .* as mano_pose_vector returns",
            marks=pytest.mark.mistake(
                "dhm.mano", "principal components instead of angles", "refused"
            ),
        ),
        pytest.param(
            lambda: dhm.mano(MODEL, zeros(10), zeros((15, 3))),
            r"pose: found shape \[15, 3\], expected",
            marks=pytest.mark.mistake("dhm.mano", "a pose [15 3] instead of [45]", "refused"),
        ),
        pytest.param(
            lambda: dhm.fit_pose(IDENTITIES, RIG, JOINT_NAMES, zeros((22, 3)), jnp.ones(22, bool)),
            r"target: found shape \[22, 3\], expected \[b, j, 3\] with j = 22",
            marks=pytest.mark.mistake("dhm.fit_pose", "joints without a batch axis", "refused"),
        ),
        pytest.param(
            lambda: dhm.fit_pose(
                IDENTITIES, RIG, JOINT_NAMES, zeros((1, 21, 3)), jnp.ones((1, 21), bool)
            ),
            r"target: found shape \[1, 21, 3\], expected .* j = 22 as in joint_names",
            marks=pytest.mark.mistake(
                "dhm.fit_pose", "the 21 joints of MediaPipe or MANO", "refused"
            ),
        ),
    ],
)
def test_what_cannot_be_right_is_refused(call, message):
    with pytest.raises(BadInputError, match=message):
        call()


@pytest.mark.mistake("dhm, kinematics", "flags instead of weights to align by", "understood")
def test_flags_are_weights_of_an_alignment():
    source = jnp.float32(np.random.default_rng(0).normal(0, 40, (6, 3)))
    target, known = source.at[5].add(900.0) + 7, np.arange(6) < 5
    expected = dhm.rigid_alignment(source, target, jnp.float32(known))
    np.testing.assert_allclose(dhm.rigid_alignment(source, target, known), expected, atol=1e-4)
    np.testing.assert_allclose(expected[:3, 3], 7, atol=1e-2)


@pytest.mark.mistake("dhm, losses", "NaN as background of a depth map", "understood")
@pytest.mark.mistake(
    "dhm, losses", "65535 as background", "not noticed: it is a depth like any other"
)
def test_nan_is_background_and_other_marks_are_not():
    rendered, target = jnp.full((2, 2), 600.0), jnp.array([[601.0, jnp.nan], [65535.0, 0.0]])
    loss, foreground = dhm.depth_loss(rendered, target)
    assert foreground.tolist() == [[True, False], [True, False]]
    assert float(loss[0, 1]) == 0 and float(loss[1, 0]) > 60_000
    gradient = jax.grad(lambda x: dhm.depth_loss(x, target)[0].sum())(rendered)
    assert np.isfinite(gradient).all()


@pytest.mark.mistake(
    "dhm.mano", "a rotation matrix [3 3] as global_orient",
    "not noticed: it is a batch of three axis-angle vectors, and the result has three hands",
)  # fmt: skip
def test_a_rotation_matrix_is_a_batch_of_three_turns():
    posed = jax.eval_shape(lambda turn: dhm.mano(MODEL, zeros(10), zeros(45), turn), jnp.eye(3))
    assert posed.joints.shape == (3, 21, 3)


@pytest.mark.mistake(
    "dhm.mano", "degrees, or the mean pose added twice or not at all",
    "not noticed: any angle is a turn",
)  # fmt: skip
def test_any_angles_pose_mano():
    posed = jax.jit(lambda pose: dhm.mano(MODEL, zeros(10), pose))(jnp.full(45, 40.0))
    assert np.isfinite(posed.vertices).all()


@pytest.fixture
def scene():
    """A triangle 500 mm before a camera: arguments of `render_depth`, by name."""
    return {
        "vertices": np.array([[-60, -40, 500], [60, -40, 500], [0, 40, 500.0]]),
        "faces": TRIANGLE,
        "camera": dhm.Camera(np.array([[100.0, 0, 16], [0, 100, 12], [0, 0, 1]]), np.eye(4)),
        "image_size": (24, 32),
    }


def _seen(scene, **changes):
    return float((np.asarray(dhm.render_depth(**scene | changes)) > 0).mean())


OTHER = np.array([[1.0, 0, 0, 30], [0, 1, 0, -20], [0, 0, 1, 40], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda s: {"faces": s["faces"] + 1},
            r"faces: found vertex indices 1\.\.3, expected 0\.\.2",
            marks=pytest.mark.mistake("dhm.render_depth", "faces counted from 1", "refused"),
        ),
        pytest.param(
            lambda s: {"faces": jnp.asarray(s["faces"] + 1)},
            r"faces: found vertex indices 1\.\.3, expected 0\.\.2",
        ),
        pytest.param(
            lambda s: {"faces": np.array([[0, 1, 2, 2]])},
            r"faces: found shape \[1, 4\], expected \[f, 3\]",
            marks=pytest.mark.mistake("dhm.render_depth", "faces of four corners", "refused"),
        ),
        pytest.param(
            lambda s: {"faces": s["faces"].astype(float)},
            "faces: found float64, expected whole numbers",
            marks=pytest.mark.mistake("dhm.render_depth", "faces as floats", "refused"),
        ),
        pytest.param(
            lambda s: {"image_size": 256},
            r"image_size: found 256, expected \(height, width\)",
            marks=pytest.mark.mistake(
                "dhm.render_depth", "one number as the picture's size", "refused"
            ),
        ),
        pytest.param(
            lambda s: {"camera": dhm.Camera(s["camera"].T_camera_world, s["camera"].K)},
            r"camera\.K: found shape \[4, 4\], expected \[\.\.\., 3, 3\]",
            marks=pytest.mark.mistake("dhm.render_depth", "K and extrinsics swapped", "refused"),
        ),
        pytest.param(
            lambda s: {"camera": s["camera"]._replace(K=s["camera"].K.T)},
            r"camera\.K: found the last row \[16\.0, 12\.0, 1\.0\], expected \[0, 0, 1\]: intrin",
            marks=pytest.mark.mistake(
                "dhm.render_depth", "K transposed", "refused; not noticed where it is traced"
            ),
        ),
        pytest.param(
            lambda s: {"camera": s["camera"]._replace(T_camera_world=OTHER.T)},
            r"camera\.T_camera_world: found the last row \[30\.0, -20\.0, 40\.0, 1\.0\], expected",
            marks=pytest.mark.mistake(
                "dhm.render_depth", "extrinsics of row vectors, that is transposed",
                "refused; not noticed where they are traced",
            ),
        ),
        pytest.param(
            lambda s: {"camera": s["camera"]._replace(T_camera_world=OTHER[:3])},
            r"camera\.T_camera_world: found shape \[3, 4\], expected \[\.\.\., 4, 4\]",
            marks=pytest.mark.mistake(
                "dhm.render_depth", "extrinsics of three rows [R t]", "refused"
            ),
        ),
        pytest.param(
            lambda s: {"vertices": s["vertices"].T[:, :2]},
            r"vertices: found shape \[3, 2\], expected \[\.\.\., v, 3\]",
            marks=pytest.mark.mistake("dhm.render_depth", "vertices [3 v]", "refused"),
        ),
        (
            lambda s: {
                "vertices": np.zeros((4, 3, 3)),
                "camera": dhm.Camera(np.tile(np.eye(3), (3, 2, 1, 1)), np.eye(4)),
            },
            r"camera\.K: found batch axes \[3, 2\], expected .* against \[4, 1\] of vertices",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_rendered_is_refused(scene, change, message):
    assert _seen(scene) > 0.2
    with pytest.raises(BadInputError, match=message):
        dhm.render_depth(**scene | change(scene))


@pytest.mark.mistake(
    "dhm.render_depth", "metres instead of mm, or OpenGL's axes",
    "not noticed: an empty depth map, as of a mesh that is not in view",
)  # fmt: skip
def test_a_mesh_before_the_near_plane_is_not_seen(scene):
    assert _seen(scene, vertices=scene["vertices"] / 1000) == 0
    assert _seen(scene, vertices=scene["vertices"] * [1, -1, -1]) == 0


@pytest.mark.mistake(
    "dhm.render_depth", "width and height swapped, camera to world, K of another size",
    "not noticed: any of these is some camera",
)  # fmt: skip
def test_another_camera_is_a_camera(scene):
    inverse = scene["camera"]._replace(T_camera_world=np.linalg.inv(OTHER))
    half = scene["camera"]._replace(K=np.diag([0.5, 0.5, 1]) @ scene["camera"].K)
    for change in ({"image_size": (32, 24)}, {"camera": inverse}, {"camera": half}):
        assert 0 < _seen(scene, **change) != _seen(scene)


@pytest.mark.mistake(
    "dhm.render_depth", "a camera for each mesh, without the axis of cameras",
    "not noticed: each camera sees every mesh, and the result has one more axis",
)  # fmt: skip
def test_cameras_without_a_batch_axis_see_every_mesh(scene):
    meshes = np.stack([scene["vertices"], scene["vertices"] + 5])
    camera = dhm.Camera(*(np.stack([part] * 2) for part in scene["camera"]))
    depth = dhm.render_depth(**scene | {"vertices": meshes, "camera": camera})
    assert depth.shape == (2, 2, 24, 32)


def test_rasterizing_checks_shapes_too(scene):
    with pytest.raises(BadInputError, match=r"v_camera: found shape \[3, 3\], expected \[n, v, 3"):
        dhm.rasterize(scene["vertices"], TRIANGLE, scene["camera"].K, (8, 8))
    with pytest.raises(BadInputError, match=r"K: found shape \[3, 3\], expected \[n, 3, 3\]"):
        dhm.rasterize(scene["vertices"][None], TRIANGLE, scene["camera"].K, (8, 8))
