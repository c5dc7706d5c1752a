"""Pinhole camera: millimetres in the camera frame (x right, y down, z forward) to pixels, as InterHand2.6M has it."""

from dataclasses import dataclass

import numpy as np

RELEASE_FOCAL, RELEASE_SIDE = 1270.0, 512  # pixels: focal length of the release's frames, their longer side


@dataclass(frozen=True)
class Camera:
    """Size and principal point in pixels (pixel centres at whole numbers); `focal` in pixels, square pixels."""

    width: int
    height: int
    focal: float
    centre_x: float
    centre_y: float


def sample_camera(width: int, height: int, rng: np.random.Generator) -> Camera:
    """A camera like the release's: about 1270 px at 512 px, principal point near the middle."""
    longer = max(width, height)
    return Camera(
        width=width,
        height=height,
        focal=RELEASE_FOCAL * longer / RELEASE_SIDE * rng.uniform(0.985, 1.015),
        centre_x=(width - 1) / 2 + longer * rng.uniform(-0.03, 0.03),
        centre_y=(height - 1) / 2 + longer * rng.uniform(-0.03, 0.03),
    )


def project(points: np.ndarray, camera: Camera) -> np.ndarray:
    """Pixels (..., 2) of camera points (..., 3): u = f X / Z + cx, v = f Y / Z + cy."""
    return points[..., :2] / points[..., 2:] * camera.focal + (camera.centre_x, camera.centre_y)


def ray_directions(columns: np.ndarray, rows: np.ndarray, camera: Camera) -> np.ndarray:
    """Directions (N, 3) float32 with z = 1 through pixels, so that a ray's parameter is its depth."""
    directions = np.empty((len(columns), 3), dtype=np.float32)
    directions[:, 0] = (columns - camera.centre_x) / camera.focal
    directions[:, 1] = (rows - camera.centre_y) / camera.focal
    directions[:, 2] = 1
    return directions


def pixel_box(points: np.ndarray, camera: Camera) -> tuple[int, int, int, int]:
    """First column, first row, end column, end row of the pixels that points (N, 3) may cover, within the picture."""
    pixels = project(points, camera)
    low = np.floor(pixels.min(axis=0)).astype(int)
    high = np.ceil(pixels.max(axis=0)).astype(int) + 1
    left, right = np.clip((low[0], high[0]), 0, camera.width)
    top, bottom = np.clip((low[1], high[1]), 0, camera.height)
    return int(left), int(top), int(right), int(bottom)


def near_picture(points: np.ndarray, camera: Camera) -> np.ndarray:
    """(N,) whether points (N, 3) fall into the picture or less than a tenth of its longer side outside."""
    pixels, margin = project(points, camera), max(camera.width, camera.height) / 10
    return ((pixels > -margin) & (pixels < np.array((camera.width, camera.height)) + margin)).all(axis=1)


def joint_bbox(pixels: np.ndarray) -> np.ndarray:
    """(4,) float32 x, y, w, h: 1.2 x the extent of projected joints (N, 2), made square, enlarged by 1.25.

    The first factor is the release's own (measured on its records), the second the data list's.
    """
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    side = 1.25 * (1.2 * (high - low)).max()
    return np.concatenate([(low + high) / 2 - side / 2, (side, side)]).astype(np.float32)
