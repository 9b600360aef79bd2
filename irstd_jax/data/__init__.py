"""Data sets by name: `load(settings, part)` opens one part of one set.

A source has a length, `source[i]` gives the sample {"name": str, "image": float32
(h, w, 1) in [0, 1], "mask": uint8 (h, w, 1) in {0, 1}}, `names` and `describe()`.

Several names, with commas between them, are one set: part by part, each with its own
split (or one split for all), every name of a sample behind its set's, "set:sample".
Generated scenes join the parts for which they have a count: training alone, say. Sets
that share images are refused where the one would learn what judges the other (shared).
"""

from ml_collections import ConfigDict

from irstd_jax.data import benchmarks, extras, folder, mixed, shared
from irstd_jax.data.pairs import PARTS, open_part
from irstd_jax.data.selection import some as some
from irstd_jax.data.stretch import Stretched

READERS = ("files", "tfds")


def load(settings, part):
    """One part of a data set.

    Args:
      settings: a ConfigDict (or any mapping with attributes) with `name`, `root` and
        `split`, both with several by commas, and optionally `validation_share` (0.1),
        `mask_threshold` (127), `reader` ("files" or "tfds") and `stretch` (0, a
        percentile of `stretch.stretched`).
      part: "train", "validation" or "test". Validation is cut from training by a fixed
        rule; the test part never gives anything to the others. Only "train" honours
        `extra`, `extra_share` and `extra_scale`: augmented sets (see `extras`).
    Raises:
      ValueError: one clear sentence, which names the file and the remedy.
    """
    if part not in PARTS:
        raise ValueError(f"unknown part {part!r}; choose from {list(PARTS)}")
    several = singles(settings)
    if len(several) > 1:
        members = [
            one for one in several if one.name != "synthetic" or count(one, part)
        ]
        source = mixed.union({m.name: SOURCES[m.name](m, part) for m in members})
        if part == "train":
            shared.refuse({m.name: plan(m) for m in several if m.name != "synthetic"})
    else:
        source = SOURCES[settings.name](settings, part)
    if part == "train":
        source = extras.join_real(source, settings, lambda: held_out(settings))
    percentile = settings.get("stretch", 0)
    return Stretched(source, percentile) if percentile else source


def singles(settings):
    """The settings of each set that `settings` names, in their order."""
    named = splits(settings)
    unknown = sorted(named.keys() - SOURCES.keys())
    if unknown:
        raise ValueError(
            f"unknown data set {unknown[0]!r}; choose from {sorted(SOURCES)}"
        )
    if len(named) == 1:
        return [settings]
    block = dict(settings.items())
    return [
        ConfigDict(block | {"name": name, "split": split})
        for name, split in named.items()
    ]


def splits(settings):
    """{set: split} of the sets that `settings` names, in their order."""
    names = [name.strip() for name in settings["name"].split(",")]
    if len(set(names)) < len(names):
        raise ValueError(f"data.name {settings['name']!r} names a set twice")
    given = [split.strip() for split in (settings.get("split") or "").split(",")]
    if len(given) == 1:
        given *= len(names)
    if len(given) != len(names):
        raise ValueError(
            f"data.name names {len(names)} sets and data.split {len(given)} splits: "
            "give one split for all, or one each"
        )
    return dict(zip(names, given, strict=True))


def held_out(settings):
    """{part: names} of what training must not see: validation and test.

    Each name as the set has it, and as several sets have it ("set:sample"), for the
    manifest of an augmented set may come of either.
    """
    members = singles(settings)
    if len(members) > 1:
        held = [held_out(one) for one in members]
        parts = ("test", "validation")
        return {part: sum((h.get(part, ()) for h in held), ()) for part in parts}
    if settings.name != "synthetic":
        parts = plan(settings).parts
    else:
        parts = {
            part: SOURCES["synthetic"](settings, part).names
            for part in ("test", "validation")
            if count(settings, part)
        }
    return {
        part: (*parts[part], *mixed.prefixed(settings.name, parts[part]))
        for part in ("test", "validation")
        if part in parts
    }


def count(settings, part):
    """How many generated scenes a part has."""
    return (settings.get("count") or {}).get(part, 0)


def plan(settings):
    """What a set on disk holds and all that is wrong with it; no pixel is read."""
    reader = settings.get("reader", "files")
    if reader not in READERS:
        raise ValueError(f"unknown reader {reader!r}; choose from {list(READERS)}")
    if reader == "tfds":
        # TFDS takes a second to import, and the file reader does without it.
        from irstd_jax.data import builders

        return builders.plan(settings)
    planner = folder.plan if settings.name == "folder" else benchmarks.plan
    return planner(settings)


def from_files(settings, part):
    """A part of a set of image files."""
    return open_part(plan(settings), part, settings.get("mask_threshold", 127))


def from_generator(settings, part):
    """A part of the generated scenes."""
    from irstd_jax.data import synthetic

    return synthetic.load(settings, part)


SOURCES = {
    **dict.fromkeys([*benchmarks.LAYOUTS, "folder"], from_files),
    "synthetic": from_generator,
}
