"""Search space: the weights of cross-entropy, Dice and the adversarial term.

Weights initialization learns from c CE + d Dice, paired training from (1 - a) (c CE + d Dice) + a Adv, where c, d and a are
ce_weight, dice_weight and adv_weight. Both steps use Adam, whose update does not change when the loss is multiplied by a
constant (but for its epsilon of 1e-8), so that only the ratios (1 - a) c : (1 - a) d : a count. These are two numbers, not
three: (c, d, a) and (k c, k d, a k / (1 - a + a k)) train alike for every k > 0. Hence c + d is fixed at 1, which the
published weights fulfil, and two axes remain: `dice_share` is d, with c = 1 - d, and `adv_weight` is a.

No point is unusable: c + d is never 0, and a stays below 1, where nothing would be learned from labels.
"""

from optuna.distributions import FloatDistribution

from sweeps.space import Point, Space, Weights


def weights(point: Point) -> Weights:
    return {
        "ce_weight": 1 - point["dice_share"],
        "dice_weight": point["dice_share"],
        "adv_weight": point["adv_weight"],
    }


OF_MAIN = {"dice_share": 0.65, "adv_weight": 0.01}
PUBLISHED = {"dice_share": 0.65, "adv_weight": 0.1}

SPACE = Space(
    axes={"dice_share": FloatDistribution(0, 1), "adv_weight": FloatDistribution(0, 0.5)},
    metric="val/miou",
    direction="maximize",
    seed=0,
    first_trials=(OF_MAIN, PUBLISHED),
    weights=weights,
)
