"""Search spaces, one a file: each defines `SPACE`, a sweeps.space.Space, and is chosen by its file's name."""
