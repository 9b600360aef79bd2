"""Data sets by name: `load(settings, part)` opens one part of one set.

A source has a length, `source[i]` gives the sample {"name": str, "image": float32
(h, w, 1) in [0, 1], "mask": uint8 (h, w, 1) in {0, 1}}, `names` and `describe()`.
"""

from irstd_jax.data import benchmarks, extras, folder
from irstd_jax.data.pairs import PARTS, open_part

READERS = ("files", "tfds")


def load(settings, part):
    """One part of a data set.

    Args:
      settings: a ConfigDict (or any mapping with attributes) with `name`, `root` and
        `split`, and optionally `validation_share` (0.1), `mask_threshold` (127) and
        `reader` ("files" or "tfds").
      part: "train", "validation" or "test". Validation is cut from training by a fixed
        rule; the test part never gives anything to the others. Only "train" honours
        `extra`, `extra_share` and `extra_scale`: augmented sets (see `extras`).
    Raises:
      ValueError: one clear sentence, which names the file and the remedy.
    """
    if part not in PARTS:
        raise ValueError(f"unknown part {part!r}; choose from {list(PARTS)}")
    if settings.name not in SOURCES:
        raise ValueError(
            f"unknown data set {settings.name!r}; choose from {sorted(SOURCES)}"
        )
    source = SOURCES[settings.name](settings, part)
    if part == "train":
        source = extras.join_real(source, settings, lambda: held_out(settings))
    return source


def held_out(settings):
    """{part: names} of what training must not see: validation and test."""
    if settings.name != "synthetic":
        parts = plan(settings).parts
        return {part: parts[part] for part in ("test", "validation")}
    given = settings.get("count") or {}
    return {
        part: SOURCES["synthetic"](settings, part).names
        for part in ("test", "validation")
        if given.get(part, 0) > 0
    }


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
