"""The discriminator D: are these two label maps shaped like hands?"""

import torch
from torch import nn

from hands.parts import NUM_CHANNELS

CHANNELS = (64, 128, 256, 512)


class Discriminator(nn.Module):
    """Judges a pair of label maps given as a one-hot map.

    Five convolutions of 4x4 with stride 2 and padding 1, channels 64-128-256-512-1; each but the last followed by
    batch norm and LeakyReLU(0.2).

    Input (N, 34, S, S): one-hot over 17 classes of the left hand, then of the right; S divisible by 32.
    Output (N, 1, S / 32, S / 32): logits, positive for "real". At 128x128 a 4x4 map.
    """

    def __init__(self):
        super().__init__()
        layers = []
        in_channels = NUM_CHANNELS
        for out_channels in CHANNELS:
            layers += [
                nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(out_channels),
                nn.LeakyReLU(0.2),
            ]
            in_channels = out_channels
        layers.append(nn.Conv2d(in_channels, 1, 4, stride=2, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, one_hot: torch.Tensor) -> torch.Tensor:
        return self.layers(one_hot)
