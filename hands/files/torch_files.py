"""Files of torch.save, from any origin: where in them the pickle and the tensors lie. Nothing is unpacked, nothing executed.

Since torch 1.6 a file is a zip archive of `<name>/data.pkl` and, for each tensor storage, `<name>/data/<key>`, all stored as
they are; a compressed record could be of any size, and is refused. Before, it was four pickles in a row, the last of them
the content, and then the tensors.
"""

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hands.files.pickle_scan import Scan, scan
from hands.files.pickles import Members, Named, Table, Thing

_OLD_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the first of an old file's pickles
_END, _ZIP64_LOCATOR, _ZIP64_END, _ENTRY, _LOCAL = b"PK\5\6", b"PK\6\7", b"PK\6\6", b"PK\1\2", b"PK\3\4"
_LONGEST_COMMENT = 1 << 16
_ZIP64 = 0xFFFFFFFF  # in place of a number that stands among the extra fields
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """A file in the archive, `size` bytes. header: where its local header begins. checksum: CRC-32, or 0 for none."""

    header: int
    size: int
    checksum: int


class TorchFile:
    """An open file of torch.save.

    start: where its pickle begins. byte_order: of its tensors, < or >. is_old: from before torch 1.6.

    Raises:
        ValueError: it is none, is cut short, has a compressed record, or its pickle does not have its checksum.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._records: dict[str, Record] = {}
        self.is_old = self._read(0, len(_OLD_MAGIC)) == _OLD_MAGIC
        if self.is_old:
            self.start = 0
            for _ in range(3):
                self.start = scan(file, self.start).end
        else:
            self._records = self._directory()
            if "data.pkl" not in self._records:
                raise ValueError("it is an archive without a data.pkl")
            self.start = self._content(self._records["data.pkl"])
            self._check(self._records["data.pkl"])
        self.byte_order = ">" if self.record("byteorder", 0, 3) == b"big" else "<"

    def scan(self) -> Scan:
        """Its pickle, passed over; raises ValueError as pickle_scan.scan does."""
        return scan(self._file, self.start)

    def members(self, scanned: Scan, table: Table, keys: frozenset[str]) -> Members:
        """The members of its pickle, once."""
        self._file.seek(self.start)
        return Members(self._file, scanned.shared, table, keys)

    def record(self, name: str, start: int, size: int) -> bytes:
        """Bytes of a record; fewer where it ends before, none where there is no such record."""
        found = self._records.get(name)
        if found is None or start < 0:
            return b""
        return self._read(self._content(found) + start, max(0, min(size, found.size - start)))

    def _read(self, position: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, position)  # leaves alone what is buffered of the pickle

    def _content(self, record: Record) -> int:
        """Where a record's content begins."""
        header = self._read(record.header, 30)
        if header[:4] != _LOCAL or len(header) < 30:
            raise ValueError("its archive is damaged")
        return record.header + 30 + sum(struct.unpack("<2H", header[26:]))

    def _check(self, record: Record) -> None:
        checksum = 0
        for position in range(0, record.size, _CHUNK):
            checksum = zlib.crc32(self._read(self.start + position, min(_CHUNK, record.size - position)), checksum)
        if record.checksum not in (0, checksum):  # torch.serialization.set_crc32_options(False) writes 0
            raise ValueError("its checksum is another")

    def _directory(self) -> dict[str, Record]:
        """The archive's records by their names without the folder that all of them lie in."""
        start, size = self._directory_place()
        content = self._read(start, size)
        if len(content) < size:
            raise ValueError("it is cut short")
        records, position = {}, 0
        while position + 46 <= len(content):
            signature, flags, method = struct.unpack_from("<4s4x2H", content, position)
            checksum, stored, whole, name_size, extra_size, comment_size = struct.unpack_from("<3I3H", content, position + 16)
            (header,) = struct.unpack_from("<I", content, position + 42)
            position += 46
            name = content[position : position + name_size]
            extra = content[position + name_size : position + name_size + extra_size]
            position += name_size + extra_size + comment_size
            whole, stored, header = _large_numbers(extra, whole, stored, header)
            if signature != _ENTRY:
                raise ValueError("its archive is damaged")
            if method or flags & 1 or stored != whole:
                raise ValueError("its records are compressed, which torch.save never does: load it and torch.save it again")
            records[name.decode().partition("/")[2]] = Record(header, whole, checksum)
        if sum(record.size for record in records.values()) > os.fstat(self._file.fileno()).st_size:
            raise ValueError("it is cut short, or its records overlap")
        return records

    def _directory_place(self) -> tuple[int, int]:
        file_size = os.fstat(self._file.fileno()).st_size
        tail_start = max(0, file_size - _LONGEST_COMMENT - 22)
        tail = self._read(tail_start, file_size - tail_start)
        end = tail.rfind(_END)
        if not 0 <= end <= len(tail) - 22:
            raise ValueError("it is no file of torch.save, or cut short")
        size, start = struct.unpack_from("<2I", tail, end + 12)
        locator = self._read(tail_start + end - 20, 20) if tail_start + end >= 20 else b""
        if locator[:4] == _ZIP64_LOCATOR:
            zip64 = self._read(struct.unpack_from("<Q", locator, 8)[0], 56)
            if zip64[:4] != _ZIP64_END or len(zip64) < 56:
                raise ValueError("its archive is damaged")
            size, start = struct.unpack_from("<2Q", zip64, 40)
        if start + size > file_size:
            raise ValueError("it is cut short")
        return start, size


def _large_numbers(extra: bytes, *numbers: int) -> list[int]:
    """Sizes and offset of an archive's record, those beyond 32 bits from its extra fields."""
    position, large = 0, iter(())
    while position + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, position)
        if kind == 1:
            content = extra[position + 4 : position + 4 + size]
            large = iter(struct.unpack(f"<{len(content) // 8}Q", content[: len(content) // 8 * 8]))
        position += 4 + size
    return [next(large, number) if number == _ZIP64 else number for number in numbers]


class _State(Members):
    """What torch.load may be given: dicts with plain keys, for others can take for ever to hash, or crash the interpreter."""

    def find_class(self, module: str, name: str) -> Named:
        if (module, name) not in _STATE_NAMES and not (module == "torch" and name.endswith("Storage")):
            raise ValueError(f"it holds {module}.{name}")
        return super().find_class(module, name)

    def _update(self, pairs: list) -> None:
        if not all(key is None or type(key) in (str, int, float, bool) for key in pairs[::2]):
            raise ValueError("it holds a dict whose keys are no numbers or texts")
        super()._update(pairs)


_STATE_NAMES = {("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_parameter")}


def check_state(path: Path) -> None:
    """Look through a file of tensors, numbers and texts before torch.load does.

    Raises:
        ValueError and other errors: it holds something else, is compressed, damaged or no such file.
    """
    with path.open("rb") as file:
        saved = TorchFile(file)
        if saved.is_old:
            raise ValueError("it is of torch before 1.6")
        shared = saved.scan().shared
        file.seek(saved.start)
        table = Table({"collections OrderedDict": lambda: {}}, lambda reference: Thing("storage"))
        for _ in _State(file, shared, table, frozenset()).batches(dict):
            pass
