import numpy as np
import pytest

from hands.parts import BONE_PARTS, NUM_PARTS
from hands.synthetic.camera import Camera, joint_bbox, project, ray_directions, sample_camera
from hands.synthetic.render import Lights, embree_scene, irradiance, label_map, push_apart, trace, vertex_normals
from hands.synthetic.scene import arrange, frame_bbox, label_maps, photograph, sample_station, sample_subject
from hands.synthetic.surface import surface_from_joints
from hands.synthetic.template import mean_template
from tests.synthetic.zbuffer import NO_FACE, face_map

CAMERA = Camera(width=167, height=256, focal=635.0, centre_x=83.0, centre_y=127.5)
BEFORE_CAMERA = np.diag((1.0, -1.0, -1.0))  # fingers up, back to the camera


@pytest.fixture(scope="module")
def subject():
    return sample_subject(np.random.default_rng(0))


@pytest.fixture(scope="module")
def open_hand():
    template = mean_template()
    joints = template.joints @ BEFORE_CAMERA.T + (0, 60, 1000)
    return joints, surface_from_joints(joints, "right", template, None)


def interacting(subject, level, count):
    found = []
    for seed in range(100):
        arrangement = arrange(subject, CAMERA, level, False, np.random.default_rng(seed))
        if arrangement.hand_type == "interacting":
            found.append(arrangement)
        if len(found) == count:
            return found


def test_projection_by_hand():
    np.testing.assert_allclose(project(np.array([(100.0, -50, 1000)]), CAMERA), [(83 + 63.5, 127.5 - 31.75)])
    np.testing.assert_allclose(ray_directions(np.array([146.5]), np.array([95.75]), CAMERA), [(0.1, -0.05, 1)])


def test_camera_scales_with_the_picture():
    small, large = (sample_camera(*size, np.random.default_rng(0)) for size in ((167, 256), (334, 512)))
    assert large.focal == pytest.approx(2 * small.focal)
    assert 1240 < large.focal < 1300


def test_bbox_by_hand():
    """Extent 100 x 40 about (60, 30): 1.2 x 1.25 x 100 = 150, square."""
    np.testing.assert_allclose(joint_bbox(np.array([(10.0, 10), (110, 50)])), (-15, -45, 150, 150))
    assert joint_bbox(np.array([(10.0, 10), (110, 50)])).dtype == np.float32


def test_rays_and_zbuffer_see_the_same_faces(open_hand):
    _, surface = open_hand
    hits = trace(embree_scene(surface.vertices, surface.faces), surface.vertices, CAMERA)
    faces = np.full((CAMERA.height, CAMERA.width), NO_FACE)
    faces[hits.rows, hits.columns] = hits.faces
    expected = face_map(surface.vertices, surface.faces, CAMERA)
    assert (faces != NO_FACE).sum() > 3_000
    assert (faces != expected).mean() < 2e-4  # a pixel's centre on an edge may fall to either side


def test_hits_lie_where_they_are_said_to(open_hand):
    _, surface = open_hand
    hits = trace(embree_scene(surface.vertices, surface.faces), surface.vertices, CAMERA)
    points = (surface.vertices[surface.faces[hits.faces]] * hits.barycentric[..., None]).sum(axis=1)
    np.testing.assert_allclose(project(points, CAMERA), np.stack([hits.columns, hits.rows], axis=1), atol=0.01)
    np.testing.assert_allclose(points[:, 2], hits.depth, atol=0.01)


def test_open_hand_shows_every_part_and_joints_lie_in_their_own(open_hand):
    joints, surface = open_hand
    labels = label_map(surface, CAMERA)
    assert set(np.unique(labels)) == set(range(NUM_PARTS + 1))
    for (parent, child), part in BONE_PARTS.items():
        u, v = np.round(project((0.5 * joints[parent] + 0.5 * joints[child])[None], CAMERA)[0]).astype(int)
        assert labels[v, u] == part or part == 9


def test_hand_outside_the_picture_leaves_it_empty(open_hand):
    joints, _ = open_hand
    surface = surface_from_joints(joints + (5000, 0, 0), "right", mean_template(), None)
    assert not label_map(surface, CAMERA).any()


def test_labels_of_a_hand_do_not_depend_on_the_other(subject):
    (arrangement,) = interacting(subject, 1, 1)
    left, right = label_maps(arrangement, CAMERA)
    for hand, labels in (("left", left), ("right", right)):
        alone = type(arrangement)(hand_type=hand, hands={hand: arrangement.hands[hand]}, pose=arrangement.pose)
        np.testing.assert_array_equal(label_maps(alone, CAMERA)[hand == "right"], labels)
        assert not label_maps(alone, CAMERA)[hand == "left"].any()


@pytest.mark.parametrize("level", [1, 2, 3])
def test_interacting_hands_overlap_and_hardly_enter_each_other(subject, level):
    overlaps = []
    for arrangement in interacting(subject, level, 12):
        left, right = label_maps(arrangement, CAMERA)
        overlaps.append(((left > 0) & (right > 0)).sum() / min((left > 0).sum(), (right > 0).sum()))
        a, b = (hand.surface.vertices for hand in arrangement.hands.values())
        assert min(push_apart(a, b, 3.0), push_apart(b, a, 3.0)) < 1e-6
    assert np.mean(np.array(overlaps) > 0.05) >= 0.6
    assert np.mean(overlaps) > 0.15


def test_bbox_covers_the_joints(subject):
    for seed in range(20):
        arrangement = arrange(subject, CAMERA, 3, False, np.random.default_rng(seed))
        x, y, w, h = frame_bbox(arrangement, CAMERA)
        joints = arrangement.joints[~np.isnan(arrangement.joints).any(axis=2)]
        pixels = project(joints, CAMERA)
        assert w == h
        assert (pixels >= (x, y)).all() and (pixels <= (x + w, y + h)).all()
        assert np.isnan(arrangement.joints).any() == (arrangement.hand_type != "interacting")


def test_a_hand_in_front_shades_what_is_behind():
    """A lamp straight ahead lights a plane but where a smaller plane stands before it."""
    square = np.array([(-1.0, -1, 0), (-1, 1, 0), (1, 1, 0), (1, -1, 0)])
    faces = np.array([(0, 1, 2), (0, 2, 3)])
    vertices = np.concatenate([square * 100 + (0, 0, 1000), square * 10 + (0, 0, 900)])
    scene = embree_scene(vertices, np.concatenate([faces, faces + 4]))
    lights = Lights(directions=np.array([(0, 0, -1.0)]), colours=np.array([(1.0, 2.0, 3.0)]))
    points = np.array([(0.0, 0, 1000), (50, 0, 1000)])
    light = irradiance(scene, points, np.array([(0, 0, -1.0)] * 2), lights, np.array((0.2, 0.1, 0.1)))
    np.testing.assert_allclose(light, [(0, 0, 0), (1, 2, 3)])


def test_normals_look_outward(open_hand):
    _, surface = open_hand
    normals = vertex_normals(surface.vertices, surface.faces)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
    distal = surface.faces[surface.face_parts == 12]
    tip = surface.vertices[np.unique(distal)]
    assert ((tip - tip.mean(axis=0)) * normals[np.unique(distal)]).sum(axis=1).mean() > 0


@pytest.mark.parametrize("seed", range(4))
def test_picture_shows_the_hands(subject, seed):
    station = sample_station(167, 256, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    arrangement = arrange(subject, station.camera, 1, False, rng)
    image = photograph(arrangement, subject, station, rng)
    assert image.shape == (station.camera.height, station.camera.width, 3) and image.dtype == np.uint8
    left, right = label_maps(arrangement, station.camera)
    hand = (left > 0) | (right > 0)
    assert image[hand].mean() > 25 and image[hand].std() > 5
    assert (np.ptp(image.astype(int), axis=2) == 0).all() == station.sensor.grey
