"""What lists hold beside Python's own values: numbers and texts of numpy and torch. They are decoded when they are asked for,
so that those that nobody asks for cost little, and a few at most, so that their size does not matter."""

import struct
from collections.abc import Callable

from hands.files.pickles import Named, Table, Thing
from hands.files.torch_files import TorchFile

MAX_VALUES = 16  # of an array that is decoded
# numpy's code of a type -> struct's
_FORMATS = {
    "b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q", "f2": "e", "f4": "f",
    "f8": "d",
}  # fmt: skip
# torch's names of its storages and types -> numpy's codes
_TORCH = {
    "torch.BoolStorage": "b1", "torch.CharStorage": "i1", "torch.ByteStorage": "u1", "torch.ShortStorage": "i2",
    "torch.IntStorage": "i4", "torch.LongStorage": "i8", "torch.HalfStorage": "f2", "torch.FloatStorage": "f4",
    "torch.DoubleStorage": "f8", "torch.uint16": "u2", "torch.uint32": "u4", "torch.uint64": "u8",
}  # fmt: skip


def one(value: object) -> object:
    """A Python number or text for what numpy or torch call one; bytes as text; anything else as it is."""
    if isinstance(value, _Array | _Tensor):
        values = value.values()
        return one(values[0]) if values is not None and len(values) == 1 else value
    if isinstance(value, _Encoded):
        value = value.content()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value


def several(value: object) -> list | None:
    """The members of a list, a tuple, or an array or tensor with one side longer than 1; None for anything else, and where
    there are more than MAX_VALUES."""
    if isinstance(value, _Array | _Tensor):
        return value.values()
    if isinstance(value, list | tuple) and len(value) <= MAX_VALUES:
        return [one(member) for member in value]
    return None


def shape_of(value: object) -> str:
    """What to call an array in a message, e.g. "an array (2, 3)"; empty for anything else."""
    return f"an array {value.shape}"[:60] if isinstance(value, _Array | _Tensor) else ""


class _Dtype:
    """`numpy.dtype`: a type's code, then the byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: object, *_: object):
        self.code, self.order = code, "="

    def put(self, state: object) -> None:
        if type(state) is tuple and len(state) > 1 and state[1] in ("<", ">"):
            self.order = state[1]


class _Encoded:
    """Bytes, which protocols below 3 write as text to be encoded."""

    __slots__ = ("text", "encoding")

    def __init__(self, text: object, encoding: object):
        self.text, self.encoding = text, encoding

    def content(self) -> bytes | None:
        if type(self.text) is not str or self.encoding != "latin1":
            return None
        return self.text.encode("latin1")


class _Array:
    """A numpy array or scalar."""

    name = "numpy array"
    __slots__ = ("shape", "dtype", "content")

    def __init__(self, shape: object, dtype: object, content: object):
        self.shape, self.dtype, self.content = shape, dtype, content

    def put(self, state: object) -> None:
        if type(state) is tuple and len(state) == 5:
            _, self.shape, self.dtype, _, self.content = state

    def values(self) -> list | None:
        count, content = _count(self.shape), self.content
        if isinstance(content, _Encoded):
            content = content.content()
        if count is None or type(content) is not bytes or type(self.dtype) is not _Dtype:
            return None
        return _decoded(self.dtype.code, self.dtype.order, count, content)


class _Tensor:
    """A tensor, whose content lies outside of the pickle."""

    name = "tensor"
    __slots__ = ("storage", "offset", "shape", "stride", "code")

    def __init__(self, storage: object, offset: object, shape: object, stride: object, code: object):
        self.storage, self.offset, self.shape, self.stride, self.code = storage, offset, shape, stride, code

    def values(self) -> list | None:
        count = _count(self.shape)
        numbers = (self.offset, *self.stride) if type(self.stride) is tuple else (None,)
        if count is None or type(self.storage) is not _Storage or not all(type(number) is int for number in numbers):
            return None
        step = next((step for step, side in zip(self.stride, self.shape, strict=False) if side > 1), 1)
        file, key, code = self.storage.file, self.storage.key, self.code or self.storage.code
        if code not in _FORMATS:
            return None
        size = int(code[1])
        places = [(self.offset, count)] if step == 1 else [(self.offset + step * n, 1) for n in range(count)]
        content = b"".join(file.record(f"data/{key}", size * start, size * length) for start, length in places)
        return _decoded(code, file.byte_order, count, content)


class _Storage:
    """Where a tensor's content lies."""

    __slots__ = ("file", "key", "code")

    def __init__(self, file: TorchFile, key: str, code: str | None):
        self.file, self.key, self.code = file, key, code


def _count(shape: object) -> int | None:
    """Values of an array with at most one side longer than 1, so that their order is known; None for others."""
    if type(shape) is not tuple or len(shape) > 8 or not all(type(side) is int and 0 <= side <= MAX_VALUES for side in shape):
        return None
    longer = [side for side in shape if side != 1]
    return (longer or [1])[0] if len(longer) <= 1 else None


def _decoded(code: object, order: str, count: int, content: bytes) -> list | None:
    if type(code) is not str:
        return None
    if code in _FORMATS:
        form = f"{order}{count}{_FORMATS[code]}"
        return list(struct.unpack(form, content)) if len(content) == struct.calcsize(form) else None
    if code[:1] not in ("U", "S") or not code[1:].isdecimal() or count == 0 or len(content) % count:
        return None
    size = len(content) // count
    encoding = "utf-8" if code[0] == "S" else "utf-32-be" if order == ">" else "utf-32-le"
    return [content[n * size : (n + 1) * size].decode(encoding, "replace").rstrip("\0") for n in range(count)]


def table(file: TorchFile) -> Table:
    """How the pickle of a file is read."""

    def storage(reference: object) -> object:
        """('storage', class, key, device, size), as torch refers to one."""
        if type(reference) is not tuple or len(reference) < 3 or type(reference[2]) is not str:
            return Thing("reference")
        if file.is_old:
            raise ValueError("it holds tensors as torch before 1.6 saved them: load it and torch.save it again")
        name = reference[1].name if type(reference[1]) is Named else ""
        return _Storage(file, reference[2], _TORCH.get(name))

    return Table(_MAKERS, storage)


def _scalar(dtype: object, content: object = None) -> _Array:
    return _Array((), dtype, content)


def _of_buffer(content: object, dtype: object, shape: object, order: object) -> _Array:
    return _Array(shape, dtype, content)


def _tensor(storage: object, offset: object, shape: object, stride: object, *more: object) -> _Tensor:
    dtype = more[2] if len(more) > 2 else None
    return _Tensor(storage, offset, shape, stride, _TORCH.get(dtype.name) if type(dtype) is Named else None)


def _path(*parts: object) -> str:
    return "/".join(part for part in parts if type(part) is str)


_MAKERS: dict[str, Callable] = {
    "numpy dtype": _Dtype,
    **{f"numpy.{core}.multiarray _reconstruct": lambda *_: _Array(None, None, None) for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric _frombuffer": _of_buffer for core in ("core", "_core")},
    "_codecs encode": _Encoded,
    **{f"{module} bytes": lambda *_: b"" for module in ("__builtin__", "builtins")},
    **{f"collections {name}": lambda *_: {} for name in ("OrderedDict", "defaultdict")},
    **{f"torch._utils {name}": _tensor for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3")},
    "torch._utils _rebuild_parameter": lambda tensor, *_: tensor,
    **{f"{module} PosixPath": _path for module in ("pathlib", "pathlib._local")},
}
