"""The raw InterHand2.6M layout for amodal segmentation: names of its files, and reading it.

    interhand.lmdb/            image path as in the lists, without "./" -> PNG or JPEG
    segm_train_val_mp.lmdb/    "<id>__l", "<id>__r" -> PNG of labels, the image's size; right 1..16, left 17..32, 255 unknown
    datalist_*.pt              lists of entries (hands/raw/entries.py)
    path2id_*.pt               path after images/, no extension -> id of the labels
    unpaired_segm_ids.pt       ids of labels without a usable image
    path2id_test.pt            optional: a synthetic test split has labels too
    provenance.json            optional: where the data comes from, under which licence (hands/raw/provenance.py)

Images were handed to OpenCV's encoder as RGB, so red and blue are swapped in the files ('bgr' below).
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from hands.errors import InvalidInput
from hands.files.decoding import BrokenEntry
from hands.files.lmdb_files import MAX_KEY_BYTES, environment
from hands.raw.digest import raw_digest
from hands.raw.entries import READ, Entry, read_entry
from hands.raw.names import LIST_COMPLETE, LISTS, MASK_IDS, UNPAIRED_IDS
from hands.raw.pictures import IMAGES, LABELS, RawPictures
from hands.raw.plain_values import one
from hands.raw.pt_lists import read_dict, read_list

REQUIRED = (IMAGES, LABELS, LIST_COMPLETE, *LISTS.values(), MASK_IDS["train"], MASK_IDS["val"], UNPAIRED_IDS)
CHANNEL_ORDERS = ("bgr", "rgb")
_MOST_BROKEN = 1_000_000  # entries of a list that are kept as errors


class RawDataset:
    """A raw data set. Lists are read when first asked for and kept; picklable.

    Args:
        folder: the InterHand2.6M folder.
        channel_order: see RawPictures.

    Raises:
        InvalidInput: the folder is not there or lacks files of the layout.
    """

    def __init__(self, folder: str | Path, channel_order: str):
        self.folder = Path(folder)
        if channel_order not in CHANNEL_ORDERS:
            raise InvalidInput(f"channel_order is {channel_order!r}; give {' or '.join(CHANNEL_ORDERS)}.")
        self._check_files()
        self.pictures = RawPictures(self.folder, channel_order)

    def _check_files(self) -> None:
        if not self.folder.is_dir():
            raise InvalidInput(f"data_dir {self.folder} is not a folder; give the InterHand2.6M folder of a raw data set.")
        missing = [name for name in REQUIRED if not (self.folder / name).exists()]
        if missing:
            raise InvalidInput(
                f"data_dir {self.folder} has no {', '.join(missing)}; give the InterHand2.6M folder with {IMAGES} in it."
            )
        environment(self.folder / IMAGES)
        environment(self.folder / LABELS)

    @property
    def test_is_labelled(self) -> bool:
        """Whether the test split has labels: only synthetic sets' have."""
        return (self.folder / MASK_IDS["test"]).exists()

    def listed(self, subset: str) -> list[Entry | BrokenEntry]:
        """Entries of 'train' (paired), 'unpaired_images', 'val' or 'test' in list order; unusable ones as the error they make.

        Raises:
            InvalidInput: no such subset, or its list cannot be read at all.
        """
        match subset:
            case "train":
                return self._train
            case "unpaired_images":
                return self._unpaired_images
            case "val":
                return self._val
            case "test":
                return self._test
        raise InvalidInput(f"{subset!r} is no list of images; choose train, unpaired_images, val or test.")

    def entries(self, subset: str) -> list[Entry]:
        """As listed(), but the first unusable entry is raised."""
        listed = self.listed(subset)
        for entry in listed:
            if isinstance(entry, BrokenEntry):
                raise entry
        return listed

    @cached_property
    def unpaired_mask_ids(self) -> list[str | BrokenEntry]:
        """Ids of the labels that have no usable image, unusable ids as the error they make."""
        file = self.folder / UNPAIRED_IDS
        ids = enumerate(read_list(file, frozenset()))
        return _kept((_mask_id_or_error(mask_id, f"{UNPAIRED_IDS}: entry {position}") for position, mask_id in ids), file)

    @cached_property
    def _train(self) -> list[Entry | BrokenEntry]:
        return self._read_list(LISTS["train"], self._mask_ids("train"))

    @cached_property
    def _val(self) -> list[Entry | BrokenEntry]:
        return self._read_list(LISTS["val"], self._mask_ids("val"))

    @cached_property
    def _test(self) -> list[Entry | BrokenEntry]:
        return self._read_list(LISTS["test"], self._mask_ids("test") if self.test_is_labelled else {})

    @cached_property
    def _unpaired_images(self) -> list[Entry | BrokenEntry]:
        paired = {entry.key for entry in self._train if isinstance(entry, Entry)}
        complete = self._entries(LIST_COMPLETE, {})
        unpaired = (entry for entry in complete if isinstance(entry, BrokenEntry) or entry.key not in paired)
        return _kept(unpaired, self.folder / LIST_COMPLETE)

    def _read_list(self, file: str, mask_ids: dict[str, str]) -> list[Entry | BrokenEntry]:
        return _kept(self._entries(file, mask_ids), self.folder / file)

    def _entries(self, file: str, mask_ids: dict[str, str]) -> Iterator[Entry | BrokenEntry]:
        for position, content in enumerate(read_list(self.folder / file, READ)):
            yield _entry_or_error(content, f"{file}: entry {position}", mask_ids)

    def _mask_ids(self, split: str) -> dict[str, str]:
        """path -> mask id. Items that are no path and id are left out: their entries then count as without labels."""
        file = MASK_IDS[split]
        read = {}
        for path, mask_id in read_dict(self.folder / file):
            path, checked = one(path), _mask_id_or_error(mask_id, file)
            if isinstance(path, str) and isinstance(checked, str):
                read[path] = checked
        return read

    @cached_property
    def digest(self) -> str:
        return raw_digest(self.folder, self.pictures.channel_order)


def _entry_or_error(content: object, where: str, mask_ids: dict[str, str]) -> Entry | BrokenEntry:
    try:
        return read_entry(content, where, mask_ids)
    except BrokenEntry as error:
        return error


def _kept(entries: Iterator, file: Path) -> list:
    """All of them.

    Raises:
        InvalidInput: more are broken than any data set has pictures.
    """
    kept, broken = [], 0
    for entry in entries:
        kept.append(entry)
        if isinstance(entry, BrokenEntry):
            broken += 1
            if broken > _MOST_BROKEN:
                raise InvalidInput(f"{file} has more than {_MOST_BROKEN:,} broken entries, such as this one: {entry}")
    return kept


def _mask_id_or_error(mask_id: object, where: str) -> str | BrokenEntry:
    mask_id = one(mask_id)
    if isinstance(mask_id, int) and not isinstance(mask_id, bool):
        mask_id = str(mask_id)
    if isinstance(mask_id, str) and mask_id.isprintable() and 0 < len(mask_id) <= MAX_KEY_BYTES - 3:
        return mask_id
    return BrokenEntry("invalid entry", f"{where} has an id that is no text or number; correct or remove it.")
