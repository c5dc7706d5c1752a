"""Predicted labels as files: label pictures and overlays of a folder of photographs or a split, or the submission archive."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import nn

from hands.errors import InvalidInput
from hands.evaluation.inference import Autocast, logits_of_subset, predict_subset
from hands.files.boxes import Box
from hands.files.decoding import BrokenEntry
from hands.files.encoding import encode_part_ids
from hands.networks.logits import labels_of, probabilities_of
from hands.packed.batches import RecordReader
from hands.packed.places import read_places
from hands.parts import HAND_SUFFIXES, HANDS
from hands.pictures.figures import TILE, overlay, tile_rows, to_uint8
from hands.prediction.labelling import Framed, Labeller, confidence_of, labels_at
from hands.prediction.photographs import Listed, listed_to_label, named, read_photograph
from hands.prediction.submission import SubmissionWriter
from hands.processes.folders import whole_folder
from hands.processes.progress import Progress

OVERLAY_SIDE = 1024  # pixels, of a larger picture's overlay
TABLE = "predictions.csv"


@dataclass(frozen=True)
class _Waiting:
    """A box of a photograph until its labels are predicted: what is kept of the picture is small."""

    name: str  # of its outputs
    file: str
    number: int  # of the box, from 1
    framed: Framed
    crop: np.ndarray  # (S, S, 3)
    small: np.ndarray  # (h, w, 3), for the overlay
    width: int
    height: int


@dataclass
class Predicted:
    """What became of a folder. broken: what was wrong with each picture that could not be labelled."""

    labelled: int
    found: int  # of these: pictures whose box the network found
    without_box: list[str]
    not_read: list[str]
    broken: dict[str, str]


def predict_photographs(
    labeller: Labeller, folder: str, boxes: str, batch_size: int, out_dir: str,
    show: Callable[[str, np.ndarray, np.ndarray], None],
) -> Predicted:  # fmt: skip
    """Labels a folder of pictures at their own size, and those in its folders; a picture that cannot be read is left out.

    labels/<file>__l.png and __r.png: one channel, part ids 0..16. overlays/<file>.png: both hands side by side, at most
    OVERLAY_SIDE pixels each, with a legend. Of a picture with several boxes <file>__box1, <file>__box2, ... TABLE: a line a
    box, with the box used, the passes made and the confidence of each hand.

    Args:
        show: is called with each output's name, picture (h, w, 3) and labels (2, h, w) as the overlay has them.

    Raises:
        InvalidInput: nothing could be labelled, or what listed_to_label and whole_folder refuse.
    """
    listing = listed_to_label(folder, boxes, out_dir)
    result = Predicted(0, 0, listing.without_box, listing.not_read, {})
    total = len(listing.photographs)
    with whole_folder(out_dir) as partial, Progress("predict", total, "images") as progress:
        with (partial / TABLE).open("w", encoding="utf-8", newline="") as lines:
            table = csv.writer(lines)
            table.writerow(["file", "box", "x", "y", "w", "h", "found", "passes", *(f"confidence_{h}" for h in HAND_SUFFIXES)])
            waiting: list[_Waiting] = []
            for listed in listing.photographs:
                try:
                    waiting += _frame(labeller, listed)
                except BrokenEntry as error:
                    result.broken[listed.file] = str(error)
                else:
                    result.labelled += 1
                    result.found += not listed.boxes
                while len(waiting) >= batch_size:
                    _write(labeller, waiting[:batch_size], partial, table, show)
                    del waiting[:batch_size]
                progress.update(1)
            if waiting:
                _write(labeller, waiting, partial, table, show)
        if not result.labelled:
            raise InvalidInput(f"No picture of {folder} could be labelled: {next(iter(result.broken.values()))}")
    return result


def report(result: Predicted, out_dir: str) -> None:
    """Says what became of a folder.

    Raises:
        InvalidInput: pictures could not be labelled; the others are in `out_dir`.
    """
    print(f"{result.labelled} pictures labelled in {out_dir}; in {result.found} of them the network found the hands itself.")
    if result.without_box:
        print(f"The boxes file does not name {named(result.without_box)}: there the hands were looked for.")
    if result.not_read:
        print(f"Not read, for they are no PNG, JPEG or WebP: {named(result.not_read)}.")
    if result.broken:
        reasons = "\n".join(list(result.broken.values())[:10])
        raise InvalidInput(
            f"{len(result.broken)} of {result.labelled + len(result.broken)} pictures could not be labelled"
            f" ({named(list(result.broken))}); all others are in {out_dir}.\n{reasons}"
        )


def _frame(labeller: Labeller, listed: Listed) -> list[_Waiting]:
    photograph = read_photograph(listed)
    boxes: tuple[Box | None, ...] = listed.boxes or (None,)
    waiting = []
    for number, box in enumerate(boxes, 1):
        framed = labeller.frame(photograph, box)
        name = listed.file if len(boxes) == 1 else f"{listed.file}__box{number}"
        crop, small = photograph.crop(framed.box, labeller.size), photograph.small(OVERLAY_SIDE)
        waiting.append(_Waiting(name, listed.file, number, framed, crop, small, photograph.width, photograph.height))
    return waiting


def _write(labeller: Labeller, batch: list[_Waiting], folder: Path, table, show: Callable) -> None:
    for item, probabilities in zip(batch, labeller.probabilities([item.crop for item in batch]), strict=True):
        labels = labels_at(probabilities, item.framed.box, item.height, item.width)
        height, width = item.small.shape[:2]
        small = np.stack([_shrunk(hand, height, width) for hand in labels])
        write_labels(folder, item.name, labels)
        write_sheet(folder, item.name, item.small, small)
        numbers = [f"{number:.2f}" for number in item.framed.box]
        found = "yes" if item.framed.passes > 1 else "no"
        sure = [f"{number:.3f}" for number in confidence_of(probabilities)]
        table.writerow([item.file, item.number, *numbers, found, item.framed.passes, *sure])
        show(item.name, item.small, small)


def predict_split(network: nn.Module, reader: RecordReader, autocast: Autocast, batch_size: int, out_dir: str) -> None:
    """Writes labels and overlays of a split's crops, named by their paths, and in the folder `pictures` the labels at the
    size of the pictures that they were cut from, where the packed set knows it."""
    subset = reader.subset
    places = read_places(subset)
    with whole_folder(out_dir) as partial, Progress("predict", len(subset), "images") as progress:
        for indices, images, _, logits in logits_of_subset(network, reader, np.arange(len(subset)), batch_size, autocast):
            predicted, probabilities = labels_of(logits).cpu().numpy(), probabilities_of(logits).cpu().numpy()
            del logits
            for n, (i, picture) in enumerate(zip(indices, to_uint8(images), strict=True)):
                write_labels(partial, subset.paths[i], predicted[n])
                write_thumbnail(partial, subset.paths[i], picture, predicted[n])
                if places:
                    box, shape = places[i]
                    write_labels(partial / "pictures", subset.paths[i], labels_at(probabilities[n], box, *shape))
            progress.update(len(indices))


def predict_submission(network: nn.Module, reader: RecordReader, autocast: Autocast, batch_size: int, out_dir: str) -> None:
    """Writes the submission archive of a split (hands.prediction.submission)."""
    subset = reader.subset
    with SubmissionWriter(out_dir) as writer, Progress("predict", len(subset), "images") as progress:
        for indices, _, _, predicted in predict_subset(network, reader, np.arange(len(subset)), batch_size, autocast):
            writer.add([subset.paths[i] for i in indices], predicted.cpu())
            progress.update(len(indices))


def write_labels(folder: Path, name: str, labels: Sequence[np.ndarray]) -> None:
    """labels/<name>__l.png and __r.png: one channel, part ids 0..16."""
    for suffix, hand_labels in zip(HAND_SUFFIXES, labels, strict=True):
        path = folder / "labels" / f"{name}__{suffix}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_part_ids(hand_labels))


def write_sheet(folder: Path, name: str, picture: np.ndarray, labels: Sequence[np.ndarray]) -> None:
    """overlays/<name>.png: the picture with its left hand's labels, and beside it with the right hand's, named, and below them
    which colour is which part."""
    tiles = [overlay(picture, hand) for hand in labels]
    sheet = tile_rows([tiles], [f"{hand} hand" for hand in HANDS], [name], columns=1, side=max(TILE, picture.shape[1]))
    sheet.save(_overlay_path(folder, name))


def write_thumbnail(folder: Path, name: str, crop: np.ndarray, labels: Sequence[np.ndarray]) -> None:
    """overlays/<name>.png: the crop with its left hand's labels, and beside it with the right hand's, pixel by pixel."""
    Image.fromarray(np.concatenate([overlay(crop, hand) for hand in labels], axis=1)).save(_overlay_path(folder, name))


def _overlay_path(folder: Path, name: str) -> Path:
    path = folder / "overlays" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _shrunk(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """The label under the centre of each pixel of a smaller picture."""
    rows, columns = ((np.arange(n) + 0.5) * (m / n) for n, m in zip((height, width), labels.shape, strict=True))
    return labels[rows.astype(np.int64)][:, columns.astype(np.int64)]
