"""The whole import: a release's pictures, chosen, labelled, split and written as a data set in the raw layout.

Memory: the JSON files are streamed; what stays is about 300 bytes for every picture of the split, 3 kB for every chosen
moment and 1.5 kB for every chosen picture (docs/interhand.md has the measurements).
"""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from hands.errors import InvalidInput
from hands.interhand.base import base_chunks
from hands.interhand.chunks import Chunk, FrameInfo, Imported, ImportedFrame, Job, import_chunk, square_box
from hands.interhand.frames import Frames
from hands.interhand.labels import LabelSource
from hands.interhand.mano_file import find
from hands.interhand.release import Release
from hands.interhand.report import Tally
from hands.interhand.selection import Filters, select
from hands.interhand.splits import LEFT_OUT, ROLES, Shares, assign_roles
from hands.interhand.staging import Staging
from hands.parts import HAND_TYPES, HANDS
from hands.processes.progress import Progress
from hands.processes.workers import in_order, single_threaded_children
from hands.raw.layout import RawDataset
from hands.raw.layout_writer import RawFolderWriter
from hands.raw.provenance import INTERHAND, MANO, Sources, merged, read_sources

RECORD = "import.json"  # in a finished import: its key and its report
_MAX_RECORD_BYTES = 64 << 20
_CHUNK = 64  # pictures


@dataclass(frozen=True)
class ImportConfig:
    """release_dir, release_split: what to import, by which filters; see LabelSource, Filters, Shares. channel_order: of the
    written pictures, 'bgr' or 'rgb'. base_dir: raw data set that the pictures are added to, '' for none. workers: processes."""

    release_dir: str
    release_split: str
    filters: Filters
    labels: LabelSource
    shares: Shares
    seed: int
    channel_order: str
    base_dir: str
    workers: int

    def release(self) -> Release:
        return Release(self.release_dir, self.release_split)

    def base(self) -> RawDataset | None:
        return RawDataset(self.base_dir, self.channel_order) if self.base_dir else None

    def check(self) -> None:
        """Raises InvalidInput where the release, the MANO files or the base are not there."""
        self.release()
        self.labels.check()
        self.base()


def run_import(config: ImportConfig, out_dir: str | Path) -> dict:
    """Write the data set into `out_dir`, which appears once it is whole; returns the report, as import.json has it.

    An interrupted import with the same configuration and inputs goes on where it stopped; a finished one is recognised.
    The same inputs give the same data set, whatever `workers` is and however often it was interrupted.

    Raises:
        InvalidInput: the release, the MANO files, the base or the configuration cannot be used, or no picture is left.
    """
    destination = Path(out_dir)
    config.check()
    release, base = config.release(), config.base()
    sources = _sources(config)
    key = _key(config, release, base)
    finished = _finished(destination, key)
    if finished is not None:
        print(f"== {destination} holds this import already", flush=True)
        return finished
    with Staging(destination, key) as staging:
        frames = release.frames()
        positions = select(frames, config.filters, config.seed)
        roles = assign_roles(frames, positions, config.shares, config.seed)
        tally = Tally()
        used = positions[roles != LEFT_OUT]
        tally.chosen(frames, positions, roles)
        started = time.monotonic()
        with RawFolderWriter(staging.folder) as writer:
            for line in staging.finished:
                _relist(writer, tally, line)
            if base is not None:
                _copy_base(base, writer, staging, tally)
            chunks = _chunks(release, frames, used, roles[roles != LEFT_OUT], base, config)
            _import_chunks(chunks, len(used), writer, staging, tally, config)
            report = tally.report(config.labels.kind, time.monotonic() - started)
            if not sum(report["pictures"].values()):
                raise InvalidInput(
                    f"No picture could be imported: {tally.reasons()}. Check images/, the cameras and the joints."
                )
            writer.write_sources(sources)
            writer.write_lists()
        record = {"key": key, "inputs": _inputs(config), "report": report}
        (staging.folder / RECORD).write_text(json.dumps(record, indent=1) + "\n")
        staging.publish()
    return report


def _import_chunks(
    chunks: Iterator[Chunk], total: int, writer: RawFolderWriter, staging: Staging, tally: Tally, config: ImportConfig
) -> None:
    done = {line["chunk"]: line["seen"] for line in staging.finished if "chunk" in line}
    work = partial(import_chunk, config.labels, config.channel_order)
    todo = (chunk for chunk in chunks if chunk.number not in done)
    left = total - sum(done.values())
    workers = min(config.workers, -(-left // _CHUNK))
    with single_threaded_children(), Progress("import", total, "frames", sum(done.values())) as progress:
        for chunk, imported in in_order(work, todo, workers):
            _add(writer, imported.frames)
            line = {"chunk": chunk.number, "seen": len(chunk.jobs), **_as_line(imported)}
            writer.flush()
            staging.record(line)
            tally.imported(line)
            progress.update(len(chunk.jobs))


def _copy_base(base: RawDataset, writer: RawFolderWriter, staging: Staging, tally: Tally) -> None:
    done = {line["base"] for line in staging.finished if "base" in line}
    for number, frames in enumerate(base_chunks(base)):
        if number in done:
            continue
        _add(writer, frames)
        line = {"base": number, "frames": [_listed(frame) for frame in frames]}
        writer.flush()
        staging.record(line)
        tally.imported(line)


def _add(writer: RawFolderWriter, frames: tuple[ImportedFrame, ...]) -> None:
    for frame in frames:
        try:
            writer.add_frame(frame)
        except ValueError as error:
            raise InvalidInput(f"{error}; the release lists a picture twice, or base_dir has it already.") from error


def _relist(writer: RawFolderWriter, tally: Tally, line: dict) -> None:
    for *values, labelled in line["frames"]:
        writer.list_frame(FrameInfo(*values), labelled)
    tally.imported(line)


def _listed(frame: ImportedFrame) -> list:
    return [getattr(frame, name) for name in FrameInfo.__dataclass_fields__] + [frame.labels_l is not None]


def _as_line(imported: Imported) -> dict:
    return {
        "frames": [_listed(frame) for frame in imported.frames],
        "dropped": imported.dropped,
        "without_labels": imported.without_labels,
        "hands_left_out": imported.hands_left_out,
        "part_pixels": imported.part_pixels.tolist(),
        "joints": imported.joints.tolist(),
    }


def _chunks(
    release: Release, frames: Frames, positions: np.ndarray, roles: np.ndarray, base: RawDataset | None, config: ImportConfig
) -> Iterator[Chunk]:
    wanted = {frames.moment(position) for position in positions}
    cameras, joints = release.cameras, release.joints(wanted)
    fits = release.fits(wanted) if config.labels.kind == "mano" else None
    test_labelled = base is None or base.test_is_labelled or not base.listed("test")

    def job(position: int, role: str) -> Job:
        moment = frames.moment(position)
        camera_name = frames.camera_names[frames.cameras[position]]
        return Job(
            info=_info(frames, position, role, camera_name),
            picture=release.images / frames.file_names[position],
            width=int(frames.widths[position]),
            height=int(frames.heights[position]),
            camera=cameras.get((moment[0], camera_name)),
            joints=joints.get(moment),
            fits=None if fits is None else fits.get(moment, dict.fromkeys(HANDS)),
            labelled=role != "unpaired_image" and (role != "test" or test_labelled),
        )

    for number, start in enumerate(range(0, len(positions), _CHUNK)):
        part = slice(start, start + _CHUNK)
        jobs = tuple(job(position, ROLES[role]) for position, role in zip(positions[part], roles[part], strict=True))
        yield Chunk(number, jobs)


def _info(frames: Frames, position: int, role: str, camera_name: str) -> FrameInfo:
    split = role if role in ("val", "test") else "train"
    capture, frame = int(frames.captures[position]), int(frames.frames[position])
    sequence = frames.sequence_names[frames.sequences[position]]
    return FrameInfo(
        split=split,
        role=role,
        path=f"{split}/Capture{capture}/{sequence}/cam{camera_name}/image{frame}",
        hand_type=HAND_TYPES[frames.hand_types[position]],
        hand_type_valid=bool(frames.hand_types_valid[position]),
        bbox=square_box(frames.boxes[position]),
        seq_name=sequence,
        capture=capture,
        cam=int(camera_name),
        frame=frame,
    )


def _sources(config: ImportConfig) -> Sources:
    models = (MANO,) if config.labels.kind == "mano" else ()
    return merged((INTERHAND, *models), read_sources(config.base_dir) if config.base_dir else ())


def _inputs(config: ImportConfig) -> dict:
    return asdict(replace(config, workers=0))


def _key(config: ImportConfig, release: Release, base: RawDataset | None) -> str:
    """Digest of all that the result follows from: configuration, the annotation files' and the MANO files' contents, the base
    and the code. Of the pictures themselves only the names count, which the annotations hold."""
    kinds = ("data", "camera", "joint_3d") + (("MANO_NeuralAnnot",) if config.labels.kind == "mano" else ())
    content: dict = {"inputs": _inputs(config), "annotations": release.digest(kinds)}
    if config.labels.kind == "mano":
        content["mano"] = [hashlib.sha256(find(config.labels.mano_dir, hand).read_bytes()).hexdigest() for hand in HANDS]
    if base is not None:
        content["base"] = base.digest
    code = hashlib.sha256()
    package = Path(__file__).parent
    for file in sorted([*package.glob("*.py"), *(package.parent / "synthetic").glob("*.py")]):
        code.update(file.name.encode() + file.read_bytes())
    content["code"] = code.hexdigest()
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _finished(destination: Path, key: str) -> dict | None:
    """The report of an import with this key at `destination`; None where nothing is.

    Raises:
        InvalidInput: another import is there.
    """
    file = destination / RECORD
    if not file.is_file():
        return None
    try:
        if file.stat().st_size > _MAX_RECORD_BYTES:
            raise ValueError("it is larger than any record of an import")
        record = json.loads(file.read_text())
        if record["key"] == key:
            return record["report"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidInput(f"{file} is damaged; remove {destination} or give another out_dir.") from error
    raise InvalidInput(
        f"{destination} holds an import with other parameters, inputs or code; give another out_dir, or remove it first."
    )
