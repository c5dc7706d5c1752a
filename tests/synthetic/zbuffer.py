"""The slow, plain rasterizer that rays are tested against: one face after the other into a depth buffer."""

import numpy as np

from hands.synthetic.camera import Camera, project

NO_FACE = -1


def face_map(vertices: np.ndarray, faces: np.ndarray, camera: Camera) -> np.ndarray:
    """(H, W) index of the nearest face of a mesh (V, 3), (F, 3) behind every pixel's centre, NO_FACE where none."""
    pixels = project(vertices, camera)
    nearest = np.full((camera.height, camera.width), np.inf)
    found = np.full((camera.height, camera.width), NO_FACE)
    for index, face in enumerate(faces):
        (ax, ay), (bx, by), (cx, cy) = pixels[face]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        low = np.maximum(np.ceil(pixels[face].min(axis=0)).astype(int), 0)
        high = np.minimum(np.floor(pixels[face].max(axis=0)).astype(int) + 1, (camera.width, camera.height))
        if area == 0 or (high <= low).any():
            continue
        y, x = np.mgrid[low[1] : high[1], low[0] : high[0]]
        b = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
        c = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
        a = 1 - b - c
        inverse_depth = np.stack([a, b, c], axis=-1) @ (1 / vertices[face, 2])  # linear in the picture
        window = np.s_[low[1] : high[1], low[0] : high[0]]
        nearer = (a >= 0) & (b >= 0) & (c >= 0) & (1 / inverse_depth < nearest[window])
        nearest[window][nearer] = 1 / inverse_depth[nearer]
        found[window][nearer] = index
    return found
