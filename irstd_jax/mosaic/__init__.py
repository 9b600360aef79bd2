"""Diff-Mosaic's images, before and after its networks: pure functions on arrays.

parents     which images go into a sample, and crops of them: the host's part
compose     mosaic, CutMix, MixUp, copy-paste of targets: on the device, as the rest
degrade     the mixed image of Eq. 2 and 4: blur, resize, noise, JPEG, a clean box
color       the levels of the harmonised image given to the resampled one
retarget    the mosaic's target pixels put back
"""
