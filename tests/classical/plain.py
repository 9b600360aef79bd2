"""The methods again, in plain NumPy on one image (h, w): what ours are compared with.

Windows are stacks of shifted images, one map a pixel of the window; low rank is by SVD.
"""

import itertools

import numpy as np

CLOCKWISE = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))


def square(side):
    """Offsets of the pixels of a window; an even one is longer below and right."""
    reach = range(-((side - 1) // 2), side // 2 + 1)
    return list(itertools.product(reach, repeat=2))


def shifted(image, offsets, outside):
    """Images (n, h, w) that show at each pixel the one at an offset from it."""
    h, w = image.shape
    n = max(abs(d) for offset in offsets for d in offset)
    if outside == "edge":
        padded = np.pad(image, n, mode="edge")
    else:
        padded = np.pad(image, n, constant_values=outside)
    return np.stack([padded[n + y : n + y + h, n + x : n + x + w] for y, x in offsets])


def top_hat(image):
    eroded = shifted(image, square(5), np.inf).min(0)
    return image - shifted(eroded, square(5), -np.inf).max(0)


def new_top_hat(image, element=9):
    ring = sorted(set(square(19)) - set(square(9)))
    dilated = shifted(image, ring, -np.inf).max(0)
    return image - np.minimum(image, shifted(dilated, square(element), np.inf).min(0))


def cell(offset, side):
    """Offsets of the pixels of a cell of the 3x3 grid."""
    return [(offset[0] * side + y, offset[1] * side + x) for y, x in square(side)]


def lcm(image):
    def contrast(side):
        largest = shifted(image, square(side), "edge").max(0)
        around = [shifted(image, cell(o, side), "edge").mean(0) for o in CLOCKWISE]
        return largest**2 / np.max(around, axis=0)

    return np.max([contrast(side) for side in (3, 5, 7, 9)], axis=0)


def mpcm(image):
    def contrast(side):
        mean = shifted(image, square(side), "edge").mean(0)
        offsets = [(side * y, side * x) for y, x in CLOCKWISE]
        away = mean - shifted(mean, offsets, "edge")
        return np.min([away[i] * away[i + 4] for i in range(4)], axis=0)

    return np.maximum(np.max([contrast(side) for side in (3, 5, 7, 9)], axis=0), 0)


def gaussian(image):
    weights = [(2 - abs(y)) * (2 - abs(x)) / 16 for y, x in square(3)]
    return np.tensordot(weights, shifted(image, square(3), "edge"), 1)


def brightest(image, offset, side):
    """The mean of the nine largest values of a cell, black outside."""
    return np.sort(shifted(image, cell(offset, side), 0), axis=0)[-9:].mean(0)


def tllcm(image):
    core = gaussian(image)
    around = np.max([brightest(image, o, 9) for o in CLOCKWISE], axis=0)
    return np.maximum(core**2 / around - core, 0)


def wslcm(image):
    image = np.median(shifted(image, square(3), 0), axis=0)
    core = gaussian(image)

    def contrast(side):
        cells = ((0, 0), *CLOCKWISE)
        bright = np.stack([brightest(image, o, side) for o in cells])
        mean = [shifted(image, cell(o, side), "edge").mean(0) for o in cells]
        irregular = bright - mean
        spread = irregular[1:].std(0, ddof=1)
        weight = irregular[0] * np.maximum(irregular[0] - irregular[1:].max(0), 0)
        weight = weight / np.where(spread <= 5, 5, spread)
        return weight * np.maximum(core**2 / bright[1:].max(0) - core, 0)

    return np.max([contrast(side) for side in (5, 7, 9, 11)], axis=0)


def ipi(image, side=50, step=10):
    h, w = image.shape
    corners = [
        (y, x)
        for y in range(0, h - side + 1, step)
        for x in range(0, w - side + 1, step)
    ]
    matrix = np.stack(
        [image[y : y + side, x : x + side].ravel() for y, x in corners], axis=1
    )
    matrix = (matrix - matrix.min()) / (matrix.max() - matrix.min())
    target = patch_image(matrix, 1 / np.sqrt(max(h, w)))
    maps = np.full((len(corners), h, w), np.nan)
    for layer, (y, x), patch in zip(maps, corners, target.T, strict=True):
        layer[y : y + side, x : x + side] = patch.reshape(side, side)
    covered = ~np.isnan(maps).all(0)
    result = np.zeros((h, w))
    result[covered] = np.nanmedian(maps[:, covered], axis=0)
    return result


def patch_image(matrix, weight):
    """The accelerated proximal gradient of IPI, up to its rule of the rank."""
    values = np.linalg.svd(matrix, compute_uv=False)
    mu, least = values[1], 0.005 * values[3]
    low = low_before = sparse = sparse_before = np.zeros_like(matrix)
    t = t_before = 1
    while True:
        pace = (t_before - 1) / t
        y_low = low + pace * (low - low_before)
        y_sparse = sparse + pace * (sparse - sparse_before)
        slope = (y_low + y_sparse - matrix) / 2
        u, values, v = np.linalg.svd(y_low - slope, full_matrices=False)
        low_before, low = low, (u * np.maximum(values - mu / 2, 0)) @ v
        moved = y_sparse - slope
        shrunk = np.sign(moved) * np.maximum(np.abs(moved) - weight * mu / 2, 0)
        sparse_before, sparse = sparse, shrunk
        if (values > mu / 2).sum() > 0.3 * min(matrix.shape):
            return sparse
        t_before, t = t, (1 + np.sqrt(1 + 4 * t * t)) / 2
        mu = max(0.9 * mu, least)


def pstnn(image, side=40):
    h, w = image.shape
    rows, columns = ([*range(0, n - side, side), n - side] for n in (h, w))
    corners = [(y, x) for x in columns for y in rows]

    def stack(image):
        return np.stack([image[y : y + side, x : x + side] for y, x in corners], axis=2)

    tensor = stack(image)
    weight = 0.7 / np.sqrt(side * len(corners))
    target = patch_tensor(tensor, stack(corner_prior(image)), weight)
    result = np.zeros((h, w))
    for number, (y, x) in enumerate(corners):
        result[y : y + side, x : x + side] = target[..., number]
    return result


def patch_tensor(tensor, prior, strength):
    """The ADMM of PSTNN on (p, p, n)."""
    n = tensor.shape[2]
    values = np.linalg.svd(tensor.reshape(n, -1, order="F"), compute_uv=False)
    free = int(np.argmax(np.append(values, 0) < 0.1 * values[0]))
    sparse = dual = np.zeros_like(tensor)
    weight, mu, count = np.ones_like(tensor), 2e-3, 0
    for _ in range(500):
        slices = np.fft.fft(tensor - sparse - dual / mu, axis=2).transpose(2, 0, 1)
        u, values, v = np.linalg.svd(slices, full_matrices=False)
        values[:, free:] = np.maximum(values[:, free:] - 1 / mu, 0)
        low = (u * values[:, None]) @ v
        low = np.fft.ifft(low.transpose(1, 2, 0), axis=2).real
        sparse = np.maximum(tensor - low - dual / mu - weight * strength / mu, 0)
        with np.errstate(divide="ignore"):
            weight = free / (sparse + 0.01) / prior
        rest = low + sparse - tensor
        dual, mu = dual + mu * rest, 1.05 * mu
        before, count = count, (sparse > 0).sum()
        small = np.linalg.norm(rest) < 1e-3 * np.linalg.norm(tensor)
        if small or count == before > 0:
            break
    return sparse


def corner_prior(image):
    """The local prior of PSTNN."""

    def smooth(image, sigma):
        weights = [np.exp(-(y * y + x * x) / 2 / sigma**2) for y, x in square(3)]
        stack = shifted(image, square(3), "edge")
        return np.tensordot(weights / np.sum(weights), stack, 1)

    y, x = np.gradient(smooth(image, 2))
    entries = [[smooth(a * b, 9) for b in (y, x)] for a in (y, x)]
    matrices = np.array(entries).transpose(2, 3, 0, 1)
    second, first = np.moveaxis(np.linalg.eigvalsh(matrices), -1, 0)
    corner = first * first * second / (first + second)
    return (corner - corner.min()) / (corner.max() - corner.min())


FILTERS = {
    "tophat": top_hat,
    "new_tophat": new_top_hat,
    "lcm": lcm,
    "mpcm": mpcm,
    "tllcm": tllcm,
    "wslcm": wslcm,
}
METHODS = FILTERS | {"ipi": ipi, "pstnn": pstnn}
