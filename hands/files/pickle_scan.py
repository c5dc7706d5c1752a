"""A pickle passed over, to learn where it ends and what it refers back to. No object is made."""

import pickle
import re
from dataclasses import dataclass
from typing import BinaryIO

_MAX_SHARED = 4_000_000  # objects that a pickle refers back to; in a list of the release there are fewer than a hundred
_WINDOW = 1 << 20
_LONGEST = 4096  # more bytes than any instruction takes without its text or content

# a run of instructions of fixed length, but for references beyond position 255
_FIXED = re.compile(
    rb"(?:[()\]}N\x88\x89\x85\x86\x87taeusRbQ0-2\x81\x8f-\x94]|[Kqh\x80].|M..|[rJ].{4}|[G\x95].{8})*+", re.DOTALL
)
TEXTS = {pickle.SHORT_BINUNICODE: 1, pickle.BINUNICODE: 4, pickle.BINUNICODE8: 8}  # bytes of the length before the content
OLD_TEXTS = {pickle.SHORT_BINSTRING: 1, pickle.BINSTRING: 4}
BYTES = {pickle.SHORT_BINBYTES: 1, pickle.BINBYTES: 4, pickle.BINBYTES8: 8, pickle.BYTEARRAY8: 8}
INTEGERS = {pickle.LONG1: 1, pickle.LONG4: 4}
_PREFIXED = {code[0]: width for codes in (TEXTS, OLD_TEXTS, BYTES, INTEGERS) for code, width in codes.items()}


@dataclass(frozen=True)
class Scan:
    """shared: positions beyond 255 that the pickle refers back to. end: where in the file it ends."""

    shared: frozenset[int]
    end: int


def scan(file: BinaryIO, start: int) -> Scan:
    """Pass over the pickle that begins at `start`.

    Raises:
        ValueError: it is cut short, of a protocol below 2, or refers back to millions of objects.
    """
    file.seek(start)
    window, position, more = b"", 0, True
    shared: set[int] = set()
    while True:
        position = _FIXED.match(window, position).end()
        if more and len(window) - position < _LONGEST:
            added = file.read(_WINDOW)
            more = len(added) > 0
            start += position
            window, position = window[position:] + added, 0
            continue
        code = window[position] if position < len(window) else None
        if code in _PREFIXED:
            content = position + 1 + _PREFIXED[code]
            position = content + int.from_bytes(window[position + 1 : content], "little")
            if position > len(window):
                start = file.seek(start + position)
                window, position, more = b"", 0, True
        elif code == pickle.LONG_BINGET[0]:
            shared.add(int.from_bytes(window[position + 1 : position + 5], "little"))
            if len(shared) > _MAX_SHARED:
                raise ValueError(f"it refers back to more than {_MAX_SHARED:,} objects")
            position += 5
        elif code == pickle.GLOBAL[0]:
            position = window.index(b"\n", window.index(b"\n", position) + 1) + 1
        elif code == pickle.STOP[0]:
            return Scan(frozenset(shared), start + position + 1)
        else:
            raise ValueError("it is cut short" if code is None else f"it has the instruction {code}, which no list needs")
