"""Slow literal twins: NumPy in float64, a loop for every sum, written from the papers' equations."""
