"""Amodal segmentation of two hands: 16 parts per hand, what the other hand hides included. A package a subject; CONTRIBUTING.md
says which may import which."""
