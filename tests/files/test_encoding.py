"""Pictures as they are encoded: whoever decodes them as the layout says gets RGB."""

import cv2
import numpy as np
import torch
from torchvision.io import decode_image

from hands.files.encoding import encode_swapped_jpeg


def test_opencv_reads_rgb_from_the_picture():
    red = np.zeros((16, 16, 3), dtype=np.uint8)
    red[..., 0] = 200
    decoded = cv2.imdecode(np.frombuffer(encode_swapped_jpeg(red), dtype=np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_allclose(decoded[8, 8], (200, 0, 0), atol=4)


def test_a_decoder_that_knows_nothing_of_it_gets_red_and_blue_swapped():
    red = np.zeros((16, 16, 3), dtype=np.uint8)
    red[..., 0] = 200
    decoded = decode_image(torch.frombuffer(bytearray(encode_swapped_jpeg(red)), dtype=torch.uint8)).numpy()
    np.testing.assert_allclose(decoded[:, 8, 8], (0, 0, 200), atol=4)
