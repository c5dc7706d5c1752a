"""manifest.json of a packed set: what is in it, checked before anything else of the set is believed."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from hands.errors import InvalidInput, shown
from hands.parts import HANDS, NUM_CLASSES, check_size
from hands.raw.provenance import Sources, checked_sources

VERSION = 2  # 1 took crops' pixels from their centres' places (hands/files/crop.py); mixed, scores would suffer unnoticed
FILE_NAME = "manifest.json"
# Stored subsets -> channel counts they may have. RGB comes first, then the left and the right labels.
SUBSET_CHANNELS = {"train": (5,), "unpaired_images": (3,), "unpaired_masks": (2,), "val": (5,), "test": (3, 5)}
_MAX_BYTES = 10 << 20
_MAX_COUNT = 1 << 32


@dataclass(frozen=True)
class SubsetManifest:
    """One stored subset.

    count: records. listed: entries in the source list, left out ones included. channels: 2, 3 or 5.
    class_pixels: (left, right) x 17 pixel counts over the central crops, ignored pixels left out; empty where there are no
    labels.
    dropped: reason -> number of entries left out: broken ones, repeated ones, those of another split.
    colour_pictures: labelled pictures that are not grey and show a part; red_above_blue: how many of them have more red than
    blue there (hands/packed/skin.py).
    """

    count: int
    listed: int
    channels: int
    class_pixels: tuple[tuple[int, ...], ...]
    dropped: dict[str, int]
    colour_pictures: int
    red_above_blue: int


@dataclass(frozen=True)
class Manifest:
    """What a packed set holds.

    size: side of the crop, pixels. side: side of a record, size * 5 / 4. margin: (side - size) / 2, so
    record[:, margin:margin + size, margin:margin + size] is exactly the crop of the box.
    channel_order: how the source's pictures were read ('bgr' or 'rgb'); records always hold RGB.
    source_digest: of the raw data set's lists and sizes. digest: of the records and their index (32 hex characters).
    sources: where the data comes from, with licences.
    """

    version: int
    size: int
    side: int
    margin: int
    channel_order: str
    source_digest: str
    digest: str
    subsets: dict[str, SubsetManifest]
    sources: Sources

    def ignored_share(self, name: str) -> float:
        """Share of a labelled subset's label pixels, over both hands, that are parts.IGNORED."""
        subset = self.subsets[name]
        return 1 - sum(map(sum, subset.class_pixels)) / max(1, len(HANDS) * self.size**2 * subset.count)


def record_side(size: int) -> int:
    """Side of the record whose central size x size pixels are the crop: the box enlarged by 1.25 at the same scale.

    Raises:
        InvalidInput: hands.parts.check_size refuses it.
    """
    check_size(size)
    return size * 5 // 4


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write manifest.json into `folder`."""
    Path(folder, FILE_NAME).write_text(json.dumps(dataclasses.asdict(manifest), indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Read and check manifest.json of a packed set.

    Raises:
        InvalidInput: missing, not JSON, another version, or a field missing, of the wrong kind or at odds with another.
    """
    file = Path(folder, FILE_NAME)
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise InvalidInput(f"{file} is larger than any manifest; make the packed set again with `prepare`.")
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise InvalidInput(
            f"{folder} is not a packed set: {FILE_NAME} cannot be read ({error.strerror}); give a folder that `prepare` wrote."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{file} is not JSON; make the packed set again with `prepare`.") from error
    return _Checker(file).manifest(content)


class _Checker:
    """Turns parsed JSON into a Manifest, or says which field is wrong."""

    def __init__(self, file: Path):
        self._file = file

    def manifest(self, content: object) -> Manifest:
        # the version first: what another one lacks or has otherwise follows from it
        version = self._count(self._mapping(content, "the manifest").get("version"), "version")
        if version != VERSION:
            self._fail(f"version is {version}, this code reads version {VERSION}, whose crops lie on another pixel grid")
        content = self._object(content, "the manifest", Manifest)
        size = self._count(content["size"], "size")
        side = record_side(size)
        found = self._count(content["side"], "side"), self._count(content["margin"], "margin")
        if found != (side, (side - size) // 2):
            self._fail(f"side and margin are {found[0]} and {found[1]}, which do not belong to size {size}")
        subsets = self._mapping(content["subsets"], "subsets")
        for name in subsets:
            if name not in SUBSET_CHANNELS:
                self._fail(f"{shown(name)} is not a subset name")
        return Manifest(
            version=version,
            size=size,
            side=side,
            margin=(side - size) // 2,
            channel_order=self._text(content["channel_order"], "channel_order"),
            source_digest=self._text(content["source_digest"], "source_digest"),
            sources=self._sources(content["sources"]),
            digest=self._text(content["digest"], "digest"),
            subsets={name: self._subset(value, name) for name, value in subsets.items()},
        )

    def _sources(self, content: object) -> Sources:
        try:
            return checked_sources(content)
        except ValueError as error:
            self._fail(str(error))

    def _subset(self, content: object, name: str) -> SubsetManifest:
        content = self._object(content, f"subset {name}", SubsetManifest)
        channels = self._count(content["channels"], f"{name}.channels")
        if channels not in SUBSET_CHANNELS[name]:
            self._fail(f"{name}.channels is {channels}, expected {' or '.join(map(str, SUBSET_CHANNELS[name]))}")
        reasons = self._mapping(content["dropped"], f"{name}.dropped")
        dropped = {reason: self._count(count, f"{name}.dropped") for reason, count in reasons.items()}
        subset = SubsetManifest(
            count=self._count(content["count"], f"{name}.count"),
            listed=self._count(content["listed"], f"{name}.listed"),
            channels=channels,
            class_pixels=self._class_pixels(content["class_pixels"], f"{name}.class_pixels", labelled=channels != 3),
            dropped=dropped,
            colour_pictures=self._count(content["colour_pictures"], f"{name}.colour_pictures"),
            red_above_blue=self._count(content["red_above_blue"], f"{name}.red_above_blue"),
        )
        if subset.count + sum(dropped.values()) != subset.listed:
            self._fail(f"{name} lists {subset.listed} entries, which is not its records and dropped entries together")
        if not subset.red_above_blue <= subset.colour_pictures <= subset.count:
            self._fail(f"{name} counts more pictures of a kind than it holds")
        return subset

    def _class_pixels(self, content: object, field: str, labelled: bool) -> tuple[tuple[int, ...], ...]:
        rows = len(HANDS) if labelled else 0
        if not isinstance(content, list) or len(content) != rows:
            self._fail(f"{field} is {shown(content)}, expected {rows} rows")
        for row in content:
            if not isinstance(row, list) or len(row) != NUM_CLASSES:
                self._fail(f"a row of {field} is {shown(row)}, expected {NUM_CLASSES} counts")
        return tuple(tuple(self._pixels(count, field) for count in row) for row in content)

    def _object(self, content: object, what: str, kind: type) -> dict:
        content = self._mapping(content, what)
        for field in dataclasses.fields(kind):
            if field.name not in content:
                self._fail(f"{what} has no {field.name!r}")
        return content

    def _mapping(self, content: object, what: str) -> dict:
        if not isinstance(content, dict):
            self._fail(f"{what} is {shown(content)}, expected a JSON object")
        return content

    def _count(self, content: object, field: str) -> int:
        if type(content) is not int or not 0 <= content < _MAX_COUNT:
            self._fail(f"{field} is {shown(content)}, expected a whole number from 0 to {_MAX_COUNT - 1}")
        return content

    def _pixels(self, content: object, field: str) -> int:
        if type(content) is not int or not 0 <= content < 1 << 62:
            self._fail(f"{field} holds {shown(content)}, expected pixel counts")
        return content

    def _text(self, content: object, field: str) -> str:
        if not isinstance(content, str) or not 0 < len(content) <= 64 or not content.isalnum():
            self._fail(f"{field} is {shown(content)}, expected 1 to 64 letters and digits")
        return content

    def _fail(self, what: str) -> NoReturn:
        raise InvalidInput(f"{self._file}: {what}; make the packed set again with `prepare`.")
