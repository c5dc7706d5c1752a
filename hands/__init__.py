"""Amodal segmentation of two hands: 16 parts per hand, hidden parts included."""
