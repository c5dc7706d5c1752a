"""Reading the release: real frames' projection, and files that are not as they should be."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from hands.errors import InvalidInput
from hands.interhand.agreement import PARTS_OF_JOINT, joint_agreement
from hands.interhand.chunks import square_box
from hands.interhand.frames import Frames
from hands.interhand.labels import LabelSource, NoLabels, in_view, project, render, to_camera
from hands.interhand.release import JOINT_ROWS, Release, ReleaseCamera
from hands.synthetic.render import embree_scene, trace
from tests.interhand.made_release import ReleaseFiles, make_release
from tests.real_frames import needs_real_frames, real_release


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Release:
    return Release(real_release(tmp_path_factory.mktemp("real")), "test")


def hands_of(release: Release, frames: Frames):
    """(position, camera, joints, hand) of every hand that the real frames show."""
    joints = release.joints({frames.moment(i) for i in range(len(frames.frames))})
    for i in range(len(frames.frames)):
        camera = release.cameras[frames.moment(i)[0], frames.camera_names[frames.cameras[i]]]
        for hand in ("left", "right"):
            if joints[frames.moment(i)].valid[JOINT_ROWS[hand]].all():
                yield i, camera, joints[frames.moment(i)], hand


@needs_real_frames
def test_projected_joints_span_the_real_boxes_within_a_pixel(real):
    frames = real.frames()
    joints = real.joints({frames.moment(i) for i in range(4)})
    for i in range(4):
        camera = real.cameras[frames.moment(i)[0], frames.camera_names[frames.cameras[i]]]
        found = joints[frames.moment(i)]
        pixels = project(found.world, camera)[found.valid]
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        extent = 1.2 * (high - low)
        np.testing.assert_allclose(frames.boxes[i], [*((low + high) / 2 - extent / 2), *extent], atol=0.01)


@needs_real_frames
def test_every_real_joint_is_on_its_hand_and_on_its_part_unless_the_hand_hides_it(real):
    """126 of 126 joints on their hand; 117 on or beside their part; the other 9 at least 25 mm behind what is seen there."""
    frames = real.frames()
    counts = np.zeros(3, int)
    for i, camera, joints, hand in hands_of(real, frames):
        surface = LabelSource("joints", "", 20.0).surface(hand, joints, None)
        size = (frames.widths[i], frames.heights[i])
        labels = render(surface, camera, *size)
        world = joints.world[JOINT_ROWS[hand]]
        pixels = project(world, camera)
        counts += joint_agreement(labels, pixels, joints.valid[JOINT_ROWS[hand]])
        seen, pinhole = in_view(surface, camera, *size)
        hits = trace(embree_scene(seen.vertices, seen.faces), seen.vertices, pinhole)
        depth = np.full(labels.shape, np.inf)
        depth[hits.rows, hits.columns] = hits.depth
        for joint, (x, y) in enumerate(np.round(pixels).astype(int)):
            if PARTS_OF_JOINT[joint].isdisjoint(labels[y - 3 : y + 4, x - 3 : x + 4].ravel().tolist()):
                assert to_camera(world[joint : joint + 1], camera)[0, 2] - depth[y, x] > 25
    assert counts.tolist() == [126, 126, 117]


@needs_real_frames
def test_real_hands_show_every_part_in_the_palm_view(real):
    """Praying hands, seen from the side: both show all of 16 parts when each is seen alone."""
    frames = real.frames()
    praying = [f for f in hands_of(real, frames) if frames.sequence_names[frames.sequences[f[0]]] == "0266_dh_pray"]
    assert len(praying) == 2
    for i, camera, joints, hand in praying:
        surface = LabelSource("joints", "", 20.0).surface(hand, joints, None)
        assert set(np.unique(render(surface, camera, frames.widths[i], frames.heights[i]))) == set(range(17))


def test_projection_by_hand():
    """A camera at (10, 20, -1000) looking along z, turned by a quarter about z: x of the picture is y of the world."""
    rotation = np.array([(0.0, 1, 0), (-1, 0, 0), (0, 0, 1)])
    camera = ReleaseCamera(rotation, np.array((10.0, 20, -1000)), np.array((1000.0, 1200)), np.array((100.0, 50)))
    np.testing.assert_allclose(project(np.array([(30.0, 70, 0)]), camera), [(100 + 50, 50 - 1.2 * 20)])


def test_two_focal_lengths_are_rendered_as_they_project():
    camera = ReleaseCamera(np.eye(3), np.zeros(3), np.array((500.0, 700)), np.array((100.0, 120)))
    points = np.array([(20.0, -30, 800), (5, 60, 900)])
    from hands.synthetic.camera import project as project_pinhole
    from hands.synthetic.surface import Surface

    seen, pinhole = in_view(Surface(points, np.zeros((0, 3), int), np.zeros(0)), camera, 200, 240)
    np.testing.assert_allclose(project_pinhole(seen.vertices, pinhole), project(points, camera))


def test_box_by_hand():
    """100 x 40 at (10, 30): side 125 about (60, 50)."""
    assert square_box(np.array((10.0, 30, 100, 40))) == (60 - 62.5, 50 - 62.5, 125, 125)


def test_agreement_by_hand():
    """The index's tip on its distal part, its third joint 3 pixels beside it, the wrist on bare background."""
    labels = np.zeros((20, 20), np.uint8)
    labels[5, 5], labels[5, 9:12] = 12, 7
    pixels = np.full((21, 2), -9.0)
    pixels[4], pixels[5], pixels[20], pixels[6] = (5.2, 4.9), (9, 5), (15, 15), (11, 5)
    valid = np.ones(21, bool)
    labels[5, 6] = 2  # index middle, 3 beside joint 5
    assert joint_agreement(labels, pixels, valid).tolist() == [4, 3, 2]
    valid[4] = False
    assert joint_agreement(labels, pixels, valid).tolist() == [3, 2, 1]


# files that are not as they should be


@pytest.fixture(scope="module")
def files() -> ReleaseFiles:
    return make_release(captures=1, moments=1, cameras=1, seed=0)


def broken(files: ReleaseFiles, folder: Path, change) -> Release:
    changed = copy.deepcopy(files)
    change(changed)
    return Release(changed.write(folder), "train")


@pytest.mark.parametrize("key", ["id", "file_name", "width", "height", "capture", "subject", "seq_name", "camera", "frame_idx"])
def test_a_missing_image_key_is_named_with_its_file(files, tmp_path, key):
    release = broken(files, tmp_path, lambda f: f.data["images"][0].pop(key))
    with pytest.raises(InvalidInput, match=rf"InterHand2.6M_train_data.json: images\[0\] has no '{key}'"):
        release.frames()


@pytest.mark.parametrize("key", ["image_id", "bbox", "hand_type", "hand_type_valid"])
def test_a_missing_annotation_key_is_named_with_its_file(files, tmp_path, key):
    release = broken(files, tmp_path, lambda f: f.data["annotations"][0].pop(key))
    with pytest.raises(InvalidInput, match=rf"InterHand2.6M_train_data.json: annotations\[0\] has no '{key}'"):
        release.frames()


@pytest.mark.parametrize(("key", "value"), [
    ("file_name", "../../../etc/passwd"), ("file_name", 5.5), ("camera", "4000x"), ("width", 0.5), ("width", 10**6),
    ("seq_name", "a/b"), ("capture", -1), ("id", None),
])  # fmt: skip
def test_values_that_cannot_be_are_refused(files, tmp_path, key, value):
    release = broken(files, tmp_path, lambda f: f.data["images"][0].update({key: value}))
    with pytest.raises(InvalidInput, match=key):
        release.frames()


@pytest.mark.parametrize("box", [[1, 2, 3], [1, 2, 3, "x"], [1, 2, 3, float("nan")], None, {}])
def test_boxes_that_are_none_are_refused(files, tmp_path, box):
    release = broken(files, tmp_path, lambda f: f.data["annotations"][0].update(bbox=box))
    with pytest.raises(InvalidInput, match="bbox|whole JSON"):
        release.frames()


def test_an_image_without_annotation_is_counted(files, tmp_path):
    extra = {**files.data["images"][0], "id": 7}
    frames = broken(files, tmp_path, lambda f: f.data["images"].append(extra)).frames()
    assert (len(frames.frames), frames.without_annotation) == (1, 1)


def test_an_image_listed_twice_is_refused(files, tmp_path):
    with pytest.raises(InvalidInput, match="twice"):
        broken(files, tmp_path, lambda f: f.data["images"].append(f.data["images"][0])).frames()


def test_a_camera_without_one_of_its_records_is_left_out(files, tmp_path):
    release = broken(files, tmp_path, lambda f: f.camera["0"]["campos"].clear())
    assert release.cameras == {}


@pytest.mark.parametrize(("field", "value", "match"), [
    ("camrot", [[1, 0], [0, 1]], "camrot"), ("camrot", [[1, 0, 0], [0, 1, 0], [0, 0, -1]], "no rotation"),
    ("focal", [-1, 5], "focal"), ("princpt", "x", "has"),
])  # fmt: skip
def test_cameras_that_cannot_be_are_refused(files, tmp_path, field, value, match):
    name = files.data["images"][0]["camera"]
    with pytest.raises(InvalidInput, match=match):
        broken(files, tmp_path, lambda f: f.camera["0"][field].update({name: value})).cameras  # noqa: B018


def test_missing_keys_of_joints_and_fits_are_named(files, tmp_path):
    moment = ("0", "1000")
    release = broken(files, tmp_path / "a", lambda f: f.joint_3d["0"]["1000"].pop("world_coord"))
    with pytest.raises(InvalidInput, match="joint_3d.json: capture 0, frame 1000 has no 'world_coord'"):
        release.joints({moment})
    release = broken(files, tmp_path / "b", lambda f: f.mano["0"]["1000"].pop("left"))
    with pytest.raises(InvalidInput, match="MANO_NeuralAnnot.json: capture 0, frame 1000 has no 'left'"):
        release.fits({moment})
    assert release.joints({("0", "1")}) == {}  # a moment that the file does not have


@pytest.mark.parametrize("content", [
    b"", b"{", b"[1, 2]", b"\xff\xfe", b"null", b'{"0": 5}', b'{"0": {"1000": 5}}', b'{"0": {"1000": {', b"[" * 100_000,
    b'{"0": {"1000": ' + b"[" * 5000 + b"]" * 5000 + b"}}", b'{"images": [{"id": ' + b"9" * 5000 + b"}]}",
])  # fmt: skip
def test_files_that_are_no_such_json_are_refused(files, tmp_path, content):
    release = broken(files, tmp_path, lambda f: None)
    for kind, read in (("joint_3d", lambda: release.joints({("0", "1000")})), ("data", release.frames)):
        release.file(kind).write_bytes(content)
        with pytest.raises(InvalidInput, match=release.file(kind).name):
            read()


def test_missing_folders_and_files_are_refused(files, tmp_path):
    with pytest.raises(InvalidInput, match="images/train"):
        Release(tmp_path, "train")
    release = broken(files, tmp_path, lambda f: None)
    release.file("camera").unlink()
    with pytest.raises(InvalidInput, match="camera.json"):
        release.cameras  # noqa: B018


def test_invalid_joints_and_impossible_bones_are_left_out(files, tmp_path):
    joints = next(iter(broken(files, tmp_path, lambda f: None).joints({("0", "1000")}).values()))
    source = LabelSource("joints", "", 20.0)
    hand = next(hand for hand, rows in JOINT_ROWS.items() if joints.valid[rows].all())
    assert source.surface(hand, joints, None).face_parts.max() == 16
    joints.world[JOINT_ROWS[hand]][5] += 500
    with pytest.raises(NoLabels, match="no hand"):
        source.surface(hand, joints, None)
    joints.valid[JOINT_ROWS[hand]][5] = False
    with pytest.raises(NoLabels, match="invalid joints"):
        source.surface(hand, joints, None)
    with pytest.raises(NoLabels, match="no joints"):
        source.surface(hand, None, None)


def test_memory_does_not_grow_with_moments_that_are_not_wanted(files, tmp_path):
    """A joint_3d of 1500 moments, one of them wanted: less is held at any time than the file is long."""
    import tracemalloc

    release = broken(files, tmp_path, lambda f: None)
    record = json.dumps(files.joint_3d["0"]["1000"])
    moments = ", ".join(f'"{k}": {record}' for k in range(1500))
    size = release.file("joint_3d").write_text(f'{{"0": {{{moments}}}}}')
    tracemalloc.start()
    found = release.joints({("0", "1000")})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert list(found) == [("0", "1000")]
    assert peak < 2e6 < size / 2
