"""Training, whatever is trained: the loop, its state, devices, checkpoints to resume from. May import evaluation, packed,
networks and what they rest on. Read loop.py first."""
