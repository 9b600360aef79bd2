"""MedSegDiff: published sizes and outputs of both versions, what learns by what."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax import models, weights
from irstd_jax.models import unet
from irstd_jax.models.generative import calibration
from irstd_jax.weights import engine

TOY = dict(
    image_channels=1,
    channels=8,
    channel_mult=(1, 1),
    num_res_blocks=1,
    attention_downsamplings=(),
    groups=2,
    encoder_widths=(2, 4, 4),
)
V1 = TOY | dict(
    channels=4, channel_mult=(1, 1, 1), encoder_widths=(3, 4), highway_size=(8, 12)
)
KEY = jax.random.key(0)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def data(h, w, b=2, c=1):
    return normal(b, h, w, c), normal(b, h, w, 1, seed=1), jnp.arange(b) * 30 + 5


# --- the published configuration ------------------------------------------------------


def test_published_size(one_table, parameters):
    entries = weights.table("medsegdiff")
    assert (len(entries), parameters(entries)) == (559, 129_400_450)


def test_published_size_of_the_first_version(count, one_table, parameters):
    """The U-Net is that of the second; its own part sees four of its features."""
    unet = [e for e in weights.table("medsegdiff") if e.path[1] == "unet"]
    image, widths = jnp.zeros((1, 256, 256, 3)), (128, 128, 256, 256)
    seen = [jnp.zeros((1, 128 >> d, 128 >> d, w)) for d, w in enumerate(widths)]
    encoder = calibration.CalibrationUNet()
    shapes = jax.eval_shape(
        lambda *x: encoder.init(KEY, x[0], highway=x[1:]), image, *seen
    )
    assert count(shapes["params"]) == 16_854_596
    assert parameters(unet) + 16_854_596 == 130_527_814


@pytest.fixture(scope="module")
def reference(golden_root, seeded, one_table):
    """What we compute and what the authors' code computed, of the same weights."""
    fixture = seeded.load("medsegdiff", golden_root)
    network = models.build("medsegdiff")
    variables = weights.convert("medsegdiff", seeded.state_dict(fixture))

    @jax.jit
    def run(variables, image, x_t, t):
        anchors, logits = network.apply(variables, image, method="condition")
        given = x_t, t, image, anchors
        output = network.apply(variables, *given, method="denoise")
        return anchors, logits, jax.nn.sigmoid(logits), output

    x = fixture["in/x"].transpose(0, 2, 3, 1)
    t = jnp.asarray(fixture["in/t"], jnp.int32)
    anchors, logits, probability, output = run(variables, x[..., :3], x[..., 3:], t)
    mine = {
        "anchor_0_every2nd": anchors[:1, ..., :32:2],
        "anchor_1_every4th": anchors[:1, ..., 64::4],
        "calibration_logit": logits,
        "calibration": probability,
        "eps": output[..., :1],
        "variance": output[..., 1:],
    }
    return mine, fixture


def test_reference_output(reference, agrees):
    mine, fixture = reference
    assert {f"out/{name}" for name in mine} == {n for n in fixture if n[:4] == "out/"}
    for name, output in mine.items():
        agrees(output, fixture[f"out/{name}"])


def test_reference_output_of_the_first_version(golden_root, seeded, agrees):
    """Its encoder alone, by the features that its U-Net would give."""
    fixture = seeded.load("medsegdiff_v1_highway", golden_root)
    image, *seen = (
        fixture[name].transpose(0, 2, 3, 1)
        for name in ("in/image", *sorted(n for n in fixture if n[:6] == "in/hs_"))
    )
    fields = {"highway_size": image.shape[1:3], "bridge": "random"}
    entries = [
        e for e in weights.table("medsegdiff_v1", **fields) if e.path[1] == "encoder"
    ]
    variables = engine.convert(entries, seeded.state_dict(fixture))
    variables = {kind: tree["encoder"] for kind, tree in variables.items()}

    @jax.jit
    def run(variables, image, seen):
        (_, bottom, logits), state = calibration.CalibrationUNet().apply(
            variables,
            image,
            highway=seen,
            capture_intermediates=lambda module, _: module.name == "filter_0",
            mutable=["intermediates"],
        )
        parsed = state["intermediates"]["filter_0"]["__call__"][0]
        return {
            "ffparser_0": parsed[:1],
            "bottleneck": bottom,
            "calibration_logit": logits,
        }

    mine = run(variables, image, seen)
    assert {f"out/{name}" for name in mine} == {n for n in fixture if n[:4] == "out/"}
    for name, output in mine.items():
        agrees(output, fixture[f"out/{name}"])


# --- the encoder ----------------------------------------------------------------------


def test_whole_channels_fall_out():
    """Each image its own; the others are enlarged, so that the mean stays."""
    x = jnp.ones((4, 3, 3, 2))
    unit, keys = calibration.Unit(64, dropout=0.5), jax.random.split(KEY, 4)
    seen = {}

    def batch_norm(train, dtype, axis):
        return lambda x: seen.setdefault("x", x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "batch_norm", batch_norm)
        variables = unit.init(KEY, x)
        seen.clear()
        unit.apply(variables, x)
        plain = seen.pop("x")
        unit.apply(variables, x, True, keys)
    ratio = np.asarray(seen["x"] / plain).round(3)
    assert set(np.unique(ratio)) == {0.0, 2.0}
    assert (ratio == ratio[:, :1, :1]).all()
    kept = (ratio > 0).mean((1, 2, 3))
    assert np.abs(kept - 0.5).max() < 0.25 and len(set(map(tuple, ratio[:, 0, 0]))) == 4


@pytest.fixture(scope="module")
def toy(randomised):
    network = models.build("medsegdiff", **TOY)
    return network, randomised(network, *data(16, 16))


@pytest.fixture(scope="module")
def halves(toy):
    """A compiled (image, x_t, t, added) -> anchors, logits, output."""
    network, variables = toy

    @jax.jit
    def run(image, x_t, t, added):
        anchors, logits = network.apply(variables, image, method="condition")
        given = x_t, t, image, anchors + added
        return anchors, logits, network.apply(variables, *given, method="denoise")

    return run


def test_what_the_anchors_are(halves):
    image, x_t, t = data(13, 15)
    anchors, logits, output = halves(image, x_t, t, 0.0)
    assert anchors.shape == (2, 16, 16, 8)
    np.testing.assert_array_equal(anchors[..., :2], anchors[..., 2:4])
    assert logits.shape == (2, 13, 15, 1) and output.shape == (2, 13, 15, 2)
    assert np.abs(output - halves(image, x_t, t, 1.0)[2]).max() > 1e-3


class FirstChannels(nn.Module):
    """Stands for the U-Net: says what is added to its first convolution."""

    def __call__(self, x, t, stem=None):
        return stem[..., :2]


@pytest.mark.parametrize("detach", [True, False])
def test_what_the_denoiser_teaches_the_encoder(monkeypatch, detach):
    monkeypatch.setattr(unet, "UNet", lambda *args, **fields: FirstChannels())
    image, x_t, t = data(16, 16)
    network = models.build("medsegdiff", **TOY, detach_condition=detach)

    def total(anchors):
        given = x_t, t, image, anchors
        return network.apply({}, *given, method="denoise").sum()

    slopes = jax.grad(total)(jnp.ones((2, 16, 16, 8)))
    assert (slopes != 0).sum() == (0 if detach else 2 * 16 * 16 * 2)


def test_training_wants_keys(toy):
    network, variables = toy
    image = data(16, 16)[0]
    with pytest.raises(ValueError, match="dropout in training needs keys"):
        jax.eval_shape(
            lambda v: network.apply(
                v, image, True, method="condition", mutable=["batch_stats"]
            ),
            variables,
        )


# --- the first version ----------------------------------------------------------------


def test_the_highway_depends_on_all_and_gives_a_map(randomised):
    """With the random bridge too: its weights are the same in every call."""
    network = models.build("medsegdiff_v1", **V1, bridge="random")
    image, x_t, t = data(7, 12)
    variables = randomised(network, image, x_t, t)
    assert set(variables["params"]) == {"unet", "encoder"}
    run = jax.jit(lambda *x: network.apply(variables, *x)[0])
    output = run(image, x_t, t)
    assert output.shape == (2, 7, 12, 3)
    for changed in ((image + 1, x_t, t), (image, x_t + 1, t), (image, x_t, t + 40)):
        difference = np.abs(run(*changed) - output).max((0, 1, 2))
        assert (difference > 1e-5).all()


def test_a_learnt_bridge_is_a_parameter():
    network = models.build("medsegdiff_v1", **V1)
    shapes = jax.eval_shape(network.init, KEY, *data(8, 12))["params"]
    assert shapes["widen"]["kernel"].shape == (1, 1, 4, 4)
    assert network.apply({}, data(8, 12)[0], method="condition") == (None, None)


@pytest.mark.parametrize(
    "fields, words",
    [
        (TOY | {"encoder_widths": (4, 4, 4)}, "must make channels=8"),
        (TOY | {"encoder_widths": (2, 4)}, "must be three or more"),
        (TOY | {"image_channels": 3}, "image_channels=3, but"),
        (V1 | {"highway": True, "bridge": "none"}, "unknown bridge 'none'"),
        (V1 | {"highway": True, "channel_mult": (1, 1)}, "want 1 encoder_widths"),
        (V1 | {"highway": True, "highway_size": (8, 10)}, "must divide by 4"),
        (V1 | {"highway": True, "highway_size": (8, 8)}, "images of 16x16, but the"),
    ],
)
def test_what_cannot_work_is_refused(fields, words):
    network = models.build("medsegdiff", **fields)
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(network.init, KEY, *data(16, 16))
