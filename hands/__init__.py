"""Amodal segmentation of two hands: 16 parts per hand, hidden parts included. A package a subject; CONTRIBUTING.md says which
may import which."""
