"""LIW: low-frequency isolation in the wavelet domain (IRSTD-Diff, Sec. III-C, Fig. 4).

    L^k, H^k = HDWT(f^(k-1)),   f^0 = x                                        (17)
    f^k      = S(L^k),          S a Swin block, k = 1..K                       (18)
    L~^K     = f^K
    L~^(k-1) = Conv(HIDWT(L~^k, H^k)),   k = K..2                              (19)
    R        = RO(HIDWT(L~^1, H^1)),     output x + R                          (20)

The network works on low frequencies, where the clutter is; the high ones, where small
targets are, come back unchanged. As in the released code, and not in the paper: S runs
on all K levels, a 1x1 convolution follows the first analysis (K > 1), and R has the
full resolution. For K = 1, Conv of (19) stands between HIDWT and RO. For K > 2, Conv is
residual at all levels but the finest.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from irstd_jax.models.layers import ConvNorm
from irstd_jax.models.swin import SwinBlock
from irstd_jax.ops import haar

LAYOUTS = ("spatial", "reference")


class LIW(nn.Module):
    """x + R, (b, h, w, c) -> same shape; h and w must divide by 2^levels.

    `layout` is what a Swin token is: in "spatial" the c channels of one pixel; in
    "reference", for published weights, c consecutive pixels of one channel, because
    the released code reinterprets the NCHW buffer as (b, h w, c) without a transpose.
    """

    levels: int = 2
    layout: str = "spatial"
    heads: int = 4
    window: int = 4
    remat: bool = False
    dtype: Any = jnp.float32
    axis: str | None = None

    @nn.compact
    def __call__(self, x, train=False):
        b, h, w, c = x.shape
        self.check(h, w)

        def conv(kernel, name):
            layer = ConvNorm(
                c,
                kernel,
                activation=nn.silu,
                dtype=self.dtype,
                axis=self.axis,
                name=name,
            )
            return lambda y: layer(y, train)

        y, details = x, []
        for level in range(self.levels):
            y, high = haar.dwt(y)
            details.append(high)
            if level == 0 and self.levels > 1:
                y = conv(1, "conv_in")(y)
            y = self.mix(y, f"swin_{level}")
        if self.levels == 1:
            y = conv(3, "up_0")(haar.idwt(y, details.pop()))
        for i in range(len(details) - 1):
            y = haar.idwt(y, details.pop())
            residual = y if i < self.levels - 2 else 0
            y = residual + conv(3, f"up_{i}")(y)
        if details:
            y = haar.idwt(y, details.pop())
        return x + conv(1, "conv_out")(y)

    def mix(self, y, name):
        """The Swin block on the tokens that `layout` says."""
        Block = nn.remat(SwinBlock) if self.remat else SwinBlock
        block = Block(self.heads, self.window, self.dtype, name=name)
        if self.layout == "spatial":
            return block(y)
        b, h, w, c = y.shape
        tokens = y.transpose(0, 3, 1, 2).reshape(b, h, w, c)
        return block(tokens).reshape(b, c, h, w).transpose(0, 2, 3, 1)

    def check(self, h, w):
        if self.layout not in LAYOUTS:
            raise ValueError(
                f"unknown token layout {self.layout!r}; choose from {LAYOUTS}"
            )
        if not 1 <= self.levels <= 4:
            raise ValueError(f"LIW has 1 to 4 levels, not {self.levels}")
        step = 2**self.levels * (self.window if self.layout == "reference" else 1)
        if h % step or w % step:
            raise ValueError(
                f"LIW with {self.levels} levels and {self.layout!r} tokens needs a "
                f"feature map with sides that divide by {step}, not {h}x{w}"
            )
