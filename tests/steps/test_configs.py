"""Parameters become configurations: which step gets which augmentation."""

import pytest

from entrypoints.launch.commands import parsed
from hands.packed.augment import AugmentConfig
from hands.steps.configs import phase1_config, phase2_init_config, phase2_paired_config

PUBLISHED = AugmentConfig("published", hand_paste=0.0)


@pytest.mark.parametrize(
    ("entry_point", "config", "given", "augment"),
    [
        ("phase1", phase1_config, {}, PUBLISHED),
        ("phase2_paired", phase2_paired_config, {}, PUBLISHED),
        ("phase2_init", phase2_init_config, {}, PUBLISHED),
        ("phase1", phase1_config, {"augmentation": "strong", "hand_paste": 0.5}, AugmentConfig("strong", 0.5)),
        ("phase2_paired", phase2_paired_config, {"augmentation": "strong", "hand_paste": 0.5}, AugmentConfig("strong", 0.5)),
        ("phase2_init", phase2_init_config, {"augmentation": "strong"}, AugmentConfig("strong", 0.0)),
    ],
)
def test_augmentation_of_a_step(entry_point, config, given, augment):
    assert config(parsed(entry_point, given)).augment == augment


def test_unpaired_pictures_get_no_second_hand():
    """A recipe's hand_paste holds for its labelled pairs."""
    params = parsed("phase2_init", {"augmentation": "strong"})
    params.hand_paste = 0.5
    assert phase2_init_config(params).augment == AugmentConfig("strong", hand_paste=0.0)
