"""Evaluation.

Consumes: a packed set (`packed_dir`), a model (`model`), a labelled subset (`split`).
Produces: the split's metrics, per-part table, confusion matrices, pictures: twelve spread evenly over it, the ten best and the
ten worst.
"""

from types import SimpleNamespace

from entrypoints.launch.command_line import entry_point
from hands.steps.parameters import ONE_DEVICE

N_PICTURES = 10
N_FRAMES = 12


@entry_point("packed_dir", "model", "split", "eval_batch_size", "flip", *ONE_DEVICE)
def main(params: SimpleNamespace) -> None:
    """Scores a model on a split."""
    from hands.evaluation.coverage import coverage, require_judged
    from hands.packed.packed_set import PackedSet
    from hands.steps.devices import one_device
    from hands.steps.given import check_model

    devices = one_device(params)
    check_model(params.model)
    packed = PackedSet.open(params.packed_dir)
    subset = packed.subset(params.split)
    require_judged(subset)

    import mlflow
    import numpy as np

    from hands import tracking
    from hands.evaluation.inference import score_subset
    from hands.networks.flipped import FlipAveraged
    from hands.packed.batches import RecordReader, Shard
    from hands.pictures.figures import confusion_figure, part_table, spread
    from hands.pictures.previews import predicted_frames
    from hands.processes.origin import by_itself
    from hands.steps.known import known
    from hands.steps.start import fetched_network
    from hands.tracking.models import model_id_of, short_name, use_model
    from hands.tracking.steps import log_step_key, note_code
    from hands.training.devices import create_fabric, prepared_network

    fabric = create_fabric(devices)
    with tracking.run("evaluate", vars(params)):
        note_code("evaluate")
        model_name = short_name(params.model)
        tracking.name_run(f"evaluate {params.split} of {model_name}")
        dataset = tracking.log_dataset(packed.folder, packed.manifest, "evaluation")
        tracking.log_coverage(params.split, coverage(subset), printed=by_itself())  # else its pipeline has said it
        use_model(params.model)
        network = prepared_network(fabric, fetched_network(params.model, packed.manifest.size), params.memory_format)
        network = FlipAveraged(network) if params.flip else network
        reader = RecordReader(subset, params.data_residency, fabric.device)
        scores, mious = score_subset(network, reader, params.eval_batch_size, fabric.autocast, Shard(0, 1), progress=True)
        name = params.split
        model_id = None if params.flip else model_id_of(params.model)  # its scores in tables are of one look at a picture
        tracking.log_scores(scores.values, name, dataset, model_id)
        mlflow.log_table(part_table(scores), f"parts_{name}.json")
        mlflow.log_figure(confusion_figure(scores.confusion), f"confusion_{name}.png")
        judged = np.argsort(mious, kind="stable")[: np.count_nonzero(~np.isnan(mious))]
        evenly = spread(len(subset), N_FRAMES)
        for title, indices in (("frames", evenly), ("worst", judged[:N_PICTURES]), ("best", judged[::-1][:N_PICTURES])):
            if len(indices):
                picture = predicted_frames(network, reader, indices, fabric.autocast, mious)
                mlflow.log_image(picture, artifact_file=f"{title}_{name}.png")
                if title == "frames":
                    mlflow.log_image(picture, key=f"{name}_frames", step=0)  # the image grid compares runs by it
        log_step_key("evaluate", vars(params), known(params, packed, devices, fabric))
        if by_itself():
            print(f"== {name}/miou {scores.values['miou']:.4f} of {model_name}")


if __name__ == "__main__":
    main()
