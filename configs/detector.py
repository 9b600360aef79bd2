"""A discriminative detector on one data set: NETWORK,DATASET[,VARIANT].

  python launch.py --config=configs/detector.py:acm_unet,nuaa_sirst,small
  python launch.py --config=configs/detector.py:dnanet,nudt_sirst
  python launch.py --config=configs/detector.py:dnanet,nudt_sirst,published
  python launch.py --config=configs/detector.py:acm_fpn,synthetic,tiny

Networks: acm_unet, acm_fpn, agpcnet, alcnet, dnanet, isnet, isnet_dcnv2, uiunet;
acm_unet_basicirstd and alcnet_basicirstd, what most tables call ACM and ALCNet
(detectors/acm.py). Data sets: nuaa_sirst (213 / 214 images), nudt_sirst (663 / 664),
irstd1k (800 / 201), synthetic. An augmented set joins by --config.data.extra=FOLDER.
Variants:

  (none)     the common recipe, the same for all networks so that they compare: 256 px
             crops at native scale, flips and quarter turns, soft IoU + BCE, AdamW
             1e-3 with 5 % warm-up and a cosine, averaged weights; untrained heads
             expect 1 % of targets; the last step is evaluated at the native size, and
             nothing is chosen
  small      the same on 128 px crops with fewer steps and smaller networks, for 2 CPU
             cores: .2 s of CPU a step for ACM
  published  each network's own loss, optimiser, schedule, augmentation and size
  tiny       seconds, to see that all parts work

Published numbers (IoU in %): ACM 71.5 U-Net, 69.5 FPN on NUAA-SIRST (86 test images at
512 px); DNANet 77.0 and UIU-Net 72.0 on NUAA-SIRST, 88.4 and 89.0 on NUDT-SIRST (Diff-
Mosaic's Table I); ALCNet 75.7 on NUAA-SIRST (96 images of an older list). All of them
kept the epoch that was best on the test set; here the `published` recipes choose on a
validation part cut from training. BasicIRSTD keeps the last: on NUAA-SIRST, NUDT-SIRST
and IRSTD-1k its ACM has 69.4, 64.9, 60.3, its ALCNet 61.1, 61.1, 58.1, its ISNet 70.5,
81.2, 61.9.

The `published` recipes differ from the release in the padding of crops (mirrored, not
black), in UIU-Net's flips (both ways, not up-down alone) and in what masks become when
images are scaled (no target vanishes). isnet_dcnv2 is PAL's copy, whose loss is a mean
over the harder half of all pixels: here it is over all, as its augmentations are those
that we have.
The initial weights are PyTorch's default.
"""

from collections.abc import Callable
from typing import NamedTuple

from ml_collections import ConfigDict

from configs import common

# Split, normalisation, training images.
DATASETS = {
    "irstd1k": ("80_20", "irstd1k", 800),
    "nuaa_sirst": ("50_50", "nuaa", 213),
    "nudt_sirst": ("50_50", "nudt", 663),
    "synthetic": ("generated", "nuaa", 200),
}


class Detector(NamedTuple):
    """A network's row.

    Attributes:
      model: all fields of the network, at the published size.
      small, toy: those that differ in the variants `small` and `tiny`.
      published: changes a recipe into the network's own.
      cited: its name in the papers' tables (irstd_jax/literature.py); "" if in none.
    """

    model: dict
    small: dict
    toy: dict
    published: Callable
    cited: str


def get_config(argument="acm_unet,nuaa_sirst"):
    """The recipe; see the module."""
    choices = {"network": DETECTORS, "data set": DATASETS, "variant": VARIANTS}
    usage = "NETWORK,DATASET or NETWORK,DATASET,VARIANT"
    network, dataset, variant = common.words(argument, choices, usage)
    config = recipe(network, dataset)
    VARIANTS[variant](config)
    if variant:
        config.name = f"{config.name}_{variant}"
    return config


def recipe(network, dataset):
    """The common recipe."""
    split, normalisation, _ = DATASETS[dataset]
    name = f"{network}_{dataset}"
    config = common.detecting(common.recipe(name, dataset, split), "discriminative")
    config.model = ConfigDict({"name": network} | DETECTORS[network].model)
    config.data.channels = config.model.in_channels
    config.task = ConfigDict(
        {
            "name": "segmentation",
            "losses": {  # their weights; 0 leaves one out
                "soft_iou": 1.0,
                "soft_iou_batch": 0.0,
                "bce": 1.0,
                "focal": 0.0,
            },
            "edge_losses": {  # of ISNet's map of edges
                "soft_iou": 1.0,
                "soft_iou_batch": 0.0,
                "bce": 1.0,
                "focal": 0.0,
            },
            "supervision": "mean",  # or "sum", of a loss over the maps
        }
    )
    config.num_steps = 10_000
    config.evaluate_every = 1_000
    config.checkpoint_every = 500
    config.data.update({"normalisation": normalisation, "crop": 256, "batch_size": 8})
    config.data.augment.update({"flip": True, "quarter_turns": True})
    config.optimizer.update(
        {
            "name": "adamw",  # or "adam", "adagrad", "sgd"
            "momentum": 0.9,  # of sgd
            "learning_rate": 1e-3,
            "decay": "cosine",
            "warmup": 500,
            "weight_decay": 0.01,
            "ema": 0.999,
        }
    )
    config.validation.choose = "last"
    if dataset == "synthetic":
        common.on_scenes(config)
    return config


def common_recipe(config):
    """The recipe as it is."""


def small(config):
    """The common recipe for 2 CPU cores."""
    change(config, DETECTORS[config.model.name].small)
    config.num_steps = 3_000
    config.evaluate_every = 1_000
    config.log_every = 50
    config.data.update({"crop": 128, "threads": 2})
    config.optimizer.update({"learning_rate": 3e-3, "warmup": 150, "ema": 0.995})


def published(config):
    """The network's own recipe."""
    change(config, {"prior": 0.5})
    config.validation.choose = "best"
    config.data.normalisation = "imagenet"
    config.data.augment.update({"flip": False, "quarter_turns": False})
    config.data.target_share = 0.0
    config.optimizer.update({"warmup": 0, "weight_decay": 0.0, "ema": 0.0})
    losses(config, "soft_iou", "mean")
    DETECTORS[config.model.name].published(config)


def published_acm(config):
    """300 epochs of Adagrad on 480 px crops of images scaled to 256 ... 1024 px."""
    if config.data.name == "nuaa_sirst":
        config.data.split = "idx_427"
    lasting(config, epochs=300, batch_size=8, images=images(config))
    config.data.crop = 480
    config.data.augment.update({"mirror": True, "long_side": (256, 1024), "blur": 1.0})
    config.optimizer.update(
        {"name": "adagrad", "learning_rate": 0.05, "decay": "poly", "power": 0.9}
    )
    config.optimizer.weight_decay = 1e-4
    config.evaluation.size = config.predict.size = 512


def published_agpcnet(config):
    """5 epochs of SGD on images resized to 256 px, as they are."""
    lasting(config, epochs=5, batch_size=8, images=images(config))
    config.evaluate_every = config.checkpoint_every = config.num_steps // 5
    config.data.update({"resize": 256, "crop": 0})
    config.optimizer.update(
        {"name": "sgd", "learning_rate": 0.05, "decay": "poly", "power": 0.9}
    )
    config.optimizer.weight_decay = 1e-4
    config.evaluation.size = config.predict.size = 256


def published_alcnet(config):
    """As ACM's, but of a constant rate, of pairs of images and their joint soft IoU."""
    published_acm(config)
    lasting(config, epochs=300, batch_size=2, images=images(config))
    losses(config, "soft_iou_batch", "mean")
    config.optimizer.update({"learning_rate": 0.1, "decay": "constant"})


def published_basicirstd(config):
    """400 epochs of Adam on 256 px crops at native scale, and the last one is kept.

    Its flips and transposition are our flips and quarter turns; its last batch of an
    epoch, which is not full, is left out.
    """
    lasting(config, epochs=400, batch_size=16, images=images(config))
    losses(config, "soft_iou_batch", "mean")
    config.validation.choose = "last"
    own = DATASETS[config.data.name][1]
    # irstd1k's is BasicIRSTD's pair.
    config.data.normalisation = own if own == "irstd1k" else f"{own}_basicirstd"
    config.data.update({"crop": 256, "target_share": 0.5})
    config.data.augment.update({"flip": True, "quarter_turns": True})
    # A tenth of the rate at epochs 200 and 300.
    config.optimizer.update({"name": "adam", "learning_rate": 5e-4, "decay": "steps"})
    if "momentum" in config.model:
        config.model.momentum = 0.1


def published_dnanet(config):
    """3000 epochs of Adagrad at a constant rate, as Diff-Mosaic trains it."""
    lasting(config, epochs=3_000, batch_size=40, images=images(config))
    losses(config, "soft_iou_batch", "mean")
    config.data.crop = 256
    config.data.augment.update({"mirror": True, "long_side": (128, 512), "blur": 1.0})
    config.data.augment.blur_spares_targets = True
    config.optimizer.update(
        {"name": "adagrad", "learning_rate": 0.05, "decay": "constant"}
    )
    config.evaluation.size = config.predict.size = 256


def published_isnet(config):
    """As BasicIRSTD trains all; the edge has soft IoU and ten times BCE.

    Its code takes the sigmoid of the edge's probability once more, so that its soft
    IoU cannot fall: here it is of the probability.
    """
    published_basicirstd(config)
    config.task.edge_losses.update({"soft_iou_batch": 1.0, "bce": 10.0})


def published_isnet_dcnv2(config):
    """As PAL trains all: 400 epochs of AdamW and BCE on 256 px crops, strongly varied.

    The edge has no loss of its own.
    """
    published_basicirstd(config)
    losses(config, "bce", "mean")
    config.data.normalisation = DATASETS[config.data.name][1]
    config.data.augment.update(
        {"brightness": 0.3, "contrast": 0.3, "scale": (0.8, 1.2), "noise": 0.02}
    )
    config.optimizer.update({"name": "adamw", "learning_rate": 1e-3})
    config.optimizer.update({"decay": "constant", "weight_decay": 0.01})


def published_uiunet(config):
    """500 epochs of Adam on 288 px crops of images resized to 320 px; BCE of 7 maps."""
    lasting(config, epochs=500, batch_size=3, images=images(config))
    losses(config, "bce", "sum")
    config.data.update({"resize": 320, "crop": 288})
    config.data.augment.flip = True
    config.optimizer.update({"name": "adam", "decay": "constant"})
    config.evaluation.size = config.predict.size = 320


def change(config, fields):
    """Fields of the model, of whatever type: a ConfigDict's update would keep types."""
    config.model = ConfigDict(config.model.to_dict() | fields)


def images(config):
    """How many there are to train on."""
    return 341 if config.data.split == "idx_427" else DATASETS[config.data.name][2]


def lasting(config, epochs, batch_size, images):
    """Epochs as steps; of each, the published code drops the last batch if not full."""
    epoch = images // batch_size
    config.data.batch_size = batch_size
    config.num_steps = epochs * epoch
    config.evaluate_every = 10 * epoch
    config.checkpoint_every = 10 * epoch


def losses(config, name, supervision):
    """One loss in the place of all others, and none of edges."""
    for other in config.task.losses:
        config.task.losses[other] = float(other == name)
        config.task.edge_losses[other] = 0.0
    config.task.supervision = supervision


def tiny(config):
    """A few steps of a toy network."""
    change(config, DETECTORS[config.model.name].toy)
    common.brief(config)
    if config.data.name == "synthetic":
        config.data.size = 32
        config.data.count = {"train": 8, "validation": 2, "test": 2}


VARIANTS = {"": common_recipe, "published": published, "small": small, "tiny": tiny}
ACM = {
    "in_channels": 3,
    "channels": (8, 16, 32, 64),
    "blocks": 4,
    "fusion": "asym_bi",  # or "bi_local", "bi_global"
    "project": True,
    "stem": "quarter",  # or "full": sees each pixel, and is 16 times as slow
    "dropout": 0.1,
    "prior": 0.01,  # 0.5 in published recipes
    "momentum": 0.9,  # 0.1 in BasicIRSTD's
    "dtype": "float32",
}
BASICIRSTD = ACM | {"in_channels": 1, "project": False}
TOY_ACM = {"channels": (4, 8, 8, 8), "blocks": 1}
ISNET = {
    "in_channels": 1,
    "channels": (8, 16, 32, 64),
    "blocks": 4,
    "edge_channels": 64,  # at full size: 98 % of all work
    "modulated": False,  # True: deformable convolutions of version 2
    "dropout": 0.1,
    "prior": 0.01,
    "dtype": "float32",
}
SMALL_ISNET = {"edge_channels": 16}
TOY_ISNET = {"channels": (4, 8, 8, 8), "blocks": 1, "edge_channels": 4}
DETECTORS = {
    "acm_fpn": Detector(ACM, {}, TOY_ACM, published_acm, "acm"),
    "acm_unet": Detector(ACM, {}, TOY_ACM, published_acm, "acm"),
    "acm_unet_basicirstd": Detector(
        BASICIRSTD | {"blocks": 3}, {}, TOY_ACM, published_basicirstd, "acm"
    ),
    "agpcnet": Detector(
        model={
            "in_channels": 3,
            "channels": (64, 64, 128, 256, 512),
            "scales": (10, 6, 5, 3),  # or (10, 6, 5, 4), published as agpcnet_2
            "dropout": 0.1,
            "prior": 0.01,
            "dtype": "float32",
        },
        small={"channels": (8, 8, 16, 32, 64)},
        toy={"channels": (4, 4, 4, 4, 64), "scales": (3, 2)},
        published=published_agpcnet,
        cited="agpcnet",
    ),
    "alcnet": Detector(
        model={
            "in_channels": 3,
            "channels": (16, 32, 64),
            "blocks": 4,
            "shifts": (13, 17),
            "dropout": 0.1,
            "prior": 0.01,
            "dtype": "float32",
        },
        small={"channels": (8, 16, 32)},
        toy={"channels": (4, 8, 8), "blocks": 1, "shifts": (3,)},
        published=published_alcnet,
        cited="",  # tables mean the next
    ),
    "alcnet_basicirstd": Detector(
        BASICIRSTD, {}, TOY_ACM, published_basicirstd, "alcnet"
    ),
    "dnanet": Detector(
        model={
            "in_channels": 3,
            "channels": "three",  # or "four", or a tuple
            "blocks": "resnet_18",  # or "resnet_10", "resnet_34", or a tuple
            "deep_supervision": True,
            "prior": 0.01,
            "remat": False,
            "dtype": "float32",
        },
        small={"blocks": "resnet_10"},
        toy={"channels": (16, 16, 16), "blocks": (1, 1)},
        published=published_dnanet,
        cited="dnanet",
    ),
    "isnet": Detector(ISNET, SMALL_ISNET, TOY_ISNET, published_isnet, "isnet"),
    "isnet_dcnv2": Detector(
        model=ISNET | {"in_channels": 3, "modulated": True},
        small=SMALL_ISNET,
        toy=TOY_ISNET,
        published=published_isnet_dcnv2,
        cited="",  # tables have the first version
    ),
    "uiunet": Detector(
        model={
            "in_channels": 3,
            "channels": 64,
            "heights": (7, 6, 5, 4, 0, 0),
            "prior": 0.01,
            "remat": False,
            "dtype": "float32",
        },
        small={"channels": 16},
        toy={"channels": 4, "heights": (3, 3, 0)},
        published=published_uiunet,
        cited="uiunet",
    ),
}
