"""Every parameter of every entry point: its type and meaning, in the groups of --help. Defaults are in MLproject alone."""

from collections.abc import Callable

import click

from entrypoints.launch import places
from hands.steps.parameters import AUGMENTATION, DATA, DEVICES, LOSS, ONE_DEVICE


class Place(click.ParamType):
    """A text that may lead to a place on this machine; made absolute.

    Args:
        name: of such a place, in messages.
        absolute: makes it so.
    """

    def __init__(self, name: str, absolute: Callable[[str], str]):
        self.name = name
        self.absolute = absolute

    def convert(self, value: str, param: click.Parameter | None, context: click.Context | None) -> str:
        try:
            return self.absolute(value)
        except RuntimeError as error:  # ~ of a user that is not there
            self.fail(f"'{value}' leads nowhere: {error}", param, context)


PATH = Place("path", places.absolute)
STORE = Place("uri", places.absolute_store)
MODEL = Place("uri or path", places.absolute_if_there)
TEXT = click.STRING
COUNT = click.IntRange(min=0)
POSITIVE = click.IntRange(min=1)
NUMBER = click.FLOAT
FLAG = click.BOOL

GROUPS = {
    "Data": {
        "data_dir": (PATH, "folder in the raw InterHand2.6M layout"),
        "out_dir": (PATH, "folder to write; must not exist yet"),
        "packed_dir": (PATH, "packed set of `prepare`; empty for the model's or the last finished main's (main: a new one)"),
        "size": (POSITIVE, "side of the crops in pixels, a multiple of 32"),
        "channel_order": (click.Choice(["bgr", "rgb"]), "how a standard decoder reads the pictures: bgr as the layout has it"),
        "skip_broken": (FLAG, "drop and count broken entries instead of refusing the dataset"),
        "max_broken": (NUMBER, "with skip_broken: share of a split's entries, 0 to 1, above which it is refused all the same"),
        "workers": (COUNT, "processes that make or pack data; 0 for one for each processor that may be used"),
        "train_split": (click.Choice(["train", "minitrain", "trainval"]), "paired pictures to train on"),
        "val_split": (click.Choice(["val", "minival"]), "pictures to choose the best epoch on"),
        "unpaired_split": (click.Choice(["unpaired_images", "miniunpaired_images"]), "unpaired pictures to train on"),
        "unpaired": (click.Choice(["none", "masks", "images", "both"]), "what is used beside the pairs"),
    },
    "Synthetic data": {
        "level": (click.IntRange(1, 3), "1 upright hands, few poses; 2 upright, free fingers; 3 any direction and pose"),
        "width": (POSITIVE, "of the pictures, in pixels"),
        "height": (POSITIVE, "of the pictures, in pixels"),
        "n_paired": (COUNT, "paired training frames"),
        "n_unpaired_images": (COUNT, "training pictures without masks"),
        "n_unpaired_masks": (COUNT, "training masks without a picture"),
        "n_val": (COUNT, "validation frames, of subjects of their own"),
        "n_test": (COUNT, "test frames, of subjects of their own"),
        "paired_subjects": (POSITIVE, "subjects of the paired training frames"),
        "unpaired_subjects": (POSITIVE, "subjects of all training frames"),
        "eval_subjects": (POSITIVE, "subjects of the validation frames, and as many of the test frames"),
    },
    "Import of the public InterHand2.6M release": {
        "release_dir": (PATH, "folder of the release, with images/ and annotations/ in it"),
        "release_split": (click.Choice(["train", "val", "test"]), "the release's own split to take pictures from"),
        "labels": (click.Choice(["joints", "mano"]), "what labels are made from: annotated joints, or MANO fits"),
        "mano_dir": (PATH, "folder with MANO_RIGHT and MANO_LEFT, for labels=mano; empty otherwise"),
        "max_fit_error_mm": (NUMBER, "mean joint error in millimetres above which a MANO fit is not used"),
        "hand_type": (TEXT, "comma list of left, right, interacting; empty for all"),
        "cameras": (TEXT, "comma list of cameras, * and ? allowed: 40* colour, 41* grey; empty for all"),
        "captures": (TEXT, "comma list of captures; empty for all"),
        "subjects": (TEXT, "comma list of subjects; empty for all"),
        "every": (POSITIVE, "take one of so many moments of a sequence"),
        "count": (COUNT, "pictures to draw of those that pass the filters; 0 for all"),
        "split_by": (click.Choice(["subject", "capture"]), "what is never divided between train, val and test"),
        "val_share": (NUMBER, "share of the subjects or captures that go to val"),
        "test_share": (NUMBER, "share of the subjects or captures that go to test"),
        "paired_share": (NUMBER, "share of train's moments that are paired"),
        "unpaired_masks_share": (NUMBER, "share of train's other moments that give masks alone; the rest give pictures alone"),
        "base_dir": (PATH, "dataset in the raw layout that the pictures are added to; empty for none"),
    },
    "Networks": {
        "g1": (TEXT, "network of phase 1: uxnet, uplusregnet, light or architecture:encoder"),
        "g2": (TEXT, "network of phase 2, named alike; with g2_model that model's network is used"),
        "encoder_weights": (click.Choice(["auto", "imagenet", "none"]), "what the encoder starts from"),
        "g1_model": (MODEL, "MLflow URI of a G1; empty for the last finished main's, in phase1 for a new one"),
        "g2_model": (MODEL, "MLflow URI of a G2 to go on with; empty to start anew"),
        "d_model": (MODEL, "MLflow URI of a discriminator, if adv_weight is not 0; empty for that of the last finished main"),
        "model": (MODEL, "MLflow URI of the model to use"),
    },
    "Schedule": {
        "seed": (COUNT, "of data, order, augmentation and weights"),
        "epochs": (POSITIVE, "passes over the training pictures"),
        "phase1_epochs": (POSITIVE, "epochs of phase 1"),
        "round1_init_epochs": (COUNT, "epochs of weights initialization, round 1; 0 leaves it out"),
        "round1_paired_epochs": (POSITIVE, "epochs of paired training, round 1"),
        "round2_init_epochs": (COUNT, "epochs of weights initialization, round 2; 0 leaves it out"),
        "round2_paired_epochs": (POSITIVE, "epochs of paired training, round 2"),
        "batch_size": (POSITIVE, "pictures of a step, of all processes together; unpaired batches are twice that"),
        "lr": (NUMBER, "Adam's learning rate"),
        "paired_lr": (NUMBER, "Adam's learning rate in paired training"),
        "lr_schedule": (click.Choice(["constant", "cosine"]), "cosine: 5 % linear warm-up, then down to 2 % of lr"),
        "ema_decay": (NUMBER, "decay of the running average of the weights that is evaluated and logged; 0 for none"),
        "eval_every": (POSITIVE, "epochs between evaluations"),
    },
    "Augmentation": {
        "augmentation": (click.Choice(["published", "strong"]), "how far pictures are moved and coloured anew in training"),
        "hand_paste": (NUMBER, "share, 0 to 1, of a batch's labelled single-hand pictures that get another one's hand"),
    },
    "Losses": {
        "ce_weight": (NUMBER, "weight of cross-entropy"),
        "dice_weight": (NUMBER, "weight of the second term, Dice by default"),
        "adv_weight": (NUMBER, "share of the adversarial term, 0 to 1; at 0 there is no discriminator"),
        "loss": (click.Choice(["dice", "jaccard", "ce"]), "the second term"),
        "dice_alpha": (NUMBER, "0 for Dice; above 0 the self-adjusting variant's exponent"),
        "adv_input": (click.Choice(["one_hot", "softmax"]), "what D sees of a network: straight-through one-hot or softmax"),
        "update_discriminator": (FLAG, "let D go on learning in phase 2"),
        "d_lr": (NUMBER, "D's learning rate"),
        "drop_fraction": (NUMBER, "share of every unpaired batch that is dropped as least confident"),
        "class_weights": (
            click.Choice(["manual", "strong", "none", "inverse", "median_frequency", "effective_number"]),
            "scheme of the cross-entropy's class weights",
        ),
        "class_weight_exponent": (NUMBER, "exponent on the scheme's weights"),
        "background_factor": (NUMBER, "factor on the background's class weight"),
        "palm_factor": (NUMBER, "factor on the class weights of palm and thumb base"),
        "fingertips_factor": (NUMBER, "factor on the fingertips' class weights"),
        "fingers_factor": (NUMBER, "factor on the other finger parts' class weights"),
    },
    "Devices": {
        "accelerator": (TEXT, "Lightning Fabric's accelerator: auto, cpu, cuda, ..."),
        "devices": (TEXT, "devices (CPU: processes) on this machine, or auto"),
        "num_nodes": (POSITIVE, "machines"),
        "strategy": (TEXT, "Lightning Fabric's strategy: auto, ddp, ..."),
        "precision": (click.Choice(["auto", "bf16-mixed", "16-mixed", "32-true"]), "auto: bf16 where the processor has it"),
        "memory_format": (click.Choice(["auto", "channels_last", "contiguous"]), "layout of the networks' tensors"),
        "data_residency": (click.Choice(["disk", "device"]), "where the packed set is read from while training"),
    },
    "Checkpoints": {
        "checkpoint_dir": (PATH, "folder for the checkpoints of training steps, on a disk that a restarted job sees"),
        "checkpoint_minutes": (NUMBER, "minutes between checkpoints within an epoch; each epoch's end has one too"),
        "resume": (TEXT, "run id of a broken-off run of this step to go on with, or latest; empty to start anew"),
    },
    "Evaluation and prediction": {
        "split": (TEXT, "subset of the packed set: val, minival, test, train, minitrain or trainval"),
        "eval_batch_size": (POSITIVE, "pictures of a forward pass"),
        "flip": (FLAG, "average what the network sees in a picture and in its mirror image; takes twice as long"),
        "models": (TEXT, "models to compare, with commas between: MLflow URIs, run ids, experiment:<name> for all its runs"),
        "images": (PATH, "folder of PNG, JPEG and WebP pictures to predict instead of a split; empty for the split"),
        "boxes": (PATH, "file with boxes for pictures of `images`; where there is none the network looks for the hands"),
    },
    "Sweep": {
        "space": (TEXT, "search space: a file in sweeps/spaces"),
        "study_name": (TEXT, "study to begin or go on with; empty for the space's name"),
        "storage": (STORE, "Optuna's database: sqlite:///file or postgresql://user@host:port/database"),
        "n_trials": (POSITIVE, "trials of the study in total, those of earlier calls and other machines included"),
        "n_workers": (POSITIVE, "processes on this machine, which share its cores"),
        "sampler": (click.Choice(["tpe", "gp", "random"]), "what proposes weights"),
        "pruner": (click.Choice(["hyperband", "median", "none"]), "what breaks off trials that lag behind"),
        "heartbeat_interval": (POSITIVE, "seconds between a worker's signs of life; after four missed ones it counts as dead"),
        "init_epochs": (COUNT, "epochs of weights initialization in a trial; 0 leaves it out"),
        "paired_epochs": (POSITIVE, "epochs of paired training in a trial"),
    },
    "Pipeline": {
        "params_from": (
            MODEL,
            "a sweep's run id or a best_params.json, whose parameters replace the recipe's; empty for none",
        ),
        "work_dir": (PATH, "folder for the datasets that the pipeline makes"),
        "registered_model": (TEXT, "name in the model registry"),
        "recipe": (click.Choice(["main", "dryrun", "full"]), "whose defaults these are; names the run"),
    },
    "Room on the disk": {
        "yes": (FLAG, "remove what is found, instead of saying what would be removed"),
    },
    "Benchmark": {
        "lines": (TEXT, "lines of the benchmark to measure, with commas between"),
        "networks": (TEXT, "networks of line 5, with commas between; the first one is the other lines' too"),
        "rounds": (POSITIVE, "how often everything is measured; medians are reported"),
        "min_seconds": (POSITIVE, "lines 1 to 5 are measured oftener where all rounds would take less than that"),
        "steps": (POSITIVE, "training steps of a round"),
        "growth_frames": (POSITIVE, "frames of line 6's smallest set; others have 4 and 16 times, line 8 100 times as many"),
        "compiled": (click.Choice(["auto", "true", "false"]), "measure torch.compile in line 5; auto: on an accelerator"),
        "published": (click.Choice(["auto", "true", "false"]), "measure the published networks too; auto: on an accelerator"),
    },
    "Tests": {
        "pytest_args": (TEXT, "what pytest is called with"),
    },
}
TYPES = {name: kind for group in GROUPS.values() for name, kind in group.items()}

SYNTHESIS = (
    "seed", "level", "width", "height", "n_paired", "n_unpaired_images", "n_unpaired_masks", "n_val", "n_test",
    "paired_subjects", "unpaired_subjects", "eval_subjects", "workers",
)  # fmt: skip
PIPELINE = (
    "recipe", "data_dir", "packed_dir", "work_dir", "params_from", *SYNTHESIS, "size", "channel_order",
    "skip_broken", "max_broken",
    "train_split", "val_split", "unpaired", "unpaired_split", "g1", "g2", "encoder_weights",
    "phase1_epochs", "round1_init_epochs", "round1_paired_epochs", "round2_init_epochs", "round2_paired_epochs",
    "batch_size", "lr", "paired_lr", "lr_schedule", "ema_decay", "eval_every", *AUGMENTATION,
    "adv_weight", "adv_input", "update_discriminator", "d_lr", "drop_fraction", *LOSS, *DEVICES,
    "checkpoint_dir", "checkpoint_minutes", "eval_batch_size", "registered_model",
)  # fmt: skip
SWEEP = (
    "space", "study_name", "storage", "n_trials", "n_workers", "sampler", "pruner", "heartbeat_interval",
    *DATA, "unpaired", "unpaired_split", "g1_model", "d_model", "g2", "encoder_weights", "seed",
    "init_epochs", "paired_epochs", "batch_size", "lr", "paired_lr", "lr_schedule", "ema_decay", "eval_every", *AUGMENTATION,
    "adv_weight", "adv_input", "update_discriminator", "d_lr", "drop_fraction", *LOSS, *ONE_DEVICE,
)  # fmt: skip
BENCH = (
    "lines", "networks", "size", "batch_size", "eval_batch_size", "rounds", "min_seconds", "steps", "growth_frames",
    "compiled", "published", "seed", "width", "height", *ONE_DEVICE,
)  # fmt: skip
