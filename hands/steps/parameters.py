"""Names of the parameters that steps read of what they are given, in groups. Free of torch: command lines start at once."""

DATA = ("packed_dir", "train_split", "val_split")
SCHEDULE = ("seed", "epochs", "batch_size", "lr", "lr_schedule", "ema_decay", "eval_every")
AUGMENTATION = ("augmentation", "hand_paste")
CLASS_WEIGHTS = (
    "class_weights",
    "class_weight_exponent",
    "background_factor",
    "palm_factor",
    "fingertips_factor",
    "fingers_factor",
)
LOSS = ("ce_weight", "dice_weight", "loss", "dice_alpha", *CLASS_WEIGHTS)
CHECKPOINT = ("checkpoint_dir", "checkpoint_minutes", "resume")
ONE_DEVICE = ("accelerator", "precision", "memory_format", "data_residency")
DEVICES = ("accelerator", "devices", "num_nodes", "strategy", "precision", "memory_format", "data_residency")
