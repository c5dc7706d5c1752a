"""Phase 1.

Consumes: a packed set (`packed_dir`); a G1 to go on with (`g1_model`), or none.
Produces: the models `g1` and `discriminator`, per-epoch metrics, learning curves, pictures of validation frames.
"""

from types import SimpleNamespace

from entrypoints.launch.command_line import entry_point
from hands.steps.given import check_given
from hands.steps.parameters import AUGMENTATION, CHECKPOINT, CLASS_WEIGHTS, DATA, DEVICES, SCHEDULE


@entry_point(
    *DATA, "unpaired", *SCHEDULE, "g1", "g1_model", "encoder_weights",
    *AUGMENTATION, "adv_input", "d_lr", *CLASS_WEIGHTS, *DEVICES, *CHECKPOINT,
)  # fmt: skip
def main(params: SimpleNamespace) -> None:
    """Trains G1 on the paired set, and D on the side."""
    given = check_given("phase1", params)

    import torch

    from hands.method.phase1 import Phase1Data, fit_phase1
    from hands.networks.discriminator import Discriminator
    from hands.steps.configs import ce_class_weights, phase1_config
    from hands.steps.session import session
    from hands.steps.start import start_network
    from hands.training.rehearsal import check_trains

    config = phase1_config(params)
    with session("phase1", params, given, ("g1", "discriminator")) as step:
        size = step.packed.manifest.size
        g1 = start_network(params.g1, params.g1_model, params.encoder_weights, size, params.seed)
        check_trains(g1, size, step.share(params.train_split, params.batch_size))
        data = Phase1Data(step.reader(params.train_split), step.mask_reader(params.unpaired), step.val)
        d = Discriminator()
        weights = torch.from_numpy(ce_class_weights(params, step.packed))
        best = fit_phase1(step.fabric, config, data, g1, d, weights, step.recorder, step.checkpoint)
        step.recorder.finish({"g1": g1, "discriminator": d}, size, best)


if __name__ == "__main__":
    main()
