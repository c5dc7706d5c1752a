"""Real skin: the colour pictures of the four real frames have red above blue under their labels, the grey ones say nothing."""

from pathlib import Path

import numpy as np
import pytest

from hands.files.crop import crop_image, crop_labels
from hands.files.decoding import decode_image
from hands.interhand.chunks import square_box
from hands.interhand.labels import LabelSource, render
from hands.interhand.release import JOINT_ROWS, Release
from hands.packed.skin import red_above_blue
from hands.parts import HANDS
from tests.real_frames import needs_real_frames, real_release


@needs_real_frames
@pytest.mark.parametrize("size", [64, 128])
def test_real_colour_frames_tell_the_order_of_red_and_blue(tmp_path: Path, size: int):
    release = Release(real_release(tmp_path), "test")
    frames = release.frames()
    joints = release.joints({frames.moment(i) for i in range(4)})
    found = {}
    for i in range(4):
        width, height = frames.widths[i], frames.heights[i]
        camera = release.cameras[frames.moment(i)[0], frames.camera_names[frames.cameras[i]]]
        labels = np.zeros((2, height, width), np.uint8)
        for hand, name in enumerate(HANDS):
            if joints[frames.moment(i)].valid[JOINT_ROWS[name]].all():
                surface = LabelSource("joints", "", 20.0).surface(name, joints[frames.moment(i)], None)
                labels[hand] = render(surface, camera, width, height)
        path = tmp_path / "images" / "test" / frames.file_names[i]
        picture, box = decode_image(path.read_bytes(), path.name, upright=False), square_box(frames.boxes[i])
        margin = size // 8
        cropped = crop_image(picture, box, size, margin).transpose(2, 0, 1)
        record = np.concatenate([cropped, crop_labels(labels, box, size, margin)])
        found[path.name] = red_above_blue(record, size), red_above_blue(record[[2, 1, 0, 3, 4]], size)
    assert found == {
        "image69148.jpg": (True, False), "image44669.jpg": (True, False),
        "image29590.jpg": (None, None), "image2017.jpg": (None, None),
    }  # fmt: skip
