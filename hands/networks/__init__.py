"""The segmentation networks and D, each as two files (checkpoint.py), and logits as they lie in memory. May import files and
processes. Read hands_network.py first."""
