"""Images and labels of the raw layout, read by key. Free of torch, so that worker processes start quickly."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hands.files.decoding import BrokenEntry, decode_image, decode_labels
from hands.files.lmdb_files import MAX_KEY_BYTES, environment
from hands.parts import HAND_SUFFIXES, HANDS, IGNORED, LEFT_LABEL_OFFSET, NUM_PARTS
from hands.raw.entries import Entry

IMAGES = "interhand.lmdb"
LABELS = "segm_train_val_mp.lmdb"

_INVALID = 254


def _label_table(offset: int) -> np.ndarray:
    """(256,) uint8: stored value -> part id or IGNORED, _INVALID where the value does not belong to this hand."""
    table = np.full(256, _INVALID, np.uint8)
    table[0] = 0
    table[offset + 1 : offset + NUM_PARTS + 1] = np.arange(1, NUM_PARTS + 1)
    table[IGNORED] = IGNORED
    return table


_TABLES = (_label_table(LEFT_LABEL_OFFSET), _label_table(0))
_RANGES = ("0, 17..32 or 255", "0..16 or 255")


@dataclass(frozen=True)
class RawPictures:
    """Images and labels of a raw data set, by key. Picklable; every process opens its own LMDB handles.

    channel_order: 'bgr' where red and blue are swapped in the files (the layout's own way), 'rgb' for ordinary files.
    """

    folder: Path
    channel_order: str

    def image(self, entry: Entry) -> np.ndarray:
        """The entry's picture, (H, W, 3) uint8 RGB.

        Raises:
            BrokenEntry: missing, or not a usable picture.
        """
        encoded = self.encoded_image(entry)
        image = decode_image(encoded, f"{IMAGES}: {entry.key}", upright=False)
        return image[..., ::-1] if self.channel_order == "bgr" else image

    def encoded_image(self, entry: Entry) -> bytes:
        """The entry's picture as it is stored.

        Raises:
            BrokenEntry: missing.
        """
        return self._value(IMAGES, entry.key, "image missing")

    def encoded_labels(self, mask_id: str) -> tuple[bytes, bytes]:
        """The left and the right hand's labels as they are stored.

        Raises:
            BrokenEntry: missing.
        """
        left, right = (self._value(LABELS, f"{mask_id}__{suffix}", "labels missing") for suffix in HAND_SUFFIXES)
        return left, right

    def labels(self, mask_id: str) -> np.ndarray:
        """Both hands' labels, (2, H, W) uint8 of 0..16 or IGNORED (stored as 255 in either PNG), left hand first.

        Raises:
            BrokenEntry: missing, not a usable PNG, of two sizes, or with a value that is no part of that hand.
        """
        left, right = (self._hand_labels(mask_id, hand) for hand in range(len(HANDS)))
        if left.shape != right.shape:
            raise BrokenEntry(
                "labels of another size",
                f"{LABELS}: {mask_id} is {_size(left)} for the left hand, {_size(right)} for the right; make both the image's.",
            )
        return np.stack([left, right])

    def _hand_labels(self, mask_id: str, hand: int) -> np.ndarray:
        key = f"{mask_id}__{HAND_SUFFIXES[hand]}"
        stored = decode_labels(self._value(LABELS, key, "labels missing"), f"{LABELS}: {key}")
        labels = _TABLES[hand][stored]
        if (labels == _INVALID).any():
            found = int(stored[labels == _INVALID][0])
            raise BrokenEntry(
                "labels out of range",
                f"{LABELS}: {key} holds the value {found}; the {HANDS[hand]} hand's labels are {_RANGES[hand]}: correct it.",
            )
        return labels

    def _value(self, file: str, key: str, reason: str) -> bytes:
        encoded_key = key.encode()
        if len(encoded_key) > MAX_KEY_BYTES:
            raise BrokenEntry(
                reason, f"{file} cannot hold a key of {len(encoded_key)} bytes ({key[:60]}...); correct the entry."
            )
        with environment(self.folder / file).begin(buffers=False) as transaction:
            value = transaction.get(encoded_key)
        if value is None:
            raise BrokenEntry(reason, f"{file} has no {key}; add it or remove the entry from the lists.")
        return value


def _size(labels: np.ndarray) -> str:
    return f"{labels.shape[1]} x {labels.shape[0]}"
