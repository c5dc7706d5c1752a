"""Compose one frame: whose hands, how posed, where, before which camera, under which light."""

from dataclasses import dataclass

import numpy as np

from hands.parts import HAND_TYPES, HANDS, NUM_JOINTS, WRIST
from hands.synthetic.background import KINDS, paint_background, sample_cloth
from hands.synthetic.camera import Camera, joint_bbox, project, sample_camera
from hands.synthetic.picture import Hand, Sensor, sample_lights, sleeve, take_picture
from hands.synthetic.poses import sample_articulation, sample_orientation
from hands.synthetic.render import label_map, push_apart
from hands.synthetic.skeleton import Shape, forward_kinematics, sample_shape
from hands.synthetic.skin import Skin, sample_skin
from hands.synthetic.surface import Surface, Template, surface_from_joints
from hands.synthetic.template import build_template

HAND_TYPE_SHARES = (0.25, 0.25, 0.5)  # left, right, interacting
APART = {1: (25, 80), 2: (10, 75), 3: (0, 65)}  # millimetres between the middles of two hands, by level
CROSSED_ARMS = 0.2  # share of interacting frames in which each hand is on the other's side
NEARER_ORDER = 0.75  # share of interacting frames in which the hand goes in front that brings both closer together
SKIN_CONTACT = 2.0  # millimetres that two hands may sink into each other


@dataclass(frozen=True)
class Subject:
    """A person: the same in every frame."""

    shape: Shape
    template: Template
    skin: Skin


@dataclass(frozen=True)
class Station:
    """A fixed camera of the studio and what it usually sees."""

    camera: Camera
    sensor: Sensor
    backgrounds: tuple[str, ...]


@dataclass(frozen=True)
class PosedHand:
    """One hand in camera space."""

    surface: Surface
    joints: np.ndarray  # (21, 3)
    forearm: np.ndarray  # (3,)


@dataclass(frozen=True)
class Arrangement:
    """One or two hands placed before a camera; everything that the labels need."""

    hand_type: str
    hands: dict[str, PosedHand]  # by 'left' | 'right', those present
    pose: str

    @property
    def joints(self) -> np.ndarray:
        """(2, 21, 3) millimetres in the camera frame, left hand first, NaN where absent."""
        absent = np.full((NUM_JOINTS, 3), np.nan)
        return np.stack([self.hands[hand].joints if hand in self.hands else absent for hand in HANDS])


def sample_subject(rng: np.random.Generator) -> Subject:
    """A random person; builds the template, about half a second."""
    shape = sample_shape(rng)
    return Subject(shape=shape, template=build_template(shape), skin=sample_skin(rng))


def sample_station(width: int, height: int, rng: np.random.Generator) -> Station:
    """A random camera; about a third have the picture turned, about half are grey, as in the release."""
    if rng.random() < 0.35:
        width, height = height, width
    grey = bool(rng.random() < 0.45)
    sensor = Sensor(
        grey=grey,
        tint=np.ones(3) if grey else np.array((1.0, rng.uniform(0.92, 1.1), rng.uniform(0.68, 1.02))),
        exposure=rng.uniform(0.42, 0.88),
        noise=rng.uniform(0.004, 0.022),
        blur=rng.uniform(0.08, 0.2),
    )
    backgrounds = tuple(rng.choice(KINDS, size=2, replace=False, p=(0.4, 0.25, 0.2, 0.15)))
    return Station(camera=sample_camera(width, height, rng), sensor=sensor, backgrounds=backgrounds)


def arrange(subject: Subject, camera: Camera, level: int, narrow: bool, rng: np.random.Generator) -> Arrangement:
    """Pose and place one or two hands. level 1..3: how hard; narrow: fewer poses above level 1 (see `poses`)."""
    hand_type = HAND_TYPES[rng.choice(3, p=HAND_TYPE_SHARES)]
    present = HANDS if hand_type == "interacting" else (hand_type,)
    names, posed = zip(*(_pose(subject, hand, level, narrow, rng) for hand in present), strict=True)
    if hand_type == "interacting":
        posed = _together(posed, level, rng)
    posed = _before_camera(posed, camera, rng)
    pose = names[0] if len(set(names)) == 1 else "_".join(names)
    return Arrangement(hand_type=hand_type, hands=dict(zip(present, posed, strict=True)), pose=pose)


def label_maps(arrangement: Arrangement, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Left and right (H, W) uint8 part ids 0..16, each hand seen alone; all zero for an absent hand."""
    empty = np.zeros((camera.height, camera.width), dtype=np.uint8)
    left, right = (
        label_map(arrangement.hands[hand].surface, camera) if hand in arrangement.hands else empty for hand in HANDS
    )
    return left, right


def frame_bbox(arrangement: Arrangement, camera: Camera) -> np.ndarray:
    """(4,) float32 x, y, w, h around all joints, square and enlarged as the data lists have it."""
    return joint_bbox(project(np.concatenate([hand.joints for hand in arrangement.hands.values()]), camera))


def photograph(arrangement: Arrangement, subject: Subject, station: Station, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a subject's arranged hands; clothes, light and surroundings are drawn for this frame."""
    cloth = sample_cloth(rng)
    start = rng.uniform(65, 150) if rng.random() < 0.5 else None
    radius = 39 * subject.shape.bulk * subject.shape.size
    hands = [
        Hand(
            surface=hand.surface,
            template=subject.template,
            skin=subject.skin,
            sleeve=None if start is None else sleeve(hand.joints[WRIST], hand.forearm, start, radius, rng),
            cloth=cloth,
        )
        for hand in arrangement.hands.values()
    ]
    background = paint_background(str(rng.choice(station.backgrounds)), station.camera, cloth, rng)
    return take_picture(hands, sample_lights(rng), background, station.camera, station.sensor, rng)


def _pose(subject: Subject, hand: str, level: int, narrow: bool, rng: np.random.Generator) -> tuple[str, PosedHand]:
    """Bend and turn one hand, its middle at the origin."""
    name, articulation = sample_articulation(level, narrow, rng)
    orientation = sample_orientation(level, rng)
    mirror = np.array((-1.0, 1, 1)) if hand == "left" else np.ones(3)
    joints, forearm = forward_kinematics(subject.shape, articulation)
    if hand == "left":
        orientation = np.diag(mirror) @ orientation @ np.diag(mirror)
    joints, forearm = (joints * mirror) @ orientation.T, (forearm * mirror) @ orientation.T
    joints = joints - joints.mean(axis=0)
    surface = surface_from_joints(joints, hand, subject.template, forearm)
    return name, PosedHand(surface=surface, joints=joints, forearm=forearm)


def _together(posed: tuple[PosedHand, ...], level: int, rng: np.random.Generator) -> tuple[PosedHand, ...]:
    """Lay two hands over each other: mostly each on its own side, at times with crossed arms, either one in front."""
    apart = rng.uniform(*APART[level])
    if rng.random() < CROSSED_ARMS:
        apart = -0.6 * apart
    offset = np.array((apart, rng.normal(0, 16 if level == 1 else 26), 0.0))
    left, right = posed
    right = _moved(right, offset)
    behind_left, behind_right = _gap(left, right), _gap(right, left)
    if (behind_left < behind_right) == (rng.random() < NEARER_ORDER):
        right = _moved(right, np.array((0, 0, behind_left)))
    else:
        left = _moved(left, np.array((0, 0, behind_right)))
    return left, right


def _gap(front: PosedHand, back: PosedHand) -> float:
    """Millimetres to move the second hand in depth so that it just touches the first from behind."""
    nearer = back.surface.vertices[:, 2].min() - front.surface.vertices[:, 2].max()
    start = -max(0.0, nearer)
    shifted = back.surface.vertices + (0, 0, start)
    return start + push_apart(front.surface.vertices, shifted, SKIN_CONTACT)


def _before_camera(posed: tuple[PosedHand, ...], camera: Camera, rng: np.random.Generator) -> tuple[PosedHand, ...]:
    """Put the hands about a metre away, somewhere near the middle of the picture."""
    joints = np.concatenate([hand.joints for hand in posed])
    centre = (joints.min(axis=0) + joints.max(axis=0)) / 2
    depth = rng.uniform(930, 1120)
    reach = depth / camera.focal * np.array((camera.width, camera.height))
    extent = joints.max(axis=0) - joints.min(axis=0)
    room = np.maximum(reach - extent[:2] * 1.4, 0) / 2
    target = np.append(np.clip(rng.normal(0, 0.4, 2), -0.8, 0.8) * room, depth)
    target[:2] += (
        (np.array((camera.width, camera.height)) / 2 - (camera.centre_x, camera.centre_y)) * depth / camera.focal
    )
    return tuple(_moved(hand, target - centre) for hand in posed)


def _moved(hand: PosedHand, offset: np.ndarray) -> PosedHand:
    surface = Surface(hand.surface.vertices + offset, hand.surface.faces, hand.surface.face_parts)
    return PosedHand(surface=surface, joints=hand.joints + offset, forearm=hand.forearm)
