"""A small release of our own making, in the public one's formats: JPEG frames and JSON files.

The frames show hands of the made-up model's mean shape (made_mano.py), so that its fits meet the annotated joints.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from hands.parts import NUM_JOINTS
from hands.synthetic.camera import project
from hands.synthetic.scene import arrange, photograph, sample_station, sample_subject
from hands.synthetic.skeleton import mean_shape
from hands.synthetic.template import mean_template
from tests.interhand.made_mano import fit_of, write_mano


class ReleaseFiles:
    """The four JSON files of one split and its pictures; change what you like, then write()."""

    def __init__(self, split: str):
        self.split = split
        self.data: dict[str, list] = {"images": [], "annotations": []}
        self.camera: dict[str, dict] = {}
        self.joint_3d: dict[str, dict] = {}
        self.mano: dict[str, dict] = {}
        self.pictures: dict[str, np.ndarray] = {}

    def write(self, folder: Path) -> Path:
        annotations = folder / "annotations" / self.split
        annotations.mkdir(parents=True, exist_ok=True)
        files = {"data": self.data, "camera": self.camera, "joint_3d": self.joint_3d, "MANO_NeuralAnnot": self.mano}
        for kind, content in files.items():
            (annotations / f"InterHand2.6M_{self.split}_{kind}.json").write_text(json.dumps(content))
        for name, picture in self.pictures.items():
            file = folder / "images" / self.split / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(file, quality=92)
        return folder


def make_release(captures: int, moments: int, cameras: int, seed: int) -> ReleaseFiles:
    """`captures` x `moments` x `cameras` frames of split train: capture c shows subject 10 + c // 2."""
    rng = np.random.default_rng(seed)
    files = ReleaseFiles("train")
    subject = replace(sample_subject(rng), shape=mean_shape(), template=mean_template())
    for c in range(captures):
        capture = str(c)
        fields = ("campos", "camrot", "focal", "princpt")
        files.camera[capture] = {field: {} for field in fields}
        files.joint_3d[capture], files.mano[capture] = {}, {}
        stations = [sample_station(167, 256, rng) for _ in range(cameras)]
        for m in range(moments):
            frame = 1000 + 6 * m
            arrangement = arrange(subject, stations[0].camera, 2, False, rng)
            turn, place = np.linalg.qr(rng.normal(size=(3, 3)))[0], rng.normal(0, 300, 3)
            turn *= np.linalg.det(turn)
            if m == 0:
                rotation, position = turn, place  # of the first camera: world from its frame
            world = {hand: posed.joints @ rotation + position for hand, posed in arrangement.hands.items()}
            add_moment(files, capture, frame, arrangement.hand_type, world)
            for k, station in enumerate(stations):
                camera = station.camera
                name = f"{400 if not station.sensor.grey else 410}{k:03d}"
                values = (position, rotation, (camera.focal, camera.focal), (camera.centre_x, camera.centre_y))
                for field, value in zip(fields, values, strict=True):
                    files.camera[capture][field][name] = np.asarray(value).tolist()
                picture = photograph(arrangement, subject, station, rng)
                add_picture(files, c, frame, name, camera, picture, arrangement)
    return files


def add_moment(files: ReleaseFiles, capture: str, frame: int, hand_type: str, world: dict[str, np.ndarray]) -> None:
    joints, valid = np.ones((2 * NUM_JOINTS, 3)), np.zeros((2 * NUM_JOINTS, 1), bool)
    for hand, points in world.items():
        rows = slice(0, 21) if hand == "right" else slice(21, 42)
        joints[rows], valid[rows] = points, True
    files.joint_3d[capture][str(frame)] = {
        "world_coord": joints.tolist(), "joint_valid": valid.tolist(), "hand_type": hand_type, "hand_type_valid": True,
        "seq": "0001_made_up",
    }  # fmt: skip
    files.mano[capture][str(frame)] = {
        hand: fit_of(world[hand], hand) if hand in world else None for hand in ("right", "left")
    }


def add_picture(files: ReleaseFiles, capture: int, frame: int, name: str, camera, picture: np.ndarray, arrangement) -> None:
    number = 100 + len(files.data["images"])
    file_name = f"Capture{capture}/0001_made_up/cam{name}/image{frame}.jpg"
    pixels = np.concatenate([project(posed.joints, camera) for posed in arrangement.hands.values()])
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    extent = 1.2 * (high - low)
    files.pictures[file_name] = picture
    files.data["images"].append({
        "id": number, "file_name": file_name, "width": camera.width, "height": camera.height, "capture": capture,
        "subject": 10 + capture // 2, "seq_name": "0001_made_up", "camera": name, "frame_idx": frame,
    })  # fmt: skip
    valid = files.joint_3d[str(capture)][str(frame)]["joint_valid"]
    files.data["annotations"].append({
        "id": number, "image_id": number, "bbox": [*((low + high) / 2 - extent / 2), *extent],
        "joint_valid": [[int(v[0])] for v in valid], "hand_type": arrangement.hand_type, "hand_type_valid": 1,
    })  # fmt: skip


if __name__ == "__main__":  # python -m tests.interhand.made_release FOLDER: a release to try the importer on
    target = Path(sys.argv[1])
    write_mano(target / "mano")
    make_release(captures=6, moments=4, cameras=3, seed=0).write(target)
    print(f"{target}: 72 pictures of split train; {target / 'mano'}: a hand model with MANO's fields")
