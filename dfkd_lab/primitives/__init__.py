"""The GPU training primitives: synthesis, observe, terms, memory, views."""
