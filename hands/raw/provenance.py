"""Where a data set comes from, and under which licences: provenance.json in its raw folder, and what follows from it.

    {"sources": [{"name": "InterHand2.6M", "licence": "CC BY-NC 4.0", "url": "https://mks0601.github.io/InterHand2.6M/"}]}

`synthesize` and the importer write it; who brings a folder may add it. Without it the source is unknown. Packed sets, runs and
models carry the sources of all that went into them.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hands.errors import InvalidInput

FILE_NAME = "provenance.json"
_MAX_BYTES, _MAX_SOURCES, _MAX_TEXT = 1 << 16, 16, 150


@dataclass(frozen=True)
class Source:
    """name: of the data or model that others were made from. licence: its name. url: where it is explained; may be ''."""

    name: str
    licence: str
    url: str


Sources = tuple[Source, ...]

UNKNOWN = Source("unknown", "unknown", "")
SYNTHETIC = Source("synthetic hands of this project", "MIT", "")
INTERHAND = Source("InterHand2.6M", "CC BY-NC 4.0", "https://mks0601.github.io/InterHand2.6M/")
MANO = Source("MANO", "MANO licence, non-commercial research only", "https://mano.is.tue.mpg.de/license.html")


def read_sources(folder: Path) -> Sources:
    """What a raw folder says of its data; UNKNOWN where it says nothing.

    Raises:
        InvalidInput: its provenance.json is not as above.
    """
    file = Path(folder, FILE_NAME)
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ValueError("it is too long")
        return checked_sources(json.loads(content)["sources"])
    except FileNotFoundError:
        return (UNKNOWN,)
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InvalidInput(
            f"{file} does not say where the data is from ({error});"
            ' expected {"sources": [{"name": ..., "licence": ..., "url": ...}]}: correct or remove it.'
        ) from error


def write_sources(sources: Sources, folder: Path) -> None:
    """Write provenance.json into `folder`."""
    content = {"sources": [asdict(source) for source in sources]}
    Path(folder, FILE_NAME).write_text(json.dumps(content, indent=1) + "\n")


def checked_sources(content: object) -> Sources:
    """Parsed JSON, a list of objects, as sources; raises ValueError where it is something else."""
    if not isinstance(content, list) or not 0 < len(content) <= _MAX_SOURCES:
        raise ValueError(f"sources must be a list of 1 to {_MAX_SOURCES}")
    return tuple(map(_source, content))


def _source(content: object) -> Source:
    names = Source.__dataclass_fields__
    if not isinstance(content, dict) or set(content) != set(names):
        raise ValueError(f"a source must have {', '.join(names)}")
    for name, value in content.items():
        if not isinstance(value, str) or not value.isprintable() or len(value) > _MAX_TEXT or not (value or name == "url"):
            raise ValueError(f"a source's {name} must be a line of at most {_MAX_TEXT} characters")
    return Source(**content)


def merged(*groups: Sequence[Source]) -> Sources:
    """All sources, each once, in order."""
    return tuple(dict.fromkeys(source for group in groups for source in group))


def licences(sources: Sources) -> str:
    """Names of the licences, each once: 'CC BY-NC 4.0; MIT'."""
    return "; ".join(dict.fromkeys(source.licence for source in sources))


def sources_text(sources: Sources) -> str:
    """A line a source, for people: what it is, its licence, and where that is explained."""
    return "\n".join(f"{s.name}: {s.licence}{f' ({s.url})' if s.url else ''}" for s in sources)
