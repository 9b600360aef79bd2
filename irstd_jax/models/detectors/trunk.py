"""What ACM, ALCNet, ISNet and AGPCNet share: residual levels, a stem, a head.

The functions are called in a compact module, of which they make layers. `common` is
what all layers with a normalisation are told: dtype, axis, momentum.
"""

import jax.numpy as jnp

from irstd_jax.models.layers import (
    Conv,
    ConvNorm,
    ResidualBlock,
    batch_norm,
    dropped,
    log_odds,
)
from irstd_jax.ops import resize


def encode(x, widths, blocks, narrow, train, common):
    """c1, c2, c3 of an image, each half as large as the one before.

    Args:
      x: (b, h, w, *).
      widths: of c1, c2, c3.
      blocks: residual blocks a level.
      narrow: width of the two convolutions of a stem that shrinks the image to a
        quarter; 0 for a stem of one, at full size.
      train, common: see the module.
    """
    x = batch_norm(train, name="norm_in", **common)(x)
    if narrow:
        x = ConvNorm(narrow, stride=2, name="stem_0", **common)(x, train)
        x = ConvNorm(narrow, name="stem_1", **common)(x, train)
        x = ConvNorm(widths[0], name="stem_2", **common)(x, train)
        x = resize.max_pool_3x3(x)
    else:
        x = ConvNorm(widths[0], name="stem_0", **common)(x, train)
    features = []
    for i, width in enumerate(widths):
        x = level(x, width, blocks, 2 if i else 1, f"layer{i + 1}", train, common)
        features.append(x)
    return features


def level(x, features, blocks, stride, name, train, common):
    """(b, h, w, *) -> (b, h / stride, w / stride, features) by residual blocks."""
    kept = {field: common[field] for field in ("dtype", "axis")}
    for i in range(blocks):
        block = ResidualBlock(features, 1 if i else stride, name=f"{name}_{i}", **kept)
        x = block(x, train)
    return x


def head(x, prior, dropout, train, keys, common, bias=False):
    """The logits (b, h, w, 1) float32 of a feature (b, h, w, c), at its size.

    Args:
      prior: share of target pixels that it expects untrained.
      dropout: rate, element by element, by `keys` (b,) in training.
      bias: of its 3x3 convolution.
    """
    narrow = ConvNorm(x.shape[-1] // 4, bias=bias, name="head_in", **common)
    x = narrow(x, train)
    if train and dropout:
        x = dropped(x, keys, dropout)
    last = Conv(1, 1, start=log_odds(prior), dtype=common["dtype"], name="head_out")
    return last(x).astype(jnp.float32)
