"""Search space: the class weights of cross-entropy, scheme_c ** exponent x factor of c's group.

Cross-entropy divides by the weights' sum, so that only their ratios count, and some settings are others under a new name:
`fingers_factor` is fixed at 1, since one of the four groups' factors is free to choose; `none` is any scheme with exponent
0; `median_frequency` is `inverse` times a constant. They are left out. `manual` and `strong` stay, although the factors
move much the same groups: the factors reach from 1/4 to 4, the schemes farther (`strong` has the background at 1/60).

No point is unusable: factors are above 0, and so are the weights of every scheme.
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution

from sweeps.space import Point, Space, Weights


def weights(point: Point) -> Weights:
    return {
        "class_weights": point["scheme"],
        "class_weight_exponent": point["exponent"],
        "background_factor": point["background"],
        "palm_factor": point["palm"],
        "fingertips_factor": point["fingertips"],
        "fingers_factor": 1.0,
    }


UNCHANGED = {"background": 1.0, "palm": 1.0, "fingertips": 1.0}
OF_MAIN = {"scheme": "manual", "exponent": 0.0, **UNCHANGED}  # none
PUBLISHED = {"scheme": "manual", "exponent": 1.0, **UNCHANGED}
PUBLISHED_STRONG = {"scheme": "strong", "exponent": 1.0, **UNCHANGED}
FACTOR = FloatDistribution(0.25, 4, log=True)

SPACE = Space(
    axes={
        "scheme": CategoricalDistribution(("manual", "strong", "inverse", "effective_number")),
        "exponent": FloatDistribution(0, 1.5),
        "background": FACTOR,
        "palm": FACTOR,
        "fingertips": FACTOR,
    },
    metric="val/miou",
    direction="maximize",
    seed=0,
    first_trials=(OF_MAIN, PUBLISHED, PUBLISHED_STRONG),
    weights=weights,
)
