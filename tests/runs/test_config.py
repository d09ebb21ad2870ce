import importlib

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from configs import default
from data_prep.toy.hand import make_toy_template
from dhm.errors import BadInputError
from dhm.formats.json_file import flat_fields
from dhm.losses.objective import ObjectiveSettings
from dhm.networks.build import ModelSettings, build_model
from dhm.runs import config as configuration
from dhm.runs.config import (
    check_config,
    encoder_dtype,
    loop_settings,
    model_settings,
    objective_settings,
    require_used,
    schedule,
    steps_per_epoch,
)
from tests.conftest import REPOSITORY

CONFIGS = sorted(
    path.stem for path in (REPOSITORY / "configs").glob("*.py") if path.stem != "__init__"
)
INF, NAN = float("inf"), float("nan")
# Values that every field's rule has to refuse.
BAD = {
    "subject": [-1, 2**32],
    "dataset": ["", "stb"],
    "studio.frames": [-1],
    "studio.test_frames": [0],
    "studio.frame_step": [0],
    "studio.cameras": [0],
    "studio.pictures": [0],
    "studio.depth_maps": ["some", ""],
    "studio.depth_shrink": [0, 3],
    "studio.scans": ["none"],
    "studio.resolution_mm": [0.0, NAN, INF],
    "studio.varied": ["yes"],
    "studio.subjects": [(1, 1), (-1,), (1.5,), ("1",)],
    "studio.depth_noise_mm": [-0.1, NAN, INF],
    "studio.joint_noise_mm": [-0.1, INF],
    "studio.template": ["tiny"],
    "studio.seed": [-1, 2**32],
    "data.image_size": [31, 0, -256],
    "data.test_sequences": ["(", "a**", ("RT", ""), ["RT", 3], 7, "['a', 'b']", '["a"]', "0001*"],
    "data.train_sequences": ["[", ("",), [None]],
    "encoder.depth": [49, 0, -18],
    "encoder.width": [0, -1],
    "encoder.head_hidden": [(), (512, 0), (512.0,), ("512",), (-1,)],
    "decoder.skeleton_hidden": [0],
    "decoder.skin_hidden": [0],
    "decoder.pose_corrective_input": ["", "everything"],
    "decoder.correctives": [("skin",), "pose"],
    "decoder.stop_pose_gradient": ["no", 2],
    "decoder.kind": ["", "mano"],
    "loss.joint": [-1e-9, NAN, INF],
    "loss.depth": [-1.0, NAN],
    "loss.penetration": [-1.0, NAN],
    "loss.laplacian": [-1.0, INF],
    "loss.non_rigid": [-5.0, NAN],
    "loss.skeleton": [-0.1, NAN],
    "loss.depth_reduction": ["mean", ""],
    "loss.penetration_reduction": ["image", ""],
    "loss.rest_overlap": ["free", ""],
    "train.seed": [-1, 2**32],
    "train.batch_size": [0, -32],
    "train.num_views": [0],
    "train.mesh_samples": [-1],
    "train.mesh_pose": ["", "true"],
    "train.encoder_dtype": ["", "float16"],
    "train.epochs": [0],
    "train.optimiser": ["", "sgd"],
    "train.learning_rate": [0.0, -1e-4, NAN, INF],
    "train.lr_drop_epochs": [(32, 30), (30, 30), (-1,), (1.5,), ("30",)],
    "train.warmup_steps": [-1],
    "train.lr_decay": ["", "linear"],
    "train.checkpoint_every_epochs": [0],
    "train.keep_checkpoints": [0],
    "train.log_every": [0],
    "augment.rotation_deg": [-1.0, 181.0, NAN],
    "augment.scale": [-0.1, 0.6, NAN],
    "augment.shift": [-0.1, 0.6],
    "augment.brightness": [-0.1, 1.1, INF],
    "augment.contrast": [-0.1, 1.1, NAN],
    "augment.gamma": [-0.1, 2.1],
    "augment.channel_gain": [-0.1, 1.1],
    "augment.saturation": [-0.1, 1.1],
    "augment.hue_deg": [-1.0, 181.0],
    "augment.blur_px": [-0.1, 65.0, INF],
    "augment.motion_px": [-0.1, 65.0],
    "augment.jpeg": [-0.1, 1.1],
    "augment.occlusion": [-0.1, 1.1],
    "augment.background": [-0.1, 1.1, NAN],
    "input.num_threads": [-1],
    "input.prefetch_batches": [-1],
    "input.damaged_share": [-0.01, 1.1, NAN],
    "eval.batch_size": [0],
    "eval.mesh_stride": [0],
    "eval.details_stride": [-1],
    "export.num_poses": [-1],
    "profile.steps": [(3,), (5, 4), (-1, 4), (1, 2, 3), ("a", "b"), (0.5, 2)],
}
GOOD = {
    "subject": [0, 2**32 - 1],
    "data.test_sequences": [
        "RT$",
        "[ab]",
        "0001.*",
        "0001|[0-9]",
        ("0001_RT_fist", "0002_RT_wave"),
        ["a"],
    ],
    "encoder.depth": [18, 34, 50, 101, 152],
    "encoder.head_hidden": [(512, 512)],
    "decoder.pose_corrective_input": ["all"],
    "decoder.correctives": [(), ("identity", "pose")],
    "decoder.kind": ["linear"],
    "loss.penetration": [0.0],
    "loss.depth_reduction": ["image"],
    "loss.penetration_reduction": ["sum"],
    "loss.rest_overlap": ["allowed"],
    "train.lr_drop_epochs": [(), (0,), (1, 2, 3)],
    "input.num_threads": [0],
    "export.num_poses": [0],
    "profile.steps": [(0, 0), (10, 12)],
}


def _with(key, value) -> ConfigDict:
    config = default.get_config()
    *parents, name = key.split(".")
    node = config
    for parent in parents:
        node = node[parent]
    with config.ignore_type():
        node[name] = value
    return config


def _cases(table):
    return [(key, value) for key, values in table.items() for value in values]


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_passes(name):
    config = importlib.import_module(f"configs.{name}").get_config()
    check_config(config, num_devices=1)
    if name.startswith("subject"):
        assert name == f"subject{config.subject}"


@pytest.mark.parametrize("name", ["paper", "released"])
def test_the_presets_build_a_model(name):
    config = importlib.import_module(f"configs.{name}").get_config()
    settings = model_settings(config)
    model = build_model(make_toy_template(200), settings)
    keys = {"params": jax.random.key(0), "identity": jax.random.key(1)}
    image = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)
    params = jax.eval_shape(model.init, keys, image)["params"]
    head = params["encoder"]["head"]
    assert len(head) == len(settings.head_hidden) + 1
    skeleton = params["skeleton_corrective"]["Dense_0"]["kernel"]
    assert skeleton.shape == (32, config.decoder.skeleton_hidden)
    num_inputs = {"enabled": 28, "all": 66}[settings.pose_corrective_input]
    assert params["pose_corrective"]["Dense_0"]["kernel"].shape[0] == num_inputs


def test_the_released_code_differs_from_the_paper_in_these():
    paper, released = (
        flat_fields(importlib.import_module(f"configs.{name}").get_config().to_dict())
        for name in ("paper", "released")
    )
    assert {key: value for key, value in released.items() if value != paper[key]} == {
        "encoder.head_hidden": (512, 512),
        "decoder.skeleton_hidden": 64,
        "decoder.pose_corrective_input": "all",
        "loss.depth_reduction": "image",
        "loss.penetration_reduction": "mean",
    }


def test_there_are_the_promised_configs():
    assert {"default", "demo", "subject1", "subject2", "subject3", "subject4", "tiny"} <= {*CONFIGS}


@pytest.mark.parametrize(("samples", "devices"), [(5, 1), (64, 1), (5, 8), (12, 8)])
@pytest.mark.mistake(
    "train",
    "mesh_samples that do not divide the batch or the devices",
    "refused, with the number of devices",
)
def test_mesh_samples_divide_the_batch_and_the_devices(samples, devices):
    config = _with("train.mesh_samples", samples)
    config.train.batch_size = 48 if samples == 12 else 32
    with pytest.raises(
        BadInputError, match=rf"mesh_samples: found {samples}, expected 0, or a div"
    ):
        check_config(config, devices)
    check_config(_with("train.mesh_samples", 16), 4)


@pytest.mark.parametrize(
    ("samples", "devices", "stride"), [(0, 4, 1), (8, 1, 4), (8, 4, 4), (2, 4, 8), (1, 16, 2)]
)
def test_every_device_draws_its_share_of_the_meshes_and_at_least_one(samples, devices, stride):
    config = _with("train.mesh_samples", samples)
    check_config(config, devices)
    assert configuration.mesh_stride(config, devices) == stride


def test_every_field_has_a_rule_and_every_rule_a_test():
    assert BAD.keys() == configuration._RULES.keys()
    fields = flat_fields(default.get_config().to_dict())
    assert fields.keys() == BAD.keys() | configuration._PATHS.keys()


@pytest.mark.parametrize(("key", "value"), _cases(BAD))
def test_an_impossible_value_is_refused_by_name(key, value):
    with pytest.raises(BadInputError) as refusal:
        check_config(_with(key, value), 1)
    expected = configuration._RULES[key].expected
    found = repr(list(value) if isinstance(value, list) else value)
    assert str(refusal.value) == f"config.{key}: found {found}, expected {expected}"


@pytest.mark.parametrize("key", list(BAD))
def test_none_is_not_a_value(key):
    with pytest.raises(BadInputError, match=f"config.{key}: found None"):
        check_config(_with(key, None), 1)


@pytest.mark.parametrize(("key", "value"), _cases(GOOD))
def test_a_possible_value_passes(key, value):
    check_config(_with(key, value), 1)


@pytest.mark.parametrize("key", ["train.batchsize", "epochs", "report.title"])
def test_a_mistyped_field_is_refused(key):
    """A config file that sets one would otherwise be obeyed in silence, and change nothing."""
    config = default.get_config()
    if key.startswith("report"):
        config.report = ConfigDict()
    *parents, name = key.split(".")
    (config[parents[0]] if parents else config)[name] = 3
    with pytest.raises(BadInputError, match=f"config.{key}: found a field that nothing reads"):
        check_config(config, 1)


def test_a_missing_field_is_refused():
    config = default.get_config()
    del config.eval.mesh_stride
    with pytest.raises(BadInputError, match=r"config\.eval\.mesh_stride: found no such field"):
        check_config(config, 1)


@pytest.mark.mistake(
    "train", "a batch that does not divide by the devices", "refused, with their number"
)
def test_a_batch_that_does_not_divide_by_the_devices_is_refused():
    config = _with("train.batch_size", 30)
    check_config(config, 3)
    with pytest.raises(
        BadInputError, match=r"config\.train\.batch_size: found 30, expected a multiple of the 4"
    ):
        check_config(config, 4)


@pytest.mark.mistake(
    "train, a trained decoder", "without the joint loss, by which alone it learns", "refused"
)
def test_an_encoder_learns_by_the_joint_loss_or_not_at_all():
    config = _with("decoder.trained", "runs/demo/export")
    check_config(config)
    config.loss.joint = 0.0
    with pytest.raises(
        BadInputError, match=r"config\.loss\.joint: found 0\.0, expected more, as an"
    ):
        check_config(config)


@pytest.mark.parametrize(
    ("settings", "unused", "learned"),
    [
        ({"decoder.trained": "x"}, "loss.depth", "an encoder alone"),
        ({"decoder.trained": "x"}, "decoder.skin_hidden", "an encoder alone"),
        ({"decoder.trained": "x"}, "train.mesh_pose", "an encoder alone"),
        ({"decoder.kind": "linear"}, "decoder.correctives", "a fixed linear decoder"),
        ({}, "mano.path", "an encoder and its decoder"),
        ({"capture": "c"}, "studio.frames", "the data are those of c, not the studio's"),
        ({"prepared": "p"}, "studio.cameras", "the data are those of p, not the studio's"),
        ({"prepared": "p"}, "dataset", "the records of p are made already"),
        ({"train.lr_decay": "cosine"}, "train.lr_drop_epochs", "follows a cosine"),
        ({"augment.blur_px": 1.0}, "augment.backgrounds", "no picture gets any"),
    ],
)
def test_a_setting_without_effect_is_refused_if_it_is_asked_for(settings, unused, learned):
    config = default.get_config()
    config.update_from_flattened_dict(settings)
    require_used(config, ["train.epochs", "loss.joint", *settings])
    with pytest.raises(BadInputError, match=f"config.{unused}: found a setting without.*{learned}"):
        require_used(config, ["train.epochs", unused])


@pytest.mark.mistake(
    "backgrounds",
    "config.augment.backgrounds without background or occlusion",
    "refused: a setting without effect",
)
def test_backgrounds_that_nothing_draws_are_refused_if_they_are_asked_for(tmp_path):
    config = default.get_config()
    config.augment.backgrounds = str(tmp_path)
    with pytest.raises(
        BadInputError, match=r"config\.augment\.backgrounds: .*augment.background, config"
    ):
        require_used(config, ["augment.backgrounds"])
    config.augment.occlusion = 0.2
    require_used(config, iter(["augment.backgrounds"]))


@pytest.mark.mistake("config.capture", "a folder that is not there, or a file", "refused")
@pytest.mark.parametrize(("key", "kind"), [("capture", "folder"), ("encoder.weights", "file")])
def test_a_path_that_does_not_exist_is_refused(key, kind, tmp_path):
    missing = tmp_path / "missing"
    with pytest.raises(BadInputError) as refusal:
        check_config(_with(key, str(missing)), 1)
    assert str(refusal.value) == f"config.{key}: found {missing}, expected an existing {kind}"
    right, wrong = tmp_path / "folder", tmp_path / "file"
    right.mkdir()
    wrong.touch()
    if kind == "file":
        right, wrong = wrong, right
    check_config(_with(key, str(right)), 1)
    with pytest.raises(BadInputError, match=f"an existing {kind}"):
        check_config(_with(key, str(wrong)), 1)


def test_the_paper_s_networks():
    assert model_settings(default.get_config()) == ModelSettings(
        depth=50,
        width=64,
        head_hidden=(512,),
        imagenet_normalisation=False,
        identity_size=32,
        skeleton_hidden=256,
        skin_hidden=256,
        pose_corrective_input="enabled",
        correctives=("skeleton", "identity", "pose"),
        stop_pose_gradient=True,
    )


def test_every_field_of_the_networks_reaches_its_setting():
    values = {
        "encoder.depth": 34,
        "encoder.width": 16,
        "encoder.head_hidden": (7, 8),
        "encoder.weights": "resnet.safetensors",
        "decoder.skeleton_hidden": 4,
        "decoder.skin_hidden": 5,
        "decoder.pose_corrective_input": "all",
        "decoder.correctives": ("identity",),
        "decoder.stop_pose_gradient": False,
    }
    config = default.get_config()
    config.update_from_flattened_dict(values)
    # Pretrained weights bring their normalisation along.
    assert model_settings(config) == (
        34, 16, (7, 8), True, 32, 4, 5, "all", ("identity",), False
    )  # fmt: skip


def test_every_field_of_the_objective_reaches_its_setting():
    config = default.get_config()
    assert objective_settings(config) == ObjectiveSettings(
        joint=1.0,
        depth=1.0,
        penetration=1.0,
        laplacian=5.0,
        non_rigid=5.0,
        skeleton=0.1,
        depth_reduction="foreground",
        penetration_reduction="mean",
        depth_beta=1.0,
        rest_overlap="counts",
    )
    config.loss.update(joint=2.0, depth=3.0, penetration=4.0, laplacian=6.0, non_rigid=7.0)
    config.loss.skeleton = 8.0
    config.loss.update(depth_reduction="image", penetration_reduction="sum")
    config.loss.rest_overlap = "allowed"
    expected = (2.0, 3.0, 4.0, 6.0, 7.0, 8.0, "image", "sum", 1.0, "allowed")
    assert objective_settings(config) == expected


@pytest.mark.parametrize(
    ("num_train", "steps"), [(320, 10), (351, 10), (352, 11), (32, 1), (31, 1), (1, 1)]
)
def test_whole_batches_make_an_epoch_and_there_is_always_one(num_train, steps):
    config = default.get_config()
    assert config.train.batch_size == 32
    assert steps_per_epoch(config, num_train) == steps
    assert loop_settings(config, num_train).steps_per_epoch == steps


def test_the_encoder_calculates_in_bfloat16_where_that_is_fast():
    config = default.get_config()
    assert [encoder_dtype(config, x) for x in ("cpu", "gpu")] == [jnp.float32, jnp.bfloat16]
    config.train.encoder_dtype = "float32"
    assert encoder_dtype(config, "gpu") == jnp.float32


def test_the_learning_rate_drops_twice_by_ten():
    rate = schedule(default.get_config(), num_train=10 * 32 + 5)
    expected = {0: 1e-4, 29: 1e-4, 30: 1e-5, 31: 1e-5, 32: 1e-6, 34: 1e-6}
    for epoch, value in expected.items():
        for step in (10 * epoch, 10 * epoch + 9):
            assert float(rate(step)) == pytest.approx(value, rel=1e-5), step


def test_the_learning_rate_of_other_settings():
    config = default.get_config()
    config.train.update(learning_rate=1e-3, lr_drop_epochs=(2,), batch_size=4)
    rate = schedule(config, num_train=3)
    assert [float(rate(step)) for step in range(4)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])
    config.train.lr_drop_epochs = ()
    assert float(schedule(config, 3)(10**6)) == pytest.approx(1e-3)


def test_a_cosine_falls_from_the_learning_rate_to_nothing():
    config = default.get_config()
    config.train.update(learning_rate=2e-3, lr_decay="cosine", epochs=4, batch_size=4)
    rate = schedule(config, num_train=40)
    expected = {0: 2e-3, 10: 1e-3 * (1 + 0.5**0.5), 20: 1e-3, 40: 0.0}
    for step, value in expected.items():
        assert float(rate(step)) == pytest.approx(value, abs=1e-9), step


@pytest.mark.parametrize("decay", ["drops", "cosine"])
def test_a_warm_up_grows_evenly_and_changes_nothing_after_it(decay):
    config = default.get_config()
    config.train.lr_decay = decay
    cold = schedule(config, num_train=320)
    config.train.warmup_steps = 5
    warm = schedule(config, num_train=320)
    factors = [float(warm(step) / cold(step)) for step in (0, 1, 3, 4, 5, 100)]
    assert factors == pytest.approx([0.2, 0.4, 0.8, 1, 1, 1])


def test_the_loop_s_numbers():
    config = default.get_config()
    config.train.update(epochs=5, batch_size=8, checkpoint_every_epochs=2, keep_checkpoints=4)
    config.train.log_every = 7
    config.profile.steps = (3, 9)
    settings = loop_settings(config, num_train=100)
    assert settings._asdict() == {
        "num_steps": 60,
        "steps_per_epoch": 12,
        "batch_size": 8,
        "checkpoint_every_epochs": 2,
        "keep_checkpoints": 4,
        "log_every": 7,
        "profile_steps": (3, 9),
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [("train.learning_rate", "1e-4"), ("train.epochs", "35"), ("encoder.head_hidden", 512),
     ("profile.steps", 3), ("augment.scale", "0.1")],
)  # fmt: skip
@pytest.mark.mistake(
    "config files", "a number as a text, or for a list, under ignore_type", "refused"
)
def test_values_of_another_type_are_refused(key, value):
    with pytest.raises(BadInputError, match=rf"config\.{key}: found {value!r}, expected "):
        check_config(_with(key, value), 1)


def test_settings_of_the_data_take_effect_where_they_are_used():
    config = default.get_config()
    config.augment.occlusion = 0.1
    require_used(config, ["studio.frames", "augment.backgrounds", "train.lr_drop_epochs"])
    config.capture = config.prepared = "x"
    require_used(config, ["dataset"])
