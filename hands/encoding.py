"""Pictures and labels to file bytes, by Pillow."""

import io
import zlib

import numpy as np
from PIL import Image

JPEG_QUALITY = 92
PNG_LEVEL = 1  # labels compress well at any level; this is the fast one


def encode_swapped_jpeg(image: np.ndarray) -> bytes:
    """JPEG of (H, W, 3) uint8 RGB with red and blue swapped in the file, as the raw layout has its pictures."""
    encoded = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image[..., ::-1])).save(encoded, "JPEG", quality=JPEG_QUALITY)
    return encoded.getvalue()


def encode_labels(labels: np.ndarray) -> bytes:
    """PNG with three equal channels of (H, W) uint8 labels."""
    encoded = io.BytesIO()
    picture = Image.fromarray(np.repeat(labels[..., None], 3, axis=2))
    picture.save(encoded, "PNG", compress_level=PNG_LEVEL, compress_type=zlib.Z_RLE)  # flat areas: runs are all there is
    return encoded.getvalue()
