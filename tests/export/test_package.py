import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import serialization

from data_prep.studio.template.hand_template import hand_template
from dhm.errors import BadInputError
from dhm.export.package import load_model, save_model
from dhm.formats.hand_template import read_template, write_template
from dhm.networks.build import build_linear_model, build_model
from dhm.training.state import initial_variables
from tests.conftest import REPOSITORY
from tests.references.mano import random_mano

CONFIG = {"subject": 1, "train": {"learning_rate": 1e-4, "lr_drop_epochs": [30, 32]}}


@pytest.fixture(scope="module")
def exported(toy_model, tmp_path_factory):
    settings, model, variables = toy_model
    folder = tmp_path_factory.mktemp("export") / "deep" / "er"
    save_model(folder, variables, model.template, settings, CONFIG)
    return folder


@pytest.fixture
def copy(exported, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(exported, tmp_path / "copy")


def _refused(folder, message):
    with pytest.raises(BadInputError, match=message) as refusal:
        load_model(folder)
    return refusal.value


def _write_description(folder, **changes):
    """Another description, with the digest that belongs to it."""
    path = folder / "model.json"
    content = json.loads(path.read_text()) | changes
    if isinstance(content.get("sha256"), dict):
        own = {key: content.get(key) for key in ("format", "version", "settings")}
        content["sha256"]["model.json"] = _digest(json.dumps(own, sort_keys=True).encode())
    path.write_text(json.dumps(content))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write_file(folder, name, data: bytes):
    """Another file, with its digest in the description."""
    (folder / name).write_bytes(data)
    digests = json.loads((folder / "model.json").read_text())["sha256"]
    _write_description(folder, sha256=digests | {name: _digest(data)})


def _write_params(folder, data: bytes):
    _write_file(folder, "params.msgpack", data)


def _write_settings(folder, **changes):
    settings = json.loads((folder / "model.json").read_text())["settings"]
    _write_description(folder, settings=settings | changes)


def _as_version_0(folder):
    """The description as dhm wrote it before it had a version."""
    content = json.loads((folder / "model.json").read_text())
    old = {"settings": content["settings"], "params_sha256": content["sha256"]["params.msgpack"]}
    (folder / "model.json").write_text(json.dumps(old, indent=1) + "\n")


def _variables(folder):
    return serialization.msgpack_restore((folder / "params.msgpack").read_bytes())


def _run(model, variables, images, theta, root):
    encode = jax.jit(lambda v, x: model.apply(v, x, method="encode"))
    decode = jax.jit(lambda v, t, T: model.apply(v, t, T, method="decode"))
    return encode(variables, images), decode(variables, theta, root)


def test_a_model_comes_back_bit_by_bit(toy_model, exported):
    settings, model, variables = toy_model
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 255, (2, 32, 32, 3), np.uint8))
    theta = jnp.asarray(rng.uniform(-1, 1, (2, 28)).astype(np.float32))
    root = jnp.tile(jnp.eye(4).at[:3, 3].set(500.0), (2, 1, 1))
    loaded, loaded_variables = load_model(str(exported))
    expected = _run(model, variables, images, theta, root)
    found = _run(loaded, loaded_variables, images, theta, root)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    assert float(jnp.abs(expected[0]).max()) > 0
    jax.tree.map(np.testing.assert_array_equal, loaded_variables, dict(variables))
    assert loaded.encoder.depth == settings.depth
    np.testing.assert_array_equal(loaded.template.faces, model.template.faces)


def test_the_settings_come_back(toy_model, tmp_path):
    """Those too that a model of the default kind would not show."""
    settings, model, variables = toy_model
    settings = settings._replace(imagenet_normalisation=True)
    save_model(tmp_path, variables, model.template, settings, CONFIG)
    loaded, _ = load_model(tmp_path)
    assert loaded.encoder.imagenet_normalisation
    assert (loaded.encoder.width, loaded.encoder.hidden) == (settings.width, settings.head_hidden)
    assert (loaded.identity_size, loaded.skin_hidden) == (4, 8)


def test_a_model_without_a_corrective_comes_back(toy_model, tmp_path):
    settings, model, _ = toy_model
    settings = settings._replace(correctives=("skeleton", "identity"), stop_pose_gradient=False)
    ablated = build_model(model.template, settings)
    variables = initial_variables(ablated, seed=0, subject=1, image_size=32)
    save_model(tmp_path, variables, model.template, settings, CONFIG)
    loaded, found = load_model(tmp_path)
    assert (loaded.correctives, loaded.stop_pose_gradient) == (("skeleton", "identity"), False)
    assert "pose_corrective" not in found["params"]


def test_a_linear_model_comes_back_and_leaves_with_the_next_export(toy_model, tmp_path):
    settings, model, variables = toy_model
    linear, rig = random_mano(num_vertices=60), hand_template("coarse")
    baseline = build_linear_model(linear, rig, settings)
    own = initial_variables(baseline, seed=0, subject=1, image_size=32)
    save_model(tmp_path, own, rig, settings, CONFIG, linear)
    loaded, found = load_model(tmp_path)
    theta = jnp.full((1, 45), 0.2)
    expected = baseline.apply(own, theta, method="decode").vertices
    vertices = loaded.apply(found, theta, method="decode").vertices
    np.testing.assert_allclose(vertices, expected, atol=1e-4)
    save_model(tmp_path, variables, model.template, settings, CONFIG)
    assert type(load_model(tmp_path)[0]) is type(model)


def test_the_config_is_on_record(exported):
    assert json.loads((exported / "config.json").read_text()) == CONFIG


def test_saving_again_replaces(toy_model, copy):
    settings, model, variables = toy_model
    doubled = jax.tree.map(lambda x: 2 * x, variables)
    save_model(copy, doubled, model.template, settings, CONFIG)
    _, found = load_model(copy)
    jax.tree.map(np.testing.assert_array_equal, found, dict(doubled))


@pytest.mark.mistake(
    "exported models", "an export of an older dhm, without a version", "understood"
)
def test_an_export_without_a_version_is_read(toy_model, copy):
    """As dhm wrote them at first: the settings, and the digest of the parameters."""
    _, _, variables = toy_model
    _as_version_0(copy)
    (copy / "config.json").unlink()
    model, found = load_model(copy)
    jax.tree.map(np.testing.assert_array_equal, found, dict(variables))
    content = json.loads((copy / "model.json").read_text())
    del content["settings"]["correctives"], content["settings"]["stop_pose_gradient"]
    (copy / "model.json").write_text(json.dumps(content))
    assert load_model(copy)[0].correctives == model.correctives
    (copy / "params.msgpack").write_bytes(b"")
    _refused(copy, "found damaged data")


@pytest.mark.mistake("exported models", "a file that was not copied along", "refused, by name")
@pytest.mark.parametrize("name", ["params.msgpack", "model.json", "template.npz", "config.json"])
def test_a_missing_file_is_refused(copy, name):
    (copy / name).unlink()
    error = _refused(copy, "found no such file, expected an exported model")
    assert error.where == str(copy / name)


def test_a_missing_folder_is_refused(tmp_path):
    _refused(tmp_path / "nowhere", r"nowhere/model\.json: found no such file")


@pytest.mark.mistake("exported models", "a file that was edited, such as config.json", "refused")
@pytest.mark.parametrize("name", ["template.npz", "config.json"])
def test_a_damaged_file_is_refused(copy, name):
    path = copy / name
    path.write_bytes(path.read_bytes() + b"\n")
    message = r"found damaged data \(SHA-256 .{64}\), expected .{64} by model\.json"
    assert _refused(copy, message).where == str(path)


def test_a_damaged_linear_model_is_refused(toy_model, tmp_path):
    linear, rig = random_mano(num_vertices=60), hand_template("coarse")
    settings = toy_model[0]
    own = initial_variables(
        build_linear_model(linear, rig, settings), seed=0, subject=1, image_size=32
    )
    save_model(tmp_path, own, rig, settings, CONFIG, linear)
    path = tmp_path / "linear.pkl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert _refused(tmp_path, "found damaged data").where == str(path)
    path.unlink()
    assert _refused(tmp_path, "found no such file").where == str(path)


@pytest.mark.mistake("exported models", "a linear.pkl of another export in the folder", "refused")
def test_a_linear_model_that_is_not_listed_is_refused(copy):
    (copy / "linear.pkl").write_bytes(b"")
    message = r"linear\.pkl: found a linear model, expected no such file, as model\.json does not"
    _refused(copy, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"format": "gltf"},
            "found format 'gltf', expected 'dhm hand model', an exported model",
            marks=pytest.mark.mistake(
                "exported models", "a model.json of another program", "refused"
            ),
        ),
        ({"format": None}, "found format None, expected 'dhm hand model'"),
        pytest.param(
            {"version": 2},
            "found version 2, expected 1 or less: a newer dhm wrote it, update this",
            marks=pytest.mark.mistake(
                "exported models", "an export of a newer dhm", "refused, with what to update"
            ),
        ),
        ({"version": 0}, "found version 0, expected a version from 1 to 1"),
        ({"version": "1"}, "found version '1', expected a version from 1 to 1"),
        ({"version": True}, "found version True, expected a version"),
        ({"sha256": {}}, "found digests of model.json, expected those of config.json, model.json"),
        ({"sha256": "ab"}, "found digests of no files, expected those of config.json"),
    ],
)
def test_a_foreign_description_is_refused(copy, changes, message):
    _write_description(copy, **changes)
    assert _refused(copy, message).where == str(copy / "model.json")


def test_digests_of_other_files_are_refused(copy):
    digests = json.loads((copy / "model.json").read_text())["sha256"]
    _write_description(copy, sha256=digests | {"../secret": ""})
    _refused(copy, r"found digests of \.\./secret, config\.json, .*, expected those of config")


@pytest.mark.mistake("exported models", "parameters that were copied in part", "refused")
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.999])
def test_truncated_parameters_are_refused(copy, keep):
    path = copy / "params.msgpack"
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    _refused(copy, r"params\.msgpack: found damaged data \(SHA-256 .{64}\), expected .{64} by")


def test_any_flipped_or_missing_byte_of_the_parameters_is_noticed(copy):
    path, rng = copy / "params.msgpack", np.random.default_rng(1)
    data = path.read_bytes()
    for position in rng.integers(0, len(data), 100):
        flipped = bytearray(data)
        flipped[position] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        _refused(copy, "damaged data")
        path.write_bytes(data[:position])
        _refused(copy, "damaged data")
    path.write_bytes(data)
    load_model(copy)


def _positions(data, rng):
    """Places all over the file, and as many among the names and shapes, where parsing can fail."""
    structure = [i for name in (b"params", b"identity", b"kernel", b"float32", b"scale")
                 for i in range(data.find(name) - 12, data.find(name) + 16)
                 if 0 <= i < len(data)]  # fmt: skip
    return [*rng.integers(0, len(data), 15).tolist(), *rng.choice(structure, 65).tolist()]


@pytest.mark.slow
def test_parameters_of_another_writer_are_refused_or_finite(copy):
    """Vouched for by the description, but otherwise arbitrary: no other exception gets out."""
    rng = np.random.default_rng(2)
    data = (copy / "params.msgpack").read_bytes()
    refused = 0
    for position in _positions(data, rng):
        mutated = bytearray(data)
        mutated[position] = rng.integers(256)
        _write_params(copy, bytes(mutated if rng.random() < 0.8 else mutated[:position]))
        try:
            _, variables = load_model(copy)
        except BadInputError as error:
            refused += 1
            assert error.where == str(copy / "params.msgpack")
        else:
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))
    assert refused > 40


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"found no variables \(.*\), expected an exported model"),
        (b"\xc1", "found no variables"),
        (b"not msgpack at all", "found no variables"),
        (serialization.msgpack_serialize({"a": np.zeros(3)})[:-1], "found no variables"),
        (serialization.msgpack_serialize([np.zeros(3)]), "found a list, expected a tree of var"),
        (serialization.msgpack_serialize({}), r"found nothing for batch_stats/.*expected float32"),
    ],
)
def test_what_is_not_a_tree_of_variables_is_refused(copy, data, message):
    _write_params(copy, data)
    assert _refused(copy, message).where == str(copy / "params.msgpack")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("identity"), r"nothing for identity/code, expected float32\[4\] by model"),
        (
            lambda v: v["identity"].update(code=np.zeros(5, np.float32)),
            r"found float32\[5\] for identity/code, expected float32\[4\] by model\.json",
        ),
        (
            lambda v: v["identity"].update(code=np.zeros(4, np.int32)),
            r"found int32\[4\] for identity/code, expected float32\[4\]",
        ),
        (lambda v: v["identity"].update(code="text"), "found a str for identity/code"),
        (lambda v: v["identity"].update(code=[1.0]), "found nothing for identity/code, expected"),
        (
            lambda v: v.update(optimiser={"mu": np.zeros((2, 3), np.float32)}),
            r"found float32\[2, 3\] for optimiser/mu, expected nothing by model\.json",
        ),
        pytest.param(
            lambda v: v["identity"].update(code=np.float32([0, 1, np.nan, 0])),
            "found NaN or infinity in identity/code, expected finite numbers",
            marks=pytest.mark.mistake(
                "exported models", "parameters of a training that diverged, NaN", "refused"
            ),
        ),
        (
            lambda v: v["identity"].update(code=np.float32([0, 1, -np.inf, 0])),
            "found NaN or infinity in identity/code",
        ),
    ],
)
def test_parameters_that_do_not_fit_are_refused(copy, change, message):
    variables = _variables(copy)
    change(variables)
    _write_params(copy, serialization.msgpack_serialize(variables))
    assert _refused(copy, message).where == str(copy / "params.msgpack")


@pytest.mark.mistake("exported models", "files of two exports in one folder", "refused")
def test_files_of_two_exports_are_refused(toy_model, copy, tmp_path):
    settings, model, variables = toy_model
    doubled = jax.tree.map(lambda x: 2 * x, variables)
    save_model(tmp_path / "other", doubled, model.template, settings, CONFIG)
    shutil.copy(tmp_path / "other" / "params.msgpack", copy)
    assert _refused(copy, "found damaged data").where == str(copy / "params.msgpack")


def test_settings_of_another_model_are_refused(copy):
    _write_settings(copy, skin_hidden=9)
    _refused(copy, r"params\.msgpack: found float32.* for params/identity_corrective/.*, expected")


def test_a_template_of_another_model_is_refused(copy):
    template = read_template(copy / "template.npz")
    other = dataclasses.replace(
        template,
        v_template=template.v_template[:-1],
        lbs_weights=template.lbs_weights[:-1],
        faces=np.minimum(template.faces, template.num_vertices - 2),
    )
    write_template(copy / "template.npz", other)
    _write_file(copy, "template.npz", (copy / "template.npz").read_bytes())
    _refused(copy, r"params\.msgpack: found float32.*_corrective/.*, expected float32")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"model\.json: found damaged JSON \(.*\), expected an exported model"),
        ('{"settings": ', "found damaged JSON"),
        ("\udcff", "found damaged JSON"),
        ("[]", "found JSON of a list, expected an exported model"),
        ("{}", "found no format, expected 'dhm hand model', an exported model"),
        ('{"params_sha256": ""}', "found KeyError 'settings', expected the settings depth, width"),
        ('{"settings": [], "params_sha256": ""}', "found TypeError"),
        ('{"settings": {}, "params_sha256": ""}', "found KeyError 'head_hidden'"),
        ('{"settings": {"head_hidden": 5}, "params_sha256": ""}', "found TypeError"),
        ('{"settings": {"head_hidden": [5], "deep": 1}, "params_sha256": ""}', "argument 'deep'"),
    ],
)
def test_a_damaged_description_is_refused(copy, text, message):
    (copy / "model.json").write_bytes(text.encode(errors="surrogateescape"))
    assert _refused(copy, message).where == str(copy / "model.json")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("depth", 19),
        ("depth", "18"),
        ("depth", [18]),
        ("width", 0),
        ("width", 4.0),
        ("width", 10**12),
        ("head_hidden", [8, -1]),
        ("head_hidden", "8"),
        ("imagenet_normalisation", 1),
        ("identity_size", True),
        ("skeleton_hidden", None),
        ("skin_hidden", float("nan")),
        ("pose_corrective_input", "some"),
        ("correctives", ["skin"]),
        ("stop_pose_gradient", 1),
    ],
)
def test_impossible_settings_are_refused(copy, name, value):
    _write_settings(copy, **{name: value})
    _refused(copy, rf"model\.json: found {name} = .*, expected a size that a network can have")


def test_any_flipped_byte_of_the_description_is_refused(copy):
    path, rng = copy / "model.json", np.random.default_rng(3)
    data = path.read_bytes()
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        _refused(copy, "found")


def test_the_folder_is_all_that_is_needed(copy, tmp_path):
    """Neither the training data nor what reads them; only the library and the four files."""
    program = f"""
import sys
import jax.numpy as jnp
from dhm.export.package import load_model
model, variables = load_model({str(copy)!r})
theta = model.apply(variables, jnp.zeros((1, 32, 32, 3), jnp.uint8), method="encode")
print(theta.shape)
wanted = ("tensorflow_datasets", "grain", "data_prep", "cv2", "igl", "dhm.data", "dhm.training")
print([name for name in wanted if name in sys.modules])
"""
    environment = {
        "PYTHONPATH": str(REPOSITORY),
        "PATH": os.environ["PATH"],
        "JAX_PLATFORMS": "cpu",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["(1, 28)", "[]"]
