"""A raw data set that imported pictures are added to: its pictures and labels, byte for byte."""

from collections.abc import Iterator

from hands.interhand.chunks import ImportedFrame
from hands.raw.entries import Entry
from hands.raw.layout import RawDataset

CHUNK = 256  # frames
_SUBSETS = {"train": ("train", "paired"), "unpaired_images": ("train", "unpaired_image"), "val": ("val", "val")}


def base_chunks(raw: RawDataset) -> Iterator[tuple[ImportedFrame, ...]]:
    """All frames of a data set, in order, some at a time.

    Raises:
        InvalidInput: a list or an entry of it is broken.
    """
    waiting: list[ImportedFrame] = []
    for frame in _frames(raw):
        waiting.append(frame)
        if len(waiting) == CHUNK:
            yield tuple(waiting)
            waiting = []
    if waiting:
        yield tuple(waiting)


def _frames(raw: RawDataset) -> Iterator[ImportedFrame]:
    subsets = {**_SUBSETS, "test": ("test", "test")}
    for subset, (split, role) in subsets.items():
        labelled = subset in ("train", "val") or (subset == "test" and raw.test_is_labelled)
        for entry in raw.entries(subset):
            yield _frame(raw, entry, split, role, labelled)
    for mask_id in raw.unpaired_mask_ids:
        if isinstance(mask_id, Exception):
            raise mask_id
        left, right = raw.pictures.encoded_labels(mask_id)
        yield ImportedFrame(
            split="train", role="unpaired_masks", path=f"train/unpaired_masks/{mask_id}", hand_type="interacting",
            hand_type_valid=False, bbox=(0.0, 0.0, 1.0, 1.0), seq_name="", capture=0, cam=0, frame=0,
            image=None, labels_l=left, labels_r=right,
        )  # fmt: skip


def _frame(raw: RawDataset, entry: Entry, split: str, role: str, labelled: bool) -> ImportedFrame:
    left = right = None
    if labelled:
        left, right = raw.pictures.encoded_labels(str(entry.mask_id))
    return ImportedFrame(
        split=split, role=role, path=entry.path, hand_type=entry.hand_type, hand_type_valid=entry.hand_type_valid,
        bbox=entry.box, seq_name=entry.seq_name, capture=entry.capture, cam=entry.cam, frame=entry.frame,
        image=raw.pictures.encoded_image(entry), labels_l=left, labels_r=right,
    )  # fmt: skip
