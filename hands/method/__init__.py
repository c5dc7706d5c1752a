"""The method: losses, class weights, pseudo-labels, and one file a training step that reads like it. May import training,
evaluation, packed, networks. Read phase1.py first."""
