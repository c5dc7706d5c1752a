"""From which size on a part is judged. Free of torch, as all that is checked before anything is trained."""

MIN_PART_PIXELS = 20  # at 128x128; a part smaller than this in the ground truth of an image-hand is not judged there
REFERENCE_SIDE = 128


def min_part_pixels(size: int) -> float:
    """MIN_PART_PIXELS scaled with the picture's area: 20 at side 128, 5 at side 64."""
    return MIN_PART_PIXELS * (size / REFERENCE_SIDE) ** 2
