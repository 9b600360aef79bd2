"""From samples of a posterior to targets with a probability of existence.

Each of N binary samples is split into its 8-connected components. Components of
different samples are one target where their centroids lie within 3 px of the target's
seed: greedily, the component becomes a seed that has such neighbours in most samples,
and takes the nearest of each, so that a target has one component of a sample at most.
With n_k the samples that hold target k,

    (1)  P_k     = n_k / N
    (2)  smooth  = (n_k + 1/2) / (N + 1)                               (Jeffreys' prior)
    (3)  Wilson  = (P + z^2 / 2N -+ z sqrt(P (1 - P) / N + z^2 / 4N^2)) / (1 + z^2 / N)
    (4)  error   = sqrt(P (1 - P) / N): 0.17 for N = 9 and 0.10 for N = 25 at P = 1/2

Its mask holds the pixels of more than half of its components. Keeping the targets with
P_k >= tau, one expects sum (1 - P_k) false ones among them, with P_k by (2), because N
votes of N are no certainty.
"""

import heapq
from typing import NamedTuple

import numpy as np
from scipy import spatial

from irstd_jax.metrics import overlap, targets

Z = 1.96  # of 95 %


class Clusters(NamedTuple):
    """The k targets of N samples, those of most votes first.

    votes (k,); centroid (k, 2) as y, x and area (k,), means over the components, with
    their deviations; pixels: k arrays, flat indices of the masks; shape (h, w).
    """

    samples: int
    votes: np.ndarray
    centroid: np.ndarray
    centroid_deviation: np.ndarray
    area: np.ndarray
    area_deviation: np.ndarray
    pixels: tuple
    shape: tuple

    @property
    def probability(self):
        """P_k by (1)."""
        return self.votes / self.samples


class Parts(NamedTuple):
    """The components of all samples: sample, centroid, area and pixels of each."""

    sample: np.ndarray
    centroid: np.ndarray
    area: np.ndarray
    pixels: list


def cluster(masks):
    """The `Clusters` of samples (n, h, w), or (n, h, w, 1), of {0, 1}."""
    masks = [overlap.binary(mask, "a sample") for mask in masks]
    if not masks:
        raise ValueError("no samples were given: draw at least one")
    parts = split(masks)
    found = [summary(parts, members) for members in greedy(parts)]
    found.sort(key=lambda one: (-one[0], one[-1][0], *one[1]))
    votes, *moments, pixels = zip(*found, strict=True) if found else ([],) * 6
    centre, scatter, area, area_scatter = (np.array(x, np.float64) for x in moments)
    return Clusters(
        samples=len(masks),
        votes=np.array(votes, np.int64),
        centroid=centre.reshape(-1, 2),
        centroid_deviation=scatter.reshape(-1, 2),
        area=area,
        area_deviation=area_scatter,
        pixels=tuple(pixels),
        shape=masks[0].shape,
    )


def split(masks):
    """The `Parts` of masks (h, w), of bool."""
    sample, centroid, area, pixels = [], [np.zeros((0, 2))], [np.zeros(0, int)], []
    for number, mask in enumerate(masks):
        found = targets.components(mask)
        where = np.flatnonzero(mask)
        order = np.argsort(found.labels.ravel()[where], kind="stable")
        pixels += np.split(where[order], np.cumsum(found.area))[:-1]
        sample += [number] * len(found.area)
        centroid.append(found.centroid)
        area.append(found.area)
    centroid, area = np.concatenate(centroid), np.concatenate(area)
    return Parts(np.array(sample, int), centroid, area, pixels)


def greedy(parts):
    """Lists of the members of each cluster, in the order in which they are found.

    What a seed could take only shrinks, so an entry of the heap is at best what it was
    when it was made: it is looked at again when its turn comes, and only then.
    """
    near, free = neighbours(parts.centroid), np.ones(len(parts.area), bool)
    clusters = []

    def offer(seed):
        taken, total = {}, 0.0
        for part, distance in near[seed]:
            if free[part] and parts.sample[part] not in taken:
                taken[parts.sample[part]] = part
                total += distance
        # Ties go to the most central, then the uppermost: never by a sample's number.
        key = (-len(taken), total, *parts.centroid[seed], seed)
        return key, list(taken.values())

    heap = [offer(seed)[0] for seed in range(len(free))]
    heapq.heapify(heap)
    while heap:
        known = heapq.heappop(heap)
        seed = known[-1]
        if not free[seed]:
            continue
        key, members = offer(seed)
        if key == known:
            free[members] = False
            clusters.append(members)
        if free[seed]:
            heapq.heappush(heap, offer(seed)[0])
    return clusters


def neighbours(points):
    """For each of points (n, 2) the pairs (index, distance) below 3 px, nearest first.

    Pairs at one distance are in the order of their indices.
    """
    if not len(points):
        return []
    tree, found = spatial.cKDTree(points), []
    for point, near in zip(
        points, tree.query_ball_point(points, targets.DISTANCE), strict=True
    ):
        dy, dx = (points[near] - point).T
        distance = np.sqrt(dy * dy + dx * dx).tolist()
        pairs = sorted(zip(distance, near, strict=True))
        found.append([(j, d) for d, j in pairs if d < targets.DISTANCE])
    return found


def summary(parts, members):
    """(votes, centroid, its deviation, area, its deviation, pixels) of a cluster."""
    centroid, area = parts.centroid[members], parts.area[members]
    where, votes = np.unique(
        np.concatenate([parts.pixels[part] for part in members]), return_counts=True
    )
    # Small components that lie side by side may have no pixel in half of them.
    inside = votes > min(len(members) / 2, votes.max() - 0.5)
    moments = centroid.mean(0), centroid.std(0), area.mean(), area.std()
    return len(members), *moments, where[inside]


def kept(clusters, tau):
    """The clusters with P_k >= tau."""
    # Votes are whole numbers: a tau of j / N shall not miss j by a rounding error.
    wanted = np.ceil(tau * clusters.samples - 1e-9)
    return first(clusters, np.count_nonzero(clusters.votes >= wanted))


def first(clusters, k):
    """The k clusters of most votes."""
    fields = clusters._asdict()
    for name in fields.keys() - {"samples", "shape"}:
        fields[name] = fields[name][:k]
    return Clusters(**fields)


def mask(clusters):
    """The union (h, w) of the clusters' masks, of bool."""
    joint = np.zeros(clusters.shape, bool)
    for pixels in clusters.pixels:
        joint.flat[pixels] = True
    return joint


def boxes(clusters):
    """Boxes (k, 4) of the masks as y0, x0, y1, x1, the ends exclusive."""
    found = np.zeros((len(clusters.pixels), 4), np.int64)
    for box, pixels in zip(found, clusters.pixels, strict=True):
        y, x = np.divmod(pixels, clusters.shape[1])
        box[:] = y.min(), x.min(), y.max() + 1, x.max() + 1
    return found


def expected_false(clusters):
    """How many of these clusters are no targets, if P_k is calibrated."""
    return float(np.sum(1 - smoothed(clusters.votes, clusters.samples)))


def smoothed(votes, samples):
    """(2), which is neither 0 nor 1."""
    return (np.asarray(votes) + 0.5) / (samples + 1)


def wilson(votes, samples, z=Z):
    """(low, high) of (3)."""
    share, more = np.asarray(votes) / samples, z * z / samples
    middle = share + more / 2
    half = z * np.sqrt(share * (1 - share) / samples + more / (4 * samples))
    low, high = (middle - half) / (1 + more), (middle + half) / (1 + more)
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


def standard_error(votes, samples):
    """(4)."""
    share = np.asarray(votes) / samples
    return np.sqrt(share * (1 - share) / samples)


def votes_for(clusters, found):
    """Votes (n,) for each of n detections (`targets.Components`); 0 without cluster.

    A detection takes the surest cluster within 3 px that no earlier one has taken.
    """
    assigned, _, _ = targets.by_centroid(clusters, found)
    return np.append(clusters.votes, 0)[assigned]
