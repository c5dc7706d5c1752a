"""MANO's licensed model files, MANO_RIGHT and MANO_LEFT as .pkl or .npz, read as untrusted input.

A pickle is a program; here it may build nothing but the stand-ins below. They know the four kinds of object that the files
hold: numpy arrays, SciPy's CSC matrices, and chumpy's `Ch` and `Select` (an array, and a choice of its elements). chumpy
itself is not needed: it no longer installs on current Pythons.
"""

import pickle
from pathlib import Path

import numpy as np

from hands.errors import InvalidInput

KEYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f", "hands_mean")
_FOLDERS = ("", "models", "mano")  # where below mano_dir the files are looked for
_MAX_BYTES = 64 << 20
_KINDS = {"f8": "f8", "f4": "f4", "i8": "i8", "i4": "i4", "u4": "u4", "u8": "u8", "b1": "?"}


class _Array:
    """`numpy.core.multiarray._reconstruct`: an array, filled by __setstate__."""

    def __init__(self, *arguments: object):
        self.value = np.zeros(0)

    def __setstate__(self, state: object) -> None:
        _, shape, dtype, by_columns, content = state
        content = content.encode("latin1") if isinstance(content, str) else content
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
            raise ValueError("an array of something other than numbers")
        flat = np.frombuffer(content, dtype.order + dtype.kind)
        self.value = flat.reshape(shape, order="F" if by_columns else "C")


class _ArrayName:
    """`numpy.ndarray`, only named as the first argument of _reconstruct."""

    def __init__(self, *arguments: object):
        raise ValueError("an array without content")


class _Dtype:
    """`numpy.dtype`: a type code, then the byte order."""

    def __init__(self, code: object, *arguments: object):
        code = code.decode() if isinstance(code, bytes) else code
        if code not in _KINDS:
            raise ValueError(f"numbers of type {code}")
        self.kind, self.order = _KINDS[code], "<"

    def __setstate__(self, state: object) -> None:
        self.order = ">" if state[1] == ">" else "<"


class _Record:
    """An object that is nothing but its fields."""

    def __init__(self, *arguments: object):
        self.fields: dict = {}

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise ValueError("an object without fields")
        self.fields = state

    def array(self, name: str) -> np.ndarray:
        return _as_array(self.fields[name])


class _Set(_Record):
    """`set`, whose members nobody needs."""


class _Ch(_Record):
    """`chumpy.ch.Ch`: an array `x`."""

    def dense(self) -> np.ndarray:
        return self.array("x")


class _Select(_Record):
    """`chumpy.reordering.Select`: elements `idxs` of `a`, in shape `preferred_shape`."""

    def dense(self) -> np.ndarray:
        chosen = self.array("a").ravel()[self.array("idxs")]
        return chosen.reshape(self.fields["preferred_shape"])


class _Csc(_Record):
    """A SciPy matrix by columns."""

    def dense(self) -> np.ndarray:
        rows, columns = self.fields["_shape"] if "_shape" in self.fields else self.fields["shape"]
        if not (0 < rows <= 1000 and 0 < columns <= 10_000):
            raise ValueError("a matrix of another size")
        matrix = np.zeros((rows, columns))
        starts, indices = self.array("indptr"), self.array("indices")
        matrix[indices, np.repeat(np.arange(columns), np.diff(starts))] = self.array("data")
        return matrix


class _Rebuilt:
    """`copy_reg._reconstructor`: an empty instance of one of these classes."""

    def __new__(cls, kind: object, *arguments: object) -> object:
        if not isinstance(kind, type) or not issubclass(kind, _Record):
            raise ValueError("an object of another class")
        return kind()


class _Bytes:
    """`_codecs.encode`, by which Python 3 writes bytes for Python 2."""

    def __new__(cls, text: object, encoding: object) -> bytes:
        if not isinstance(text, str) or encoding != "latin1":
            raise ValueError("bytes of another kind")
        return text.encode("latin1")


_ALLOWED = {
    **{(module, "_reconstruct"): _Array for module in ("numpy.core.multiarray", "numpy._core.multiarray")},
    ("_codecs", "encode"): _Bytes,
    ("numpy", "ndarray"): _ArrayName,
    ("numpy", "dtype"): _Dtype,
    ("chumpy.ch", "Ch"): _Ch,
    ("chumpy.reordering", "Select"): _Select,
    **{(f"scipy.sparse.{module}", "csc_matrix"): _Csc for module in ("csc", "_csc")},
    **{(module, "_reconstructor"): _Rebuilt for module in ("copy_reg", "copyreg")},
    **{(module, "object"): object for module in ("__builtin__", "builtins")},
    **{(module, "set"): _Set for module in ("__builtin__", "builtins")},
}


class _Restricted(pickle._Unpickler):
    """In Python: the one in C makes room for as many objects as a pickle says that it refers to."""

    dispatch = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which no MANO file needs")
        return _ALLOWED[module, name]

    def persistent_load(self, identity: object) -> object:
        raise pickle.UnpicklingError("it refers to another file")

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._update(items)

    def load_setitems(self) -> None:
        self._update(self.pop_mark())

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def _update(self, pairs: list) -> None:
        """Keys of other kinds could take for ever to hash, or crash the interpreter."""
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(key, str | bytes | int):
                raise ValueError("a dict whose keys are no texts")
            self.stack[-1][key] = value

    dispatch |= {pickle.DICT[0]: load_dict, pickle.SETITEMS[0]: load_setitems, pickle.SETITEM[0]: load_setitem}
    for code in (pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET):
        del dispatch[code[0]]


def find(mano_dir: str | Path, hand: str) -> Path:
    """MANO_RIGHT or MANO_LEFT, .npz or .pkl, in `mano_dir` or its folder models or mano.

    Raises:
        InvalidInput: not there.
    """
    name = f"MANO_{hand.upper()}"
    for folder in _FOLDERS:
        for kind in (".npz", ".pkl"):
            if Path(mano_dir, folder, name + kind).is_file():
                return Path(mano_dir, folder, name + kind)
    raise InvalidInput(
        f"mano_dir '{mano_dir}' has no {name}.pkl or {name}.npz; get MANO from https://mano.is.tue.mpg.de (it is licensed and"
        " not part of this project), or import with labels=joints."
    )


def read(file: Path) -> dict[str, np.ndarray]:
    """The arrays of KEYS, dense, as float64 or int64.

    Raises:
        InvalidInput: not a MANO file, or a pickle with anything but arrays in it; nothing in it is ever executed.
    """
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise ValueError(f"it is larger than {_MAX_BYTES >> 20} MiB")
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                if sum(member.file_size for member in arrays.zip.infolist()) > 4 * _MAX_BYTES:
                    raise ValueError("it unpacks to more than a model needs")
                content = {key: arrays[key] for key in KEYS}
        else:
            with file.open("rb") as stream:
                content = _Restricted(stream, encoding="latin1").load()
        return {key: _as_array(content[key]) for key in KEYS}
    except Exception as error:  # a damaged stream leads the readers to errors of every kind
        reason = f"no {error}" if isinstance(error, KeyError) else " ".join(f"{error}".split())[:160] or type(error).__name__
        raise InvalidInput(
            f"{file} is no MANO model ({reason}); give the files of MANO v1.2 as they were downloaded."
        ) from error


def _as_array(value: object) -> np.ndarray:
    if isinstance(value, _Array):
        value = value.value
    elif isinstance(value, _Ch | _Select | _Csc):
        value = value.dense()
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
        raise ValueError(f"a {type(value).__name__} where an array was expected")
    return value.astype(np.float64 if value.dtype.kind == "f" else np.int64)
