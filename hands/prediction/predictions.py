"""Predicted labels as files: label pictures and overlays of a folder of photographs or a split, or the submission archive."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from tqdm import tqdm

from hands.evaluation.inference import Autocast, labels_of, predict_subset
from hands.packed.batches import RecordReader
from hands.parts import HAND_SUFFIXES
from hands.pictures.figures import overlay, to_uint8
from hands.prediction.photographs import list_photographs, read_photographs, to_picture
from hands.prediction.submission import SubmissionWriter
from hands.processes.folders import whole_folder


def predict_photographs(
    network: nn.Module, size: int, device: torch.device, autocast: Autocast,
    folder: str, boxes: str, batch_size: int, out_dir: str,
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:  # fmt: skip
    """Labels a folder of pictures at their own size; yields (file name, picture (H, W, 3), labels (2, H, W)) as it writes."""
    photographs = list_photographs(folder, boxes or None)
    with whole_folder(out_dir) as partial, tqdm(total=len(photographs), unit="image", mininterval=5) as progress:
        for batch in read_photographs(photographs, size, batch_size):
            with torch.inference_mode(), autocast():
                predicted = labels_of(network(batch.crops.to(device).float() / 255)).cpu()
            for file, picture, box, crop_labels in zip(batch.files, batch.pictures, batch.boxes, predicted, strict=True):
                labels = to_picture(crop_labels, box, picture.shape[:2]).numpy()
                write_labels(partial, file, picture, labels)
                yield file, picture, labels
            progress.update(len(batch.files))


def predict_split(network: nn.Module, reader: RecordReader, autocast: Autocast, batch_size: int, out_dir: str) -> None:
    """Writes labels and overlays of a split's crops, named by their paths."""
    subset = reader.subset
    with whole_folder(out_dir) as partial, tqdm(total=len(subset), unit="image", mininterval=5) as progress:
        for indices, images, _, predicted in predict_subset(network, reader, np.arange(len(subset)), batch_size, autocast):
            for i, picture, labels in zip(indices, to_uint8(images), predicted.cpu().numpy(), strict=True):
                write_labels(partial, subset.paths[i], picture, labels)
            progress.update(len(indices))


def predict_submission(network: nn.Module, reader: RecordReader, autocast: Autocast, batch_size: int, out_dir: str) -> None:
    """Writes the submission archive of a split (hands.prediction.submission)."""
    subset = reader.subset
    with SubmissionWriter(out_dir) as writer, tqdm(total=len(subset), unit="image", mininterval=5) as progress:
        for indices, _, _, predicted in predict_subset(network, reader, np.arange(len(subset)), batch_size, autocast):
            writer.add([subset.paths[i] for i in indices], predicted.cpu())
            progress.update(len(indices))


def write_labels(folder: Path, name: str, picture: np.ndarray, labels: np.ndarray) -> None:
    """labels/<name>__l.png and __r.png (one channel, part ids 0..16) and overlays/<name>.png (both hands side by side)."""
    label_path, overlay_path = folder / "labels" / name, folder / "overlays" / f"{name}.png"
    for path in (label_path, overlay_path):
        path.parent.mkdir(parents=True, exist_ok=True)
    for suffix, hand_labels in zip(HAND_SUFFIXES, labels, strict=True):
        Image.fromarray(hand_labels).save(label_path.with_name(f"{label_path.name}__{suffix}.png"))
    Image.fromarray(np.concatenate([overlay(picture, hand) for hand in labels], axis=1)).save(overlay_path)
