"""Scores, and prediction batch by batch. May import packed, networks and what they rest on. Read metrics.py first."""
