"""Prediction.

Consumes: a model (`model`); a subset of a packed set (`packed_dir`, `split`), or a folder of pictures (`images`, `boxes`).
Produces: labels and overlays in `out_dir`; for the test split the submission archive. Pictures that cannot be read are left
out: then the others are in `out_dir`, and the run ends FAILED.
"""

from types import SimpleNamespace

from entrypoints.launch.command_line import entry_point
from entrypoints.launch.out_dir import check_out_dir
from hands.steps.parameters import ONE_DEVICE

N_PREVIEWS = 12
PHOTOGRAPH_SIDE = 320  # pixels, of its tiles in the run


@entry_point("model", "packed_dir", "split", "images", "boxes", "out_dir", "eval_batch_size", "flip", *ONE_DEVICE)
def main(params: SimpleNamespace) -> None:
    """Writes the amodal labels of both hands for a split or a folder of pictures."""
    from hands.packed.packed_set import PackedSet, require_records
    from hands.prediction.photographs import listed_to_label
    from hands.steps.devices import one_device
    from hands.steps.given import check_model

    devices = one_device(params)
    check_model(params.model)
    packed = None if params.images else PackedSet.open(params.packed_dir)
    if packed is None:
        listed_to_label(params.images, params.boxes, params.out_dir)
    else:
        require_records(packed.subset(params.split))
    check_out_dir(params.out_dir)

    from pathlib import Path

    import mlflow
    import numpy as np

    from hands import tracking
    from hands.evaluation.inference import predict_subset
    from hands.networks.checkpoint import load_network
    from hands.networks.flipped import FlipAveraged
    from hands.packed.batches import RecordReader
    from hands.parts import HANDS
    from hands.pictures.figures import frame_rows, overlay, spread, tile_rows
    from hands.prediction.labelling import Labeller
    from hands.prediction.predictions import TABLE, predict_photographs, predict_split, predict_submission, report
    from hands.steps.known import known
    from hands.steps.start import fetched_network
    from hands.tracking.models import fetch_network, short_name, use_model
    from hands.tracking.steps import is_made, log_step_key, note_code
    from hands.training.devices import create_fabric, prepared_network

    fabric = create_fabric(devices)
    with tracking.run("predict", vars(params)):
        note_code("predict")
        use_model(params.model)
        if packed is None:
            network, size = load_network(fetch_network(params.model))
            network = prepared_network(fabric, network, params.memory_format)
            labeller = Labeller(network, size, fabric.device, fabric.autocast, params.flip)

            def show(name: str, picture: np.ndarray, labels: np.ndarray) -> None:
                tiles = [picture, *(overlay(picture, hand) for hand in labels)]
                sheet = tile_rows([tiles], ["image", *(f"{hand} hand" for hand in HANDS)], [name], 1, side=PHOTOGRAPH_SIDE)
                mlflow.log_image(sheet, artifact_file=f"overlays/{name}.png")

            source = params.images, params.boxes, params.eval_batch_size, params.out_dir
            predicted = predict_photographs(labeller, *source, show)
            tracking.name_run(f"predict {Path(params.images).name} ({predicted.labelled})")
            mlflow.log_artifact(f"{params.out_dir}/{TABLE}")
            tracking.log_output_folder("predictions", params.out_dir, None)
            report(predicted, params.out_dir)
        else:
            tracking.name_run(f"predict {params.split} ({len(packed.subset(params.split))}) with {short_name(params.model)}")
            tracking.log_dataset(packed.folder, packed.manifest, "prediction")
            network = prepared_network(fabric, fetched_network(params.model, packed.manifest.size), params.memory_format)
            network = FlipAveraged(network) if params.flip else network
            reader = RecordReader(packed.subset(params.split), params.data_residency, fabric.device)
            if not is_made(params.out_dir):
                write = predict_submission if params.split == "test" else predict_split
                write(network, reader, fabric.autocast, params.eval_batch_size, params.out_dir)
            indices = spread(len(reader.subset), N_PREVIEWS)
            _, images, _, predicted = next(predict_subset(network, reader, indices, len(indices), fabric.autocast))
            captions = [reader.subset.paths[i] for i in indices]
            mlflow.log_image(frame_rows(images, None, predicted, captions, 3), artifact_file=f"predicted_{params.split}.png")
            log_step_key("predict", vars(params), known(params, packed, devices, fabric))
            tracking.log_output_folder("predictions", params.out_dir, None)


if __name__ == "__main__":
    main()
