"""What people look at: overlays, rows of frames, tables and curves, previews of data sets. May import evaluation, packed, raw
and what they rest on. Read figures.py first."""
