"""An abuse campaign: files that are not as they were written, disks that are full, processes that are killed.

``python -m tests.abuse`` runs one and writes benchmarks/results/abuse.json; ``make test`` runs a small one. Every case
follows from the seed and its number, so that one that failed can be run again alone.
"""
