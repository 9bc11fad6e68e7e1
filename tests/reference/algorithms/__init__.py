"""The methods' algorithms told once more, one a file: plain torch, written from the papers' equations, nothing of ours.

Each ``distil`` takes a teacher, a student and the weights that a run starts from, and gives the losses of every step by
name. It draws the same random numbers as a run of ours, in the same order. Where a method's docstring says ``Differs:``
the algorithm follows it, and says so.
"""
