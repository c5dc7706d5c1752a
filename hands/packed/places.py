"""index/<subset>.places.npy of a packed set: where each record's box lies in its picture, (N, 6) float64 in the records' order:
x, y, w, h of the box, and the picture's width and height, in pixels. Subsets without pictures have none."""

from array import array
from pathlib import Path

import numpy as np

from hands.errors import InvalidInput
from hands.files.boxes import Box
from hands.packed.manifest import SUBSET_CHANNELS
from hands.packed.packed_set import PackedSubset

Place = tuple[Box, tuple[int, int]]  # box; the picture's height and width
COLUMNS = 6
_NAMES = tuple(SUBSET_CHANNELS)


class PlacesWriter:
    """Gathers places, record by record, in the records' order."""

    def __init__(self):
        self._places: dict[str, array] = {}

    def add(self, subset: str, place: Place | None) -> None:
        if place is not None:
            box, (height, width) = place
            self._places.setdefault(subset, array("d")).extend((*box, width, height))

    def write(self, folder: Path) -> None:
        """Into the packed set's folder."""
        for subset, numbers in self._places.items():
            np.save(folder / "index" / f"{subset}.places.npy", np.frombuffer(numbers).reshape(-1, COLUMNS))


def read_places(subset: PackedSubset) -> list[Place] | None:
    """Of each record of a subset; None where its pictures' places are not known.

    Raises:
        InvalidInput: the file is damaged.
    """
    found = np.empty((len(subset), COLUMNS))
    for code in np.unique(subset._codes):
        file = subset._folder / "index" / f"{_NAMES[code]}.places.npy"
        if not file.exists():
            return None
        mine = subset._codes == code
        try:
            found[mine] = np.load(file, mmap_mode="r", allow_pickle=False)[subset._numbers[mine]]  # takes no memory of its own
        except (OSError, ValueError, IndexError, EOFError) as error:
            reason = type(error).__name__
            raise InvalidInput(f"{file} is damaged ({reason}); make the packed set again with `prepare`.") from error
    if not np.isfinite(found).all() or (len(found) and found[:, 2:].min() <= 0) or (len(found) and abs(found).max() > 1e6):
        raise InvalidInput(f"{subset._folder}: places of {subset.name} are damaged; make the packed set again with `prepare`.")
    return [((x, y, w, h), (int(height), int(width))) for x, y, w, h, width, height in found.tolist()]
