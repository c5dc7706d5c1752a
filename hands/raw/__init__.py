"""The raw InterHand2.6M layout, read and written. May import files and processes. Read layout.py first."""
