"""Generative segmenters that papers compare with, on the U-Net of this library.

Each is a network of the task `mask_diffusion`, as IRSTDDiff is: `condition(image)`
gives (what the denoiser is to know of the image, logit maps of the mask or None) once
an image, `denoise(x_t, t, image, feature)` the raw output once a step.

  segdiff     its feature is added to the first convolution; no map of its own
  medsegdiff  the same, learnt by a map of its own; or, as `highway`, what the
              denoiser's encoder sees filters it
  cimd        the image beside x_t and nothing else

Some outputs have more channels than one, in this order: what the parameterisation says;
v of the learned variance (`learned_variance`); logits of the mask. `estimates` says
whether `condition` gives maps, `dropout` whether `keys` (b,) are wanted in training.
"""
