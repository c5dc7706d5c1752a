"""No picture and no labels stand in two splits: what the lists of a raw data set share is refused or left out.

Pictures are compared by their path without extension, labels by their id, before anything is decoded. While pictures are
packed, their files' bytes are compared too: a copy under another name is as good as the picture itself.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hands.errors import InvalidInput
from hands.files.decoding import BrokenEntry
from hands.packed.mini import mini_positions
from hands.raw.entries import Entry
from hands.raw.layout import LISTS

Listed = dict[str, Sequence[Entry | str | BrokenEntry]]  # by subset; entries of unpaired_masks are ids
KEPT_APART = ("test", "val", "train")  # of two that share a picture, the first named keeps it
_EXAMPLES = 3


@dataclass(frozen=True)
class LeftOut:
    """An entry that is not packed though nothing is wrong with it. reason: a short phrase to count by. name: path or id."""

    reason: str
    name: str


def left_out(listed: Listed) -> dict[str, dict[int, LeftOut]]:
    """Entries that must not be packed, by subset and position: those listed twice, unpaired pictures that are in another
    split, unpaired labels that belong to a picture of another split.

    Raises:
        InvalidInput: two of train, val and test share a picture or labels.
    """
    paths = {name: {entry.path for entry in _usable(listed[name])} for name in KEPT_APART}
    ids = {name: {entry.mask_id for entry in _usable(listed[name])} - {None} for name in KEPT_APART}
    _refuse_shared(paths, ids)
    found = {name: _repeated(entries) for name, entries in listed.items()}
    for subset, of_split, reason in (("unpaired_images", paths, "in {}"), ("unpaired_masks", ids, "labels of {}")):
        for position, entry in enumerate(listed[subset]):
            name = _name(entry)
            split = next((split for split in KEPT_APART if name in of_split[split]), None)
            if split is not None:
                found[subset][position] = LeftOut(reason.format(split), name)
    return found


def _refuse_shared(paths: dict[str, set[str]], ids: dict[str, set[str]]) -> None:
    said = []
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        for kind, names in (("pictures", paths), ("labels' ids", ids)):
            shared = sorted(names[first] & names[second])
            if shared:
                files = f"{LISTS[first]} and {LISTS[second]}"
                said.append(f"{files} share {len(shared)} {kind}, such as {', '.join(shared[:_EXAMPLES])}")
    if said:
        raise InvalidInput(f"{'; '.join(said)}. Each may stand in one of train, val and test alone: remove it from the others.")


def _repeated(entries: Sequence[Entry | str | BrokenEntry]) -> dict[int, LeftOut]:
    """All but one of the entries with one name; the one that the mini split samples is kept, else the first."""
    names = list(map(_name, entries))
    seen, again = set(), set()
    for name in names:
        (again if name in seen else seen).add(name)
    places = {name: [] for name in again - {None}}
    for position, name in enumerate(names):
        if name in places:
            places[name].append(position)
    sample = set(mini_positions(len(entries))) if places else set()
    found = {}
    for name, positions in places.items():
        kept = next((position for position in positions if position in sample), positions[0])
        found |= {position: LeftOut("listed twice", name) for position in positions if position != kept}
    return found


def _usable(entries: Iterable[Entry | BrokenEntry]) -> Iterator[Entry]:
    return (entry for entry in entries if isinstance(entry, Entry))


def _name(entry: Entry | str | BrokenEntry) -> str | None:
    match entry:
        case Entry():
            return entry.path
        case str():
            return entry
    return None


def picture_digest(encoded: bytes) -> bytes:
    """8 bytes that tell a picture's file from all others of a data set."""
    return hashlib.blake2b(encoded, digest_size=8).digest()


class Copies:
    """Finds pictures whose bytes stand in a split already; subsets must come in the order of KEPT_APART, others last."""

    def __init__(self):
        self._split_of: dict[bytes, str] = {}

    def find(self, subset: str, path: str, digest: bytes) -> LeftOut | None:
        split = self._split_of.setdefault(digest, subset) if subset in KEPT_APART else self._split_of.get(digest, subset)
        return None if split == subset else LeftOut(f"the same picture as in {split}", path)
