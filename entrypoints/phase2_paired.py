"""Phase 2, paired training.

Consumes: a packed set (`packed_dir`); a G2 to go on with (`g2_model`), or none; `d_model`, but for adv_weight=0.
Produces: the model `g2` (and `discriminator` with update_discriminator, but for adv_weight=0), per-epoch metrics, learning
curves, pictures.
"""

from types import SimpleNamespace

from entrypoints.launch.command_line import entry_point
from hands.steps.given import check_given
from hands.steps.parameters import AUGMENTATION, CHECKPOINT, DATA, DEVICES, LOSS, SCHEDULE


@entry_point(
    *DATA, "unpaired", *SCHEDULE, "g2", "g2_model", "encoder_weights", "d_model", "adv_weight", "adv_input",
    "update_discriminator", "d_lr", *AUGMENTATION, *LOSS, *DEVICES, *CHECKPOINT,
)  # fmt: skip
def main(params: SimpleNamespace) -> None:
    """Trains G2 on the paired set with cross-entropy, Dice and the adversarial term."""
    given = check_given("phase2_paired", params)

    from hands.method.phase2_paired import Phase2PairedData, fit_phase2_paired
    from hands.networks.checkpoint import load_discriminator
    from hands.steps.configs import phase2_paired_config, segmentation_loss
    from hands.steps.session import session
    from hands.steps.start import start_network
    from hands.tracking.models import fetch_network
    from hands.training.rehearsal import check_trains

    config = phase2_paired_config(params)
    names = ("g2", "discriminator") if config.trains_discriminator else ("g2",)
    with session("phase2_paired", params, given, names) as step:
        size = step.packed.manifest.size
        d = load_discriminator(fetch_network(params.d_model)) if params.adv_weight else None
        g2 = start_network(params.g2, params.g2_model, params.encoder_weights, size, params.seed)
        check_trains(g2, size, step.share(params.train_split, params.batch_size))
        masks = step.mask_reader(params.unpaired) if config.trains_discriminator else None
        data = Phase2PairedData(step.reader(params.train_split), masks, step.val)
        loss = segmentation_loss(params, step.packed)
        best = fit_phase2_paired(step.fabric, config, data, g2, d, loss, step.recorder, step.checkpoint)
        step.recorder.finish({name: {"g2": g2, "discriminator": d}[name] for name in names}, size, best)


if __name__ == "__main__":
    main()
