"""The settings that several methods have, each said once: ``z_dim: int = vocabulary.z_dim(256)``.

A word takes the method's default, and a note where the method means something more particular.
"""

from collections.abc import Callable
from typing import Any

from dfkd_lab.spec import knob


def _word(text: str, **facts: Any) -> Callable[..., Any]:
    def word(default: Any, note: str = "") -> Any:
        return knob(default, f"{text}, {note}" if note else text, **facts)

    return word


# weights
confidence = _word("weight of the one-hot loss", low=0, high=100)
balance = _word("weight of the negative batch entropy", low=0, high=1000)
activation = _word("weight of the feature activation", low=0, high=100)
label = _word("weight of the teacher's cross entropy to the label asked for", low=0, high=100)
bn_gap = _word("weight of the batch-norm statistics", low=0, high=1000)
gap = _word("weight of the disagreement with the teacher that the synthesizer seeks", low=0, high=1000)
attention = _word("weight of the student's attention transfer, 0 for any net", low=0, high=1e5)
student_label = _word("weight of the student's cross entropy to the label", low=0, high=100)
cam = _word("weight of the class activation maps, 0 for a net without a linear layer", low=0, high=1e5)
grad_cam = _word("weight of Grad-CAM after every stage", low=0, high=1e5)

# synthesis
z_dim = _word("length of the noise", low=1, high=10_000)
width = _word("channels of the generator's last hidden layer", low=1, high=1024)
g_lr = _word("learning rate of the generator (Adam)", low=0, high=1)
z_lr = _word("learning rate of the noise (Adam)", low=0, high=10)
g_steps = _word("synthesis steps a round", low=1, high=100_000, unit="steps")
bn_momentum = _word("share of earlier rounds in the batch-norm statistics", low=0, high=0.999)
js = _word("the divergence: the true JS, or what PRE-DFKD's code computes", choices=("true", "released"))

# distillation
temperature = _word("temperature of distillation", low=0.1, high=100)
s_lr = _word("learning rate of the student (SGD), along a cosine", low=0, high=1)
s_steps = _word("student steps a round", low=1, high=100_000, unit="steps")
turn_steps = _word("student steps for one generator step", low=1, high=1000, unit="steps")
cycles = _word("turns of generator and student in a round", low=1, high=10_000)
warm_up = _word("rounds of synthesis before the student starts", low=0, high=100_000, unit="rounds")
batch = _word("images a step", low=2, high=65_536, unit="images")
padding = _word("padding of the random crop", low=0, high=64, unit="pixels")
flip = _word("mirror half of the images; wrong for digits")

# memory
capacity = _word("images the buffer holds", low=2, high=10_000_000, unit="images")
replayed = _word("replayed images in a student step, beside the new ones", low=2, high=65_536, unit="images")
