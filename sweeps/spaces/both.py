"""Search space: the weights of the losses and of the classes together."""

from sweeps.space import Point, Space, Weights
from sweeps.spaces import class_weights, loss_weights


def weights(point: Point) -> Weights:
    return loss_weights.weights(point) | class_weights.weights(point)


SPACE = Space(
    axes=loss_weights.SPACE.axes | class_weights.SPACE.axes,
    metric="val/miou",
    direction="maximize",
    seed=0,
    first_trials=(
        loss_weights.OF_MAIN | class_weights.OF_MAIN,
        loss_weights.PUBLISHED | class_weights.PUBLISHED,
        loss_weights.PUBLISHED | class_weights.PUBLISHED_STRONG,
    ),
    weights=weights,
)
