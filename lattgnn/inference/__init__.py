"""Trained networks as they run in production: weights written out, blocked, compiled."""
