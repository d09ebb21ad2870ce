import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from safetensors.numpy import save_file

from dhm.errors import BadInputError
from dhm.networks.pretrained import load_backbone
from dhm.networks.resnet import STAGES, Conv, ResNet, max_pool
from tests.references.resnet import resnet_features


def _torch_names(depth):
    """Names and shapes of torchvision's ResNet, from its paper rather than from our modules."""
    shapes = {"conv1.weight": (64, 3, 7, 7)}
    norms, channels = {"bn1": 64}, 64
    for stage, count in enumerate(STAGES[depth], start=1):
        width = 64 * 2 ** (stage - 1)
        out = width * 4 if depth >= 50 else width
        for block in range(count):
            name = f"layer{stage}.{block}"
            if depth >= 50:
                layers = [(width, channels, 1), (width, width, 3), (out, width, 1)]
            else:
                layers = [(width, channels, 3), (width, width, 3)]
            for i, (o, c, k) in enumerate(layers, start=1):
                shapes[f"{name}.conv{i}.weight"] = (o, c, k, k)
                norms[f"{name}.bn{i}"] = o
            if block == 0 and (stage > 1 or depth >= 50):
                shapes[f"{name}.downsample.0.weight"] = (out, channels, 1, 1)
                norms[f"{name}.downsample.1"] = out
            channels = out
    for name, size in norms.items():
        for key in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{key}"] = (size,)
    return shapes


def _random_tensors(depth):
    rng = np.random.default_rng(depth)
    tensors = {}
    for name, shape in _torch_names(depth).items():
        if len(shape) == 4:
            value = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
        elif name.endswith(("running_var", ".weight")):
            value = rng.uniform(0.3, 0.8, size=shape)
        else:
            value = rng.normal(size=shape) * 0.1
        tensors[name] = value.astype(np.float32)
    return tensors


def _variables(depth):
    shapes = jax.eval_shape(
        ResNet(depth).init, jax.random.key(0), jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    )
    return shapes["params"], shapes["batch_stats"]


@pytest.mark.parametrize("depth", [18, 50])
def test_torchvision_weights_give_the_features_of_an_independent_resnet(depth, tmp_path):
    tensors = _random_tensors(depth)
    save_file({**tensors, "fc.weight": np.zeros((10, 4), np.float32)}, tmp_path / "w.safetensors")
    params, stats = load_backbone(tmp_path / "w.safetensors", *_variables(depth))
    image = np.random.default_rng(0).normal(size=(33, 37, 3))
    ours = ResNet(depth).apply({"params": params, "batch_stats": stats}, jnp.float32(image[None]))
    expected = resnet_features(
        image.transpose(2, 0, 1), {k: v.astype(np.float64) for k, v in tensors.items()},
        STAGES[depth],
    )  # fmt: skip
    np.testing.assert_allclose(ours[0], expected, rtol=2e-3, atol=2e-3 * abs(expected).max())


@pytest.mark.parametrize("depth", sorted(STAGES))
def test_every_depth_has_torchvisions_tensors_and_no_others(depth):
    params, stats = _variables(depth)
    ours = sum(np.prod(x.shape) for x in jax.tree.leaves((params, stats)))
    assert ours == sum(np.prod(shape) for shape in _torch_names(depth).values())


@pytest.mark.parametrize("depth", [18, pytest.param(50, marks=pytest.mark.slow)])
def test_activations_in_bfloat16_leave_parameters_and_statistics_in_float32(depth):
    image = jnp.float32(np.random.default_rng(0).normal(size=(4, 48, 48, 3)))
    full, half = (ResNet(depth, width=16, dtype=dtype) for dtype in (jnp.float32, jnp.bfloat16))

    def train(variables):
        return half.apply(variables, image, True, mutable=["batch_stats"])[1]

    shapes = jax.eval_shape(half.init, jax.random.key(0), image)
    for tree in (shapes, jax.eval_shape(train, shapes)):
        assert {leaf.dtype for leaf in jax.tree.leaves(tree)} == {np.dtype(np.float32)}
    variables = jax.jit(full.init)(jax.random.key(0), image)
    expected, found = (jax.jit(resnet.apply)(variables, image) for resnet in (full, half))
    assert found.dtype == jnp.float32
    # bfloat16 keeps 8 bits: it was really used, and is the same network.
    assert 1e-4 < np.linalg.norm(found - expected) / np.linalg.norm(expected) < 0.05


@pytest.mark.parametrize("shape", [(2, 6, 8, 3), (1, 7, 5, 2), (1, 1, 4, 2), (3, 2, 1, 1)])
def test_maxima_and_their_gradient_are_those_of_a_padded_pooling(shape):
    def flax_pool(x):
        return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))

    rng = np.random.default_rng(0)
    x = jnp.float32(rng.permutation(np.prod(shape)).reshape(shape) - 7)  # no two alike
    expected, expected_pull = jax.vjp(flax_pool, x)
    pooled, pull = jax.vjp(max_pool, x)
    np.testing.assert_array_equal(pooled, expected)
    gradient = jnp.float32(rng.normal(size=pooled.shape))
    np.testing.assert_allclose(pull(gradient)[0], expected_pull(gradient)[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
def test_small_maps_have_the_convolution_and_gradients_of_xla(stride):
    rng = np.random.default_rng(0)
    x, kernel = (jnp.float32(rng.normal(size=s)) for s in ((2, 8, 7, 5), (3, 3, 5, 4)))
    conv = Conv(4, 3, stride)

    def ours(x, kernel):
        return conv.apply({"params": {"kernel": kernel}}, x)

    def xla(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), [(1, 1)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    expected, expected_pull = jax.vjp(xla, x, kernel)
    found, pull = jax.vjp(ours, x, kernel)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    gradient = jnp.float32(rng.normal(size=found.shape))
    for a, b in zip(pull(gradient), expected_pull(gradient), strict=True):
        np.testing.assert_allclose(a, b, atol=3e-5)


def test_published_parameter_count_of_resnet_50():
    params, _ = _variables(50)
    # torchvision documents 25,557,032 with a 2048 x 1000 classifier and its bias.
    assert sum(np.prod(x.shape) for x in jax.tree.leaves(params)) == 25_557_032 - 2_049_000


@pytest.mark.mistake(
    "pretrained weights",
    "a PyTorch file, tensors with other names, another first layer, NaN",
    "refused",
)
def test_bad_weight_files_are_refused(tmp_path):
    variables, path = _variables(18), tmp_path / "w.safetensors"
    with pytest.raises(BadInputError, match=r"w\.safetensors.*no such file"):
        load_backbone(path, *variables)
    for content in (
        b"\x08",
        b"",
        b"PK\x03\x04" + bytes(200),
        b"version https://git-lfs.github.com",
    ):
        path.write_bytes(content)
        with pytest.raises(BadInputError, match="safetensors file"):
            load_backbone(path, *variables)
    tensors = _random_tensors(18)
    for change, message in (
        ({"layer2.0.conv1.weight": None}, r"no tensor layer2\.0\.conv1\.weight"),
        ({"conv1.weight": np.zeros((64, 3, 3, 3), np.float32)}, r"conv1\.weight of shape"),
        ({"bn1.bias": np.full(64, np.nan, np.float32)}, r"bn1\.bias with NaN"),
    ):
        changed = {k: v for k, v in {**tensors, **change}.items() if v is not None}
        save_file(changed, path)
        with pytest.raises(BadInputError, match=message):
            load_backbone(path, *variables)


@pytest.mark.mistake("pretrained weights", "of another depth", "refused, with the first tensor")
def test_weights_of_another_depth_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    for found, depth, message in (
        (50, 18, r"layer1\.0\.conv1\.weight of shape"),
        (18, 34, r"no tensor layer1\.2\."),
        (34, 18, r"the tensor layer1\.2\..*expected those of config\.encoder\.depth"),
    ):
        save_file(_random_tensors(found), path)
        with pytest.raises(BadInputError, match=message):
            load_backbone(path, *_variables(depth))


def test_counters_of_batches_and_a_classifier_are_passed_over(tmp_path):
    more = {"layer1.0.bn1.num_batches_tracked": np.array(7), "fc.bias": np.zeros(1000, np.float32)}
    save_file(_random_tensors(18) | more, tmp_path / "w.safetensors")
    params, _ = load_backbone(tmp_path / "w.safetensors", *_variables(18))
    assert params["bn1"]["scale"].shape == (64,)


@pytest.mark.mistake("pretrained weights", "of half precision", "understood")
@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16])
def test_weights_of_half_precision_are_read(dtype, tmp_path):
    tensors = _random_tensors(18)
    half = {name: tensor.astype(dtype) for name, tensor in tensors.items()}
    save_file(half, tmp_path / "w.safetensors")
    params, _ = load_backbone(tmp_path / "w.safetensors", *_variables(18))
    assert params["bn1"]["scale"].dtype == np.float32
    np.testing.assert_allclose(params["bn1"]["scale"], tensors["bn1.weight"], rtol=1e-2)


@pytest.mark.mistake("pretrained weights", "beside another encoder.width", "refused")
def test_weights_of_another_width_are_refused(tmp_path):
    save_file(_random_tensors(18), tmp_path / "w.safetensors")
    shapes = jax.eval_shape(
        ResNet(18, width=8).init, jax.random.key(0), jax.ShapeDtypeStruct((1, 32, 32, 3), float)
    )
    with pytest.raises(BadInputError, match="of shape"):
        load_backbone(tmp_path / "w.safetensors", shapes["params"], shapes["batch_stats"])


@pytest.mark.mistake(
    "pretrained weights", "of a network for BGR, or with another normalisation than ImageNet's",
    "not noticed: names and shapes are the same",
)  # fmt: skip
def test_weights_for_bgr_look_like_others(tmp_path):
    tensors = _random_tensors(18)
    swapped = np.ascontiguousarray(tensors["conv1.weight"][:, ::-1])
    save_file(tensors | {"conv1.weight": swapped}, tmp_path / "w.safetensors")
    params, _ = load_backbone(tmp_path / "w.safetensors", *_variables(18))
    np.testing.assert_array_equal(params["conv1"]["kernel"], swapped.transpose(2, 3, 1, 0))
