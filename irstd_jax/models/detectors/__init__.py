"""Networks that see an image and say where its targets are.

Each is `network(image (b, h, w, c) normalised, train=False, keys=None) -> logits
(b, h, w, k)` float32 at the size of the image, any size. Map 0 is the prediction, the
others are there for deep supervision; the last `edge_maps` of them, where a network has
such, are of the targets' edges. `keys` (b,), one an example, is what dropout
draws from in training; a network without dropout ignores it.
"""
