"""TFDS builders of the published sets, and the reader of what they have prepared.

No TensorFlow: records are array_record, and a builder hands over the paths of files, so
that the records hold the files' own bytes. They are decoded by `data.images`, as the
files themselves would be; every sample is equal to the file reader's.
"""

import dataclasses
import importlib
import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow_datasets as tfds

from irstd_jax.data import benchmarks, folder
from irstd_jax.data.pairs import Plan

BUILDERS = {
    "nuaa_sirst": "NuaaSirst",
    "nudt_sirst": "NudtSirst",
    "irstd1k": "Irstd1k",
}


def plan(settings):
    """The plan of a set as TFDS holds it; prepares it from `settings.root` at first.

    `settings.tfds_dir` is where TFDS keeps prepared sets (None: its own default). What
    is there is used as it is: remove it after the files under `root` have changed.
    """
    builder = prepared(settings)
    layout = benchmarks.LAYOUTS[settings.name]
    places, parts = {}, {}
    for part, names in builder.info.metadata["names"].items():
        parts[part] = folder.Names(tuple(names), f"the TFDS split {part}")
        places |= {name: (part, index) for index, name in enumerate(names)}
    share = settings.get("validation_share", 0.1)
    cut, rule = folder.divided(parts, share)
    records = Records(places, {part: source(builder, part) for part in parts})
    return Plan(
        *(layout.title, settings.split, records, cut, rule),
        repairable=layout.repairable,
    )


def prepared(settings):
    """The TFDS builder of a set, its records written."""
    if settings.name not in BUILDERS:
        raise ValueError(
            f"there is no TFDS builder of {settings.name!r}; choose from "
            f"{sorted(BUILDERS)}, or --config.data.reader=files"
        )
    benchmarks.split_of(benchmarks.LAYOUTS[settings.name], settings.split)
    module = importlib.import_module(f"{__name__}.{settings.name}")
    builder = getattr(module, BUILDERS[settings.name])(
        config=settings.split,
        data_dir=settings.get("tfds_dir"),
        file_format="array_record",
    )
    if not builder.data_path.exists():
        # Its error tells more than TFDS's of a manual_dir that is not there.
        benchmarks.plan(settings)
        root = pathlib.Path(settings.root).expanduser()
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(manual_dir=root)
        )
    return builder


def source(builder, part):
    """Random access to the records of a split, as name and the bytes of the files."""
    skip = tfds.decode.SkipDecoding()
    return builder.as_data_source(part, decoders={"image": skip, "mask": skip})


@dataclasses.dataclass(frozen=True)
class Records(Mapping):
    """name -> (image, mask) as the bytes of their files."""

    places: dict[str, tuple[str, int]]
    sources: dict[str, Any]

    def __getitem__(self, name):
        part, index = self.places[name]
        record = self.sources[part][index]
        found = record["name"].decode()
        if found != name:
            raise ValueError(
                f"record {index} of the TFDS split {part} is {found!r}, not {name!r}: "
                "remove the prepared set and let it be made again"
            )
        return record["image"], record["mask"]

    def __iter__(self):
        return iter(self.places)

    def __len__(self):
        return len(self.places)

    def __contains__(self, name):
        return name in self.places
