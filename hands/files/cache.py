"""What can be had again at any time, kept so that it need not be: downloaded models, digests of large files."""

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """Where things of a kind lie: below XDG_CACHE_HOME, as every program's cache does."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "hands" / kind
