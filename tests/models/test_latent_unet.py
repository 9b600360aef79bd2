import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax import models, weights
from irstd_jax.models import latent_unet

TOY = dict(
    channels=8,
    channel_mult=(1, 2),
    num_res_blocks=1,
    attention_downsamplings=(2,),
    head_width=8,
    context_dim=6,
    groups=4,
)
SMALL = dict(  # of the fixture, see its README
    channels=32,
    channel_mult=(1, 2, 4),
    attention_downsamplings=(2, 1),
    head_width=16,
    context_dim=24,
)
KEY = jax.random.key(0)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def unet(**fields):
    return models.build("latent_unet", **(TOY | fields))


def control_net(**fields):
    return models.build("control_net", **(TOY | fields))


def compiled(unet, control_net):
    """(controls, eps, eps without) = f(both variables, z, hint, t, context)."""

    @jax.jit
    def run(of_unet, of_control, z, hint, t, context):
        controls = control_net.apply(of_control, z, hint, t, context)
        eps = unet.apply(of_unet, z, t, context, controls)
        return controls, eps, unet.apply(of_unet, z, t, context)

    return run


# --- the published configuration ---------------------------------------------


@pytest.fixture(scope="module")
def published():
    """{name: (network, shapes of its variables, its inputs)} at 64x64 latents."""
    z, t, context = jnp.zeros((1, 64, 64, 4)), jnp.zeros(1), jnp.zeros((1, 77, 1024))
    inputs = {"latent_unet": (z, t, context), "control_net": (z, z, t, context)}
    return {
        name: (
            models.build(name),
            jax.eval_shape(models.build(name).init, KEY, *given),
            given,
        )
        for name, given in inputs.items()
    }


def test_published_size(published, count):
    assert count(published["latent_unet"][1]) == 865_910_724
    assert count(published["control_net"][1]) == 363_153_280


@pytest.mark.parametrize("name, gmac", [("latent_unet", 402), ("control_net", 135)])
def test_published_cost(published, macs, name, gmac):
    network, variables, inputs = published[name]
    assert round(macs(network.apply, variables, *inputs) / 1e9) == gmac


def test_published_controls_fit_the_skips(published):
    network, variables, inputs = published["control_net"]
    controls = jax.eval_shape(network.apply, variables, *inputs)
    channels = [control.shape[-1] for control in controls]
    assert channels == [320] * 4 + [640] * 3 + [1280] * 6
    network, variables, inputs = published["latent_unet"]
    eps = jax.eval_shape(network.apply, variables, *inputs, controls)
    assert eps.shape == inputs[0].shape and eps.dtype == jnp.float32


@pytest.fixture(scope="module")
def reference(golden_root, seeded):
    """What we compute and what the authors' code computed, of the same weights."""
    fixture = seeded.load("latent_unet_control_small", golden_root)
    state_dict, names = seeded.state_dict(fixture), ("latent_unet", "control_net")
    variables = [weights.convert(name, state_dict, **SMALL) for name in names]
    z, hint = (
        jnp.asarray(fixture[f"in/{name}"].transpose(0, 2, 3, 1))
        for name in ("latent", "hint")
    )
    inputs = z, hint, jnp.asarray(fixture["in/t"], jnp.int32), fixture["in/context"]
    run = compiled(*(models.build(name, **SMALL) for name in names))
    controls, eps, nocontrol = run(*variables, *inputs)
    mine = {f"control_{i}": control for i, control in enumerate(controls)}
    return mine | {"eps": eps, "eps_nocontrol": nocontrol}, fixture


def test_reference_output(reference):
    mine, fixture = reference
    given = {name[4:] for name in fixture if name.startswith("out/")}
    assert set(mine) == given
    for name in given:
        expected, found = fixture[f"out/{name}"], mine[name].transpose(0, 3, 1, 2)
        atol = 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol, err_msg=name)


# --- small ones -----------------------------------------------------------------

INPUTS = (
    normal(2, 4, 6, 4),
    normal(2, 4, 6, 4, seed=1),
    jnp.array([3, 870]),
    normal(2, 5, 6, seed=2),
)


@pytest.fixture(scope="module")
def toys(randomised):
    """Variables of both networks."""
    z, hint, t, context = INPUTS
    return randomised(unet(), z, t, context), randomised(control_net(), *INPUTS)


@pytest.fixture(scope="module")
def run():
    return compiled(unet(), control_net())


def test_outputs_depend_on_every_input_of_the_same_image_alone(run, toys):
    def outputs(inputs):
        controls, eps, _ = run(*toys, *inputs)
        return [*controls, eps]

    before = outputs(INPUTS)
    # The first convolution sees z and hint; only level 1, behind it, asks the context.
    for i, first in enumerate((0, 0, 1, 3)):
        changed = list(INPUTS)
        change = 100 * normal(*INPUTS[i].shape[1:], seed=3)
        changed[i] = INPUTS[i].at[0].add(change.astype(INPUTS[i].dtype))
        after = outputs(changed)
        change = [
            np.abs(a - b).max((1, 2, 3)) for a, b in zip(after, before, strict=True)
        ]
        assert all(c[1] < 1e-5 for c in change)
        assert all(c[0] > 1e-3 for c in change[first:])
        assert all(c[0] == 0 for c in change[:first])


@pytest.fixture(scope="module")
def start(toys):
    """A control branch as it starts from the toy U-Net."""
    shapes = jax.eval_shape(control_net().init, KEY, *INPUTS)["params"]
    return latent_unet.control_from_unet(toys[0]["params"], shapes)


def test_control_from_a_unet_changes_nothing_at_first(run, toys, start):
    controls, eps, nocontrol = run(toys[0], {"params": start}, *INPUTS)
    assert not any(np.any(control) for control in controls)
    # Exactly, but for the two being fused differently by the compiler.
    np.testing.assert_allclose(eps, nocontrol, rtol=0, atol=1e-6)


def test_control_from_a_unet_is_its_encoder_blind_to_the_hint(run, toys, start):
    """Seen through identities in place of the zero convolutions."""
    params = {"encoder": start["encoder"]} | {
        name: zero | {"kernel": np.eye(len(zero["bias"]), dtype=np.float32)[None, None]}
        for name, zero in start.items()
        if name != "encoder"
    }
    controls = run(toys[0], {"params": params}, *INPUTS)[0]
    z, _, t, context = INPUTS
    encoder = latent_unet.Encoder(**TOY)
    of_unet = {"params": toys[0]["params"]["encoder"]}
    skips, middle, _ = jax.jit(encoder.apply)(of_unet, z, t, context)
    for control, feature in zip(controls, [*skips, middle], strict=True):
        np.testing.assert_allclose(control, feature, atol=1e-4)


def test_control_from_another_unet_is_refused(toys):
    def start(**fields):
        shapes = jax.eval_shape(control_net(**fields).init, KEY, *INPUTS)["params"]
        return latent_unet.control_from_unet(toys[0]["params"], shapes)

    with pytest.raises(ValueError, match="the encoders differ by in_1_attention/"):
        start(attention_downsamplings=(1, 2))
    with pytest.raises(ValueError, match="is .16,. and should be .24,."):
        start(channel_mult=(1, 3))


def test_bfloat16_is_near_float32(run, toys):
    halves = compiled(unet(dtype=jnp.bfloat16), control_net(dtype=jnp.bfloat16))
    half, full = halves(*toys, *INPUTS), run(*toys, *INPUTS)
    assert half[1].dtype == jnp.float32 and half[0][0].dtype == jnp.bfloat16
    error = jnp.sqrt(jnp.square(half[1] - full[1]).mean()) / jnp.std(full[1])
    assert 0 < error < 0.05


def test_remat_marks_the_blocks_and_renames_nothing(toys):
    z, _, t, context = INPUTS

    def marks(remat):
        network = unet(remat=remat)
        run = jax.make_jaxpr(lambda *data: network.apply(toys[0], *data))
        names = [eqn.primitive.name for eqn in run(z, t, context).eqns]
        return sum(name in ("checkpoint", "remat", "remat2") for name in names)

    # ResBlocks: 2 down, 2 in the middle, 4 up; transformers: 1, 1, 2.
    assert marks(remat=False) == 0 and marks(remat=True) == 8 + 4


@pytest.mark.parametrize(
    "fields, changes, words",
    [
        ({}, {0: (2, 5, 6, 4), 1: (2, 5, 6, 4)}, "latent size 5x6 must divide by 2"),
        ({}, {1: (2, 4, 6, 3)}, "hint of shape .2, 4, 6, 3. instead of .2, 4, 6, 4."),
        ({}, {1: (2, 8, 12, 4)}, "hint of shape .2, 8, 12, 4. instead of"),
        ({}, {3: (2, 5, 7)}, "context of shape .2, 5, 7. instead of .2, tokens, 6."),
        ({}, {3: (5, 6)}, "context of shape .5, 6. instead of"),
        ({"head_width": 5}, {}, "16 channels do not divide into heads of head_width=5"),
    ],
)
def test_what_cannot_work_is_refused(fields, changes, words):
    inputs = list(INPUTS)
    for i, shape in changes.items():
        inputs[i] = jnp.zeros(shape)
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(control_net(**fields).init, KEY, *inputs)


def test_controls_of_another_depth_are_refused(toys):
    z, _, t, context = INPUTS
    with pytest.raises(ValueError, match="2 controls for 5 features"):
        jax.eval_shape(unet().apply, toys[0], z, t, context, (z, z))
