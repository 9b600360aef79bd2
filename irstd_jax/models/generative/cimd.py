"""CIMD: the image beside the mask that is denoised, with a learned variance.

    eps, v = UNet([I, x_t], t)                                                     (1)

Source: the code of Rahman et al., CVPR 2023. For one mask an image, as here, it is the
plain conditional diffusion of Wolleb et al. (MIDL 2022): the network of this name is
the baseline of that name. The paper's latent never enters (1). Its two networks,

    q = N(mu, s^2)(I, m),   p = N(mu, s^2)(I, eps)                                 (2)

are random and stay so (no optimiser sees them, no file keeps them); L has KL(q | p) /
1000, which compares features of noise with features of a mask. They are there by
`latent`, for that loss alone (tasks/mask_diffusion.py), which may also give p the mask
of eps, and teach both. Sampling never meets them.

The default fields are the release's for 128 px, 85,603,842 parameters, whose image is
one grey channel four times; cimd_256, its size for 256 px, has 113,674,370.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from irstd_jax.models import unet
from irstd_jax.models.generative.latent import GaussianEncoder
from irstd_jax.models.layers import check_channels
from irstd_jax.ops import resize


class CIMD(nn.Module):
    """The network; see `condition`, `denoise`, `latents` and `__call__`.

    Images of any size are padded inside (mirrored, to a multiple of 16 at the published
    depth) and cropped again.

    Fields:
      latent: has the two encoders of Eq. (2).
      latent_widths: of their stages.
      groups, dtype, remat: as of `IRSTDDiff` and `UNet`.
      norm_axis: not used; there is no BatchNorm.
    """

    image_channels: int = 4
    channels: int = 128
    channel_mult: tuple[int, ...] = (1, 1, 2, 3, 4)
    num_res_blocks: int = 2
    num_heads: int = 1
    attention_downsamplings: tuple[int, ...] = (8,)
    groups: int = 32
    latent: bool = False
    latent_widths: tuple[int, ...] = (32, 64, 128, 192)
    dtype: Any = jnp.float32
    remat: bool = False
    norm_axis: str | None = None

    learned_variance = True
    estimates = False  # of the mask, by `condition`

    def setup(self):
        self.unet = unet.UNet(
            **unet.fields(self),
            out_channels=2,
            scale_shift=False,
            groups=self.groups,
        )
        if self.latent:
            self.prior = GaussianEncoder(tuple(self.latent_widths))
            self.posterior = GaussianEncoder(tuple(self.latent_widths))

    def __call__(self, image, x_t, t, train=False):
        """(output of `denoise`, None)."""
        if self.latent and self.is_initializing():
            self.latents(image, x_t, x_t)
        feature, logits = self.condition(image, train)
        return self.denoise(x_t, t, image, feature, train), logits

    def condition(self, image, train=False):
        """(None, None): nothing depends on the image alone."""
        check_channels(image, image_channels=self.image_channels)
        return None, None

    def denoise(self, x_t, t, image, feature, train=False):
        """The raw output for x_t (b, h, w, 1) at times t (b,).

        Returns:
          (b, h, w, 2) float32: what the parameterisation says, and v of the learned
          variance (diffusion/variational.py).
        """
        b, h, w, c = x_t.shape
        x = jnp.concatenate([image, x_t.astype(image.dtype)], axis=-1)
        x = resize.pad_to_multiple(x, self.multiple)
        return resize.crop(self.unet(x, t), h, w)

    def latents(self, image, mask, said):
        """Eq. (2): the (mean, log of the deviation), each (b, 6), of q and of p.

        Args:
          image: (b, h, w, image_channels), of which the first channel is taken.
          mask: (b, h, w, 1).
          said: (b, h, w, 1), what p is told: eps in the release.

        Raises:
          ValueError: the network was built without `latent`.
        """
        if not self.latent:
            raise ValueError("latent=False: this network has no encoders")
        given = (jnp.concatenate([image[..., :1], x], -1) for x in (mask, said))
        return self.posterior(next(given)), self.prior(next(given))

    @property
    def multiple(self):
        """What the sides of the padded image divide by."""
        return 2 ** (len(self.channel_mult) - 1)
