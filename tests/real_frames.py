"""Four real frames of InterHand2.6M, which lie beside the project and are no part of it."""

import pytest

from tests.project import ROOT

REAL_FRAMES = ROOT.parent / "shared" / "real-frames"
needs_real_frames = pytest.mark.skipif(not REAL_FRAMES.is_dir(), reason="the real frames are not beside this project")
