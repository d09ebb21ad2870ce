"""The object that `dhm.load` returns, against the Flax module that it wraps."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dhm
from data_prep.studio.template.hand_template import hand_template
from dhm.errors import BadInputError
from dhm.export.package import save_model
from dhm.networks.build import build_linear_model
from dhm.training.state import initial_variables
from tests.references.mano import random_mano


@pytest.fixture(scope="module")
def run(toy_model, tmp_path_factory):
    """Folder of a run with an export."""
    settings, model, variables = toy_model
    folder = tmp_path_factory.mktemp("run")
    config = {"data": {"image_size": 32}}
    save_model(folder / "export", variables, model.template, settings, config)
    return folder


@pytest.fixture(scope="module")
def hand(run):
    return dhm.load(run)


@pytest.fixture(scope="module")
def theta(hand):
    low, high = hand.dof_limits.T
    share = np.random.default_rng(0).uniform(0.3, 0.7, (2, 3, len(low)))
    return jnp.asarray(low + share * (high - low), jnp.float32)


@pytest.fixture(scope="module")
def root():
    return jnp.eye(4).at[:3, 3].set(jnp.array([10.0, -20.0, 500.0]))


@pytest.fixture(scope="module")
def posed(hand, theta, root):
    return hand.decode(theta, root)


@pytest.fixture(scope="module")
def linear_hand(toy_model, tmp_path_factory):
    linear, rig = random_mano(num_vertices=60), hand_template("coarse")
    model = build_linear_model(linear, rig, toy_model[0])
    variables = initial_variables(model, seed=0, subject=1, image_size=32)
    folder = tmp_path_factory.mktemp("linear")
    save_model(folder, variables, rig, toy_model[0], {}, linear)
    return dhm.load(folder)


def _assert_equal(a, b, atol=1e-3):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, atol=atol)


@pytest.mark.mistake(
    "dhm.load", "the folder of a run, its export, or either behind ~", "understood"
)
def test_a_run_and_its_export_are_the_same_hand(run, hand, monkeypatch):
    monkeypatch.setenv("HOME", str(run.parent))
    for path in (run / "export", f"~/{run.name}", f"~/{run.name}/export"):
        found = dhm.load(path)
        jax.tree.map(np.testing.assert_array_equal, found.variables, hand.variables)


@pytest.mark.mistake("dhm.load", "another folder, or a run that was not exported", "refused")
@pytest.mark.mistake("dhm.load", "the name of a file of the model", "refused")
def test_where_no_model_is_the_folder_is_named(run, tmp_path):
    expected = "expected an exported model, or a run's folder with export/"
    with pytest.raises(BadInputError, match=f"nowhere: found no such folder, {expected}"):
        dhm.load(tmp_path / "nowhere")
    with pytest.raises(BadInputError, match=rf"found a folder without model\.json, {expected}"):
        dhm.load(tmp_path)
    with pytest.raises(BadInputError, match=rf"params\.msgpack: found a file, {expected}"):
        dhm.load(run / "export" / "params.msgpack")
    (tmp_path / "export").mkdir()
    with pytest.raises(BadInputError, match=r"export/model\.json: found no such file"):
        dhm.load(tmp_path)


def test_what_a_hand_says_of_itself(hand, toy_model):
    _, model, _ = toy_model
    np.testing.assert_array_equal(hand.faces, model.template.faces)
    np.testing.assert_array_equal(hand.uvs, model.template.uvs)
    np.testing.assert_array_equal(hand.faces_uv, model.template.faces_uv)
    assert hand.joint_names == model.template.joint_names
    assert len(hand.dof_names) == 28
    assert hand.dof_names[:3] == ("thumb0_x", "thumb0_y", "thumb0_z")
    assert hand.dof_limits.shape == (28, 2)
    assert (hand.dof_limits[:, 0] < hand.dof_limits[:, 1]).all()
    assert hand.image_size == 32
    assert (
        repr(hand)
        == f"<Hand: HandModel, {len(hand.template.v_template)} vertices, 22 joints, 28 angles>"
    )


def test_decoding_takes_any_batch_axes(hand, toy_model, theta, root, posed):
    _, model, variables = toy_model
    decode = jax.jit(lambda theta, T: model.apply(variables, theta, T, method="decode"))
    expected = decode(theta.reshape(6, -1), jnp.tile(root, (6, 1, 1)))
    _assert_equal(posed, jax.tree.map(lambda x: x.reshape(2, 3, *x.shape[1:]), expected))
    several = np.stack([root, np.eye(4)]).astype(np.float64)
    twice = hand.decode(np.asarray(theta[1, 2], np.float64), several)
    _assert_equal(jax.tree.map(lambda x: x[0], twice), jax.tree.map(lambda x: x[1, 2], posed))
    _assert_equal(hand.decode(theta).joints[1, 2], twice.joints[1])


def test_encoding_takes_any_batch_axes(hand, toy_model):
    _, model, variables = toy_model
    images = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), np.uint8)
    expected = jax.jit(lambda images: model.apply(variables, images, method="encode"))(images)
    _assert_equal(hand.encode(images[1]), expected[1], 1e-5)
    _assert_equal(jax.vmap(hand.encode)(images[:, None])[:, 0], expected, 1e-5)


def test_a_hand_is_an_argument_of_jitted_functions(hand, theta):
    traces = []

    @jax.jit
    def tips(hand, theta):
        traces.append(1)
        return hand.decode(theta).joints[..., 0, :]

    expected = hand.decode(theta).joints[..., 0, :]
    _assert_equal(tips(hand, theta), expected)
    changed = jax.tree.map(lambda x: x + 0.1, hand)
    assert float(abs(tips(changed, theta) - expected).max()) > 1e-3
    assert len(traces) == 1
    _assert_equal(jax.jit(lambda theta: hand.decode(theta).joints[..., 0, :])(theta), expected)


def test_decoding_works_under_vmap(hand, theta, root, posed):
    decoded = jax.vmap(hand.decode, in_axes=(1, None), out_axes=1)(theta, root)
    _assert_equal(decoded, posed)


def test_gradients_reach_pose_root_and_variables(hand, theta, root):
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(2, 3, 22, 3)), jnp.float32)

    def loss(hand, theta, root):
        return jnp.sum(weights * hand.decode(theta, root).joints)

    of_hand, of_theta, of_root = jax.grad(loss, argnums=(0, 1, 2))(hand, theta, root)
    assert isinstance(of_hand, dhm.Hand)
    assert float(
        jnp.abs(of_hand.variables["params"]["skeleton_corrective"]["Dense_1"]["bias"]).max()
    )
    np.testing.assert_allclose(of_root[:3, 3], weights.sum(axis=(0, 1, 2)), rtol=1e-4)
    direction = jnp.asarray(np.random.default_rng(2).normal(size=theta.shape), jnp.float32)
    step = 1e-3 * direction
    numeric = (loss(hand, theta + step, root) - loss(hand, theta - step, root)) / 2e-3
    np.testing.assert_allclose(jnp.sum(of_theta * direction), numeric, rtol=2e-2, atol=1.0)


def test_a_fit_finds_pose_and_place(hand, theta, posed):
    fitted = hand.fit(posed.joints)
    assert fitted.theta.shape == theta.shape
    assert float(fitted.residual.max()) < 0.1
    again = hand.decode(fitted.theta, fitted.T_world_model)
    _assert_equal(again.joints, posed.joints, 0.3)


def test_fits_work_under_vmap_with_joints_left_out(hand, posed):
    joints = posed.joints.at[..., 3, :].set(jnp.nan)
    valid = np.arange(22) != 3
    fitted = hand.fit(joints, valid)
    assert float(fitted.residual.max()) < 0.1
    mapped = jax.vmap(lambda joints: hand.fit(joints, valid))(joints)
    _assert_equal(mapped.theta, fitted.theta, 1e-2)


@pytest.mark.slow
def test_the_gradient_of_a_fit_is_that_of_its_differences(hand, posed):
    """Slow: it goes backwards through every step of the optimiser."""
    joints = posed.joints[0, 0]
    direction = jnp.asarray(np.random.default_rng(3).normal(size=joints.shape), jnp.float32)
    gradient = jax.grad(lambda joints: hand.fit(joints).theta.sum())(joints)
    ahead, behind = (hand.fit(joints + s * direction).theta.sum() for s in (0.1, -0.1))
    np.testing.assert_allclose(jnp.sum(gradient * direction), (ahead - behind) / 0.2, rtol=0.05)


@pytest.mark.mistake("Hand.save", "a folder behind ~, or one that is not there yet", "understood")
def test_a_saved_hand_comes_back(hand, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    changed = hand.with_variables(jax.tree.map(lambda x: 2 * x, hand.variables))
    changed.save("~/other")
    found = dhm.load(tmp_path / "other")
    jax.tree.map(np.testing.assert_array_equal, found.variables, changed.variables)
    assert (found.spec.settings, found.image_size) == (hand.spec.settings, 32)
    np.testing.assert_array_equal(found.template.v_template, hand.template.v_template)


@pytest.mark.mistake("Hand.save", "the folder that the hand was loaded from, or a link", "refused")
@pytest.mark.mistake("Hand.save", "the folder of a run, or of another config.json", "refused")
@pytest.mark.mistake("Hand.save", "the name of a file that is there", "refused")
def test_a_hand_is_not_saved_over_what_it_was_loaded_from(run, hand, tmp_path):
    before = (run / "export" / "params.msgpack").read_bytes()
    (tmp_path / "link").symlink_to(run)
    for folder in (run / "export", tmp_path / "link" / "export"):
        with pytest.raises(BadInputError, match=r"folder: found .*export over the input"):
            hand.with_variables({}).save(folder)
    assert (run / "export" / "params.msgpack").read_bytes() == before
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadInputError, match=r"found config\.json of something else, expected an"):
        hand.save(tmp_path)
    assert (tmp_path / "config.json").read_text() == "{}"
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match="file, a file, expected a folder"):
        hand.save(tmp_path / "file")


@pytest.mark.mistake("Hand.fit", "NaN for joints that were not measured", "understood")
def test_joints_that_are_nan_are_not_measured(hand, posed):
    joints, valid = posed.joints, jnp.arange(posed.joints.shape[-2]) != 5
    gaps = jnp.where(valid[:, None], joints, jnp.nan)
    found, expected = hand.fit(gaps), hand.fit(joints, valid)
    _assert_equal(found, expected)
    assert np.isfinite(found.theta).all()


def test_a_linear_model_is_a_hand_too(linear_hand, tmp_path):
    hand = linear_hand
    assert len(hand.dof_names) == 45
    assert hand.dof_names[:4] == ("index1_x", "index1_y", "index1_z", "index2_x")
    assert hand.dof_limits.shape == (45, 2)
    assert hand.image_size is None
    theta = np.full((2, 45), 0.1, np.float32)
    posed = hand.decode(theta)
    assert posed.vertices.shape == (2, 60, 3)
    hand.save(tmp_path)
    found = dhm.load(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, found.variables, hand.variables)
    np.testing.assert_allclose(found.model.linear.posedirs, hand.model.linear.posedirs)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda hand: hand.decode(np.zeros(27)),
            r"theta: found shape \[27\], expected \[..., 28\]",
        ),
        (lambda hand: hand.decode(0.0), r"theta: found shape \[\], expected"),
        pytest.param(
            lambda hand: hand.decode(np.zeros((22, 3))),
            r"theta: found shape \[22, 3\], expected \[..., 28\]",
            marks=pytest.mark.mistake(
                "Hand.decode", "all Euler angles, or MANO's 45, instead of the 28", "refused"
            ),
        ),
        pytest.param(
            lambda hand: hand.decode(dict.fromkeys(hand.dof_names, 0.1)),
            r"theta: found a dict, expected numbers of shape \[..., 28\]",
            marks=pytest.mark.mistake("Hand.decode", "angles by name, as in a .json", "refused"),
        ),
        pytest.param(
            lambda hand: hand.decode(np.zeros(28), np.eye(3)),
            r"T_world_model: found shape \[3, 3\], expected \[..., 4, 4\]",
            marks=pytest.mark.mistake("Hand.decode", "a rotation as root transform", "refused"),
        ),
        pytest.param(
            lambda hand: hand.decode(np.zeros(28), np.eye(4) + np.diag([0, 0, 500.0], -1)),
            r"T_world_model: found the last row \[0\.0, 0\.0, 500\.0, 1\.0\], expected \[0, 0",
            marks=pytest.mark.mistake(
                "Hand.decode", "a root transform of row vectors", "refused, unless it is traced"
            ),
        ),
        pytest.param(
            lambda hand: hand.decode(np.zeros((2, 28)), np.tile(np.eye(4), (3, 1, 1))),
            r"T_world_model: found batch axes \[3\], expected .* against \[2\] of theta",
            marks=pytest.mark.mistake("Hand.decode", "batches of two lengths", "refused"),
        ),
        pytest.param(
            lambda hand: hand.encode(np.zeros((32, 32))),
            r"images: found shape \[32, 32\], expected \[..., height, width, 3\]",
            marks=pytest.mark.mistake("Hand.encode", "grey images", "refused"),
        ),
        pytest.param(
            lambda hand: hand.encode(np.zeros((2, 3, 32, 32))),
            r"images: found shape \[2, 3, 32, 32\], expected \[..., height, width, 3\]",
            marks=pytest.mark.mistake("Hand.encode", "channels first, [b 3 s s]", "refused"),
        ),
        pytest.param(
            lambda hand: hand.encode(np.zeros((32, 32, 4), np.uint8)),
            r"images: found shape \[32, 32, 4\], expected",
            marks=pytest.mark.mistake("Hand.encode", "images with an alpha channel", "refused"),
        ),
        pytest.param(
            lambda hand: hand.fit(np.zeros((21, 3))),
            r"joints: found shape \[21, 3\], expected \[..., 22, 3\]",
            marks=pytest.mark.mistake("Hand.fit", "the 21 joints of MediaPipe or MANO", "refused"),
        ),
        (
            lambda hand: hand.fit(np.zeros((2, 22, 3)), np.ones(21)),
            r"valid: found shape \[21\], expected \[..., 22\]",
        ),
    ],
)
def test_other_shapes_are_refused(hand, call, message):
    with pytest.raises(BadInputError, match=message):
        call(hand)


IMAGE = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda hand, posed: hand.encode(IMAGE / 255.0),
            "images with values from 0 to 0.996, expected 0 to 255",
            marks=pytest.mark.mistake("Hand.encode", "images of 0 to 1", "warning, unless traced"),
        ),
        pytest.param(
            lambda hand, posed: hand.encode((np.float32(IMAGE) - 120) / 60),
            "images with values from -2 to 2.23, expected 0 to 255",
            marks=pytest.mark.mistake(
                "Hand.encode", "images normalised by mean and deviation",
                "warning, unless traced",
            ),
        ),
        pytest.param(
            lambda hand, posed: hand.encode(IMAGE.astype(np.uint16) * 257),
            "images with values from 0 to 6.53e",
            marks=pytest.mark.mistake("Hand.encode", "images of 16 bits", "warning, unless traced"),
        ),
        pytest.param(
            lambda hand, posed: hand.encode(np.zeros((48, 64, 3), np.uint8)),
            "images of 64 x 48 pixels, expected crops around a hand of 32 x 32",
            marks=pytest.mark.mistake(
                "Hand.encode", "a whole photograph, or a crop of another size", "warning"
            ),
        ),
        pytest.param(
            lambda hand, posed: hand.decode(np.full(28, 5.0).cumsum()),
            "theta with angles up to 140, expected radians",
            marks=pytest.mark.mistake("Hand.decode", "degrees", "warning, unless traced"),
        ),
        pytest.param(
            lambda hand, posed: hand.fit(posed.joints / 1000),
            "mm from the fitted hand: their unit",
            marks=pytest.mark.mistake(
                "Hand.fit", "metres or centimetres", "warning, unless traced, and a large residual"
            ),
        ),
        pytest.param(
            lambda hand, posed: hand.fit(posed.joints * np.array([-1, 1, 1])),
            "mm from the fitted hand: .* the side",
            marks=pytest.mark.mistake(
                "Hand.fit", "a left hand", "warning, unless traced, and a large residual"
            ),
        ),
        pytest.param(
            lambda hand, posed: hand.fit(posed.joints[..., ::-1, :]),
            "mm from the fitted hand: .* their order",
            marks=pytest.mark.mistake(
                "Hand.fit", "joints in the order of another model",
                "warning, unless traced, and a large residual",
            ),
        ),
        pytest.param(
            lambda hand, posed: hand.fit(jnp.where(np.arange(22)[:, None] < 2, 0, posed.joints)),
            "mm from the fitted hand",
            marks=pytest.mark.mistake(
                "Hand.fit", "0 for joints that were not measured",
                "warning, unless traced, and a large residual",
            ),
        ),
        pytest.param(
            lambda hand, posed: hand.fit(posed.joints, np.arange(22) < 2),
            "joints of which 2 are known, expected at least 3",
            marks=pytest.mark.mistake("Hand.fit", "fewer than three known joints",
                                      "warning, unless traced"),
        ),
    ],
)  # fmt: skip
def test_values_that_look_wrong_give_a_warning(hand, posed, call, message):
    with pytest.warns(UserWarning, match=message) as caught:
        call(hand, posed)
    assert caught[0].filename == __file__


@pytest.mark.mistake("Hand.encode", "BGR instead of RGB, a left hand, a crop that is too wide",
                     "not noticed: they are images like others")  # fmt: skip
@pytest.mark.mistake("Hand.decode", "angles in another order, a translation in metres",
                     "not noticed: they are some pose")  # fmt: skip
def test_what_is_some_image_or_pose_gives_no_warning(hand, theta, root):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not np.allclose(hand.encode(IMAGE), hand.encode(IMAGE[..., ::-1]), atol=1e-6)
        hand.encode(IMAGE[:, ::-1])
        hand.decode(theta[..., ::-1], root.at[:3, 3].divide(1000))


def test_traced_values_give_no_warning(hand, posed):
    """They cannot be looked at: the functions stay pure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.eval_shape(hand.decode, np.full(28, 40.0))
        jax.eval_shape(jax.vmap(hand.encode), np.zeros((2, 32, 32, 3)) + 0.5)
        jax.eval_shape(hand.fit, np.zeros((22, 3)))
        hand.fit(posed.joints)
        hand.encode(np.zeros((32, 32, 3)))  # black
