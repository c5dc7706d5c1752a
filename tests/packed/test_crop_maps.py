"""Where crops come from, and what lies beyond a record."""

import torch

from hands.packed.crop_maps import crop_maps, mirrored, sample, shrunk_and_moved

NOT = torch.tensor([False])
STILL = crop_maps(torch.ones(1), torch.zeros(1), torch.zeros(1, 2), NOT)


def a_record(labels: list[list[int]]) -> torch.Tensor:
    """(1, 5, P, P): the left hand's labels, ten times their value as picture, no right hand."""
    left = torch.tensor(labels, dtype=torch.uint8)
    return torch.stack([10 * left, 10 * left, 10 * left, left, torch.zeros_like(left)]).unsqueeze(0)


SQUARE = a_record([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]])


def sampled(record: torch.Tensor, maps: torch.Tensor, size: int = 4) -> tuple[list, list]:
    """The picture's red and the left hand's labels."""
    images, labels = sample(record, maps, size)
    assert (labels[0, 1] == 0).all()
    return images[0, 0].round().int().tolist(), labels[0, 0].tolist()


def test_a_record_as_it_is():
    image, labels = sampled(SQUARE, STILL)
    assert labels == SQUARE[0, 3].tolist() and image == SQUARE[0, 0].tolist()


def test_a_mirror_image():
    image, labels = sampled(SQUARE, mirrored(STILL, torch.tensor([True])))
    assert labels == SQUARE[0, 3].flip(1).tolist() and image == SQUARE[0, 0].flip(1).tolist()
    assert torch.equal(mirrored(STILL, NOT), STILL)


def test_a_turn_is_counterclockwise():
    _, labels = sampled(SQUARE, crop_maps(torch.ones(1), torch.tensor([90.0]), torch.zeros(1, 2), NOT))
    assert labels == [[4, 8, 12, 16], [3, 7, 11, 15], [2, 6, 10, 14], [1, 5, 9, 13]]


def test_moved_by_half_of_half_the_side_is_one_pixel_of_four():
    """To the right and down; what comes in is beyond the record: black, and background."""
    maps = shrunk_and_moved(STILL, torch.ones(1), torch.tensor([[0.5, 0.5]]))
    image, labels = sampled(SQUARE, maps)
    assert labels == [[0, 0, 0, 0], [0, 1, 2, 3], [0, 5, 6, 7], [0, 9, 10, 11]]
    assert image == [[0, 0, 0, 0], [0, 10, 20, 30], [0, 50, 60, 70], [0, 90, 100, 110]]


def test_shrunk_to_half_about_the_middle():
    record = a_record([[0, 0, 0, 0], [0, 3, 3, 0], [0, 3, 3, 0], [0, 0, 0, 0]])
    maps = shrunk_and_moved(STILL, torch.tensor([0.5]), torch.zeros(1, 2))
    _, labels = sampled(record, maps, size=8)  # the record's four pixels are the crop's middle four
    assert labels == [[3 if row in (3, 4) and column in (3, 4) else 0 for column in range(8)] for row in range(8)]


def test_shrinking_and_moving_follow_the_crop_as_it_is_turned():
    """What a turned crop shows moves with it: a half turn, then one pixel to the right."""
    turned = crop_maps(torch.ones(1), torch.tensor([180.0]), torch.zeros(1, 2), NOT)
    _, labels = sampled(SQUARE, shrunk_and_moved(turned, torch.ones(1), torch.tensor([[0.5, 0.0]])))
    assert labels == [[0, 16, 15, 14], [0, 12, 11, 10], [0, 8, 7, 6], [0, 4, 3, 2]]
