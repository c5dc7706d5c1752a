"""Answers: for photographs, splits, the submission archive, requests to a served model. May import method, evaluation, packed,
networks and what they rest on. Read predictions.py first."""
