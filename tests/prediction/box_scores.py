"""How well the hands of whole pictures are labelled, by how they are found.

    python -m tests.prediction.box_scores MODEL DATA_DIR

MODEL: a folder or MLflow URI of a G2. DATA_DIR: a dataset in the raw layout whose test split has labels. Prints the table of
docs/predict.md for every second picture of that split: mean IoU over pictures and hands at the pictures' own size (parts of at
least 20 pixels where the listed box has 128), passes and processor time a picture; decoding and writing are left out.
"""

import sys
import time
from contextlib import nullcontext

import numpy as np
import torch

from hands.evaluation.metrics import confusion_matrices, image_hand_miou
from hands.files.boxes import Box
from hands.files.photograph import Photograph
from hands.networks.checkpoint import load_network
from hands.prediction import labelling
from hands.prediction.labelling import Labeller, labels_at
from hands.raw.layout import RawDataset
from hands.tracking.models import fetch_network

LISTED = 0
ROWS = [("the listed one", LISTED), ("the whole picture", 1), *((f"found, at most {n} passes", n) for n in (2, 3, 4, 5))]
HEADER = "| box | flip | mean IoU | passes | seconds |\n|---|---|---|---|---|"


def main(model: str, data_dir: str) -> None:
    torch.set_num_threads(1)
    network, size = load_network(fetch_network(model))
    raw = RawDataset(data_dir, "bgr")
    pictures = [(raw.pictures.image(e), e.box, raw.pictures.labels(e.mask_id)) for e in raw.entries("test")[::2]]
    print(f"{len(pictures)} pictures\n{HEADER}")
    for flip in (False, True):
        labeller = Labeller(network.eval(), size, torch.device("cpu"), nullcontext, flip)
        for name, passes in ROWS:
            labelling.MAX_PASSES = passes
            scores, made, seconds = zip(*(scored(labeller, *picture, passes == LISTED) for picture in pictures), strict=True)
            mean = np.nanmean(np.concatenate(scores))
            print(f"| {name} | {flip} | {mean:.3f} | {np.mean(made):.1f} | {np.mean(seconds):.3f} |", flush=True)


def scored(labeller: Labeller, image: np.ndarray, box: Box, labels: np.ndarray, given: bool) -> tuple[np.ndarray, int, float]:
    """Mean IoU of both hands, passes, processor seconds."""
    photograph = Photograph.of_pixels(np.ascontiguousarray(image), "x")
    started = time.process_time()
    framed = labeller.frame(photograph, box if given else None)
    (probabilities,) = labeller.probabilities([photograph.crop(framed.box, labeller.size)])
    predicted = np.stack(labels_at(probabilities, framed.box, *image.shape[:2]))
    seconds = time.process_time() - started
    confusions = confusion_matrices(torch.from_numpy(predicted)[None], torch.from_numpy(labels)[None])
    return image_hand_miou(confusions, box[2])[0].numpy(), framed.passes, seconds


if __name__ == "__main__":
    main(*sys.argv[1:])
