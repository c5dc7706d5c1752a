"""Phase 2, weights initialization.

Consumes: a packed set (`packed_dir`) with unpaired pictures; `g1_model`; a G2 to go on with (`g2_model`), or none.
Produces: the model `g2`, per-epoch metrics, learning curves, pictures of validation frames.
"""

from types import SimpleNamespace

from entrypoints.launch.command_line import entry_point
from hands.steps.given import check_given
from hands.steps.parameters import CHECKPOINT, DEVICES, LOSS, SCHEDULE


@entry_point(
    "packed_dir", "unpaired_split", "val_split", *SCHEDULE, "g1_model", "g2", "g2_model", "encoder_weights",
    "augmentation", "drop_fraction", *LOSS, *DEVICES, *CHECKPOINT,
)  # fmt: skip
def main(params: SimpleNamespace) -> None:
    """Trains G2 on G1's confident labels of unpaired pictures."""
    given = check_given("phase2_init", params)

    from hands.method.phase2_init import Phase2InitData, fit_phase2_init
    from hands.method.pseudo_labels import kept
    from hands.steps.configs import phase2_init_config, segmentation_loss
    from hands.steps.session import session
    from hands.steps.start import fetched_network, start_network
    from hands.training.rehearsal import check_trains

    config = phase2_init_config(params)
    with session("phase2_init", params, given, ("g2",)) as step:
        size = step.packed.manifest.size
        g1 = fetched_network(params.g1_model, size)
        g2 = start_network(params.g2, params.g2_model, params.encoder_weights, size, params.seed)
        check_trains(g2, size, kept(step.share(params.unpaired_split, 2 * params.batch_size), params.drop_fraction))
        data = Phase2InitData(step.reader(params.unpaired_split), step.val)
        loss = segmentation_loss(params, step.packed)
        best = fit_phase2_init(step.fabric, config, data, g1, g2, loss, step.recorder, step.checkpoint)
        step.recorder.finish({"g2": g2}, size, best)


if __name__ == "__main__":
    main()
