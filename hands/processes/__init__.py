"""Processes of this machine: signals that stop them, locks, workers, folders that appear whole, what they print. May import
parts and errors alone. Read folders.py first."""
