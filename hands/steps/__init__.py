"""What turns parameters into a training step as an MLflow run. May import tracking, method, training and what they rest on.
Read session.py first."""
