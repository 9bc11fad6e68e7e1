"""The training primitives: batches, observer, views, losses, memories, synthesizers. All of them work on the device."""
