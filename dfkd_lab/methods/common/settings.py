"""The settings that several methods have, each said once: ``z_dim: int = settings.z_dim(256)``.

Each takes the method's default, a note where the method means something more particular, and the setting that it is
``of``, without which it has no effect.
"""

from collections.abc import Callable
from typing import Any

from dfkd_lab.spec import setting


def _shared(text: str, of: str = "", **facts: Any) -> Callable[..., Any]:
    def make(default: Any, note: str = "", of: str = of) -> Any:
        return setting(default, f"{text}, {note}" if note else text, of=of, **facts)

    return make


DECAYS = ("steps", "thirds", "cosine", "none")

# weights of losses
confidence = _shared("weight of the one-hot loss", low=0, high=100)
balance = _shared("weight of the negative batch entropy", low=0, high=1000)
activation = _shared("weight of the feature activation", low=0, high=100)
label = _shared("weight of the teacher's cross entropy to the target class", low=0, high=100)
bn_gap = _shared("weight of the batch-norm statistics", low=0, high=1000)
first_layer = _shared("factor of the first batch norm in these statistics", low=0, high=1000, of="bn_gap")
gap = _shared("weight of the disagreement with the teacher that the synthesizer seeks", low=0, high=1000)
attention = _shared("weight of the student's attention transfer, 0 for any net", low=0, high=1e5)
student_label = _shared("weight of the student's cross entropy to the target class", low=0, high=100)
cam = _shared("weight of the class activation maps, 0 for a net without a linear layer", low=0, high=1e5)
grad_cam = _shared("weight of Grad-CAM after every stage", low=0, high=1e5)

# synthesis
z_dim = _shared("length of the noise", low=1, high=10_000)
width = _shared("channels of the generator's last hidden layer", low=1, high=1024)
g_lr = _shared("learning rate of the generator (Adam)", low=0, high=1)
z_lr = _shared("learning rate of the noise (Adam)", low=0, high=10)
g_steps = _shared("synthesis steps a round", low=1, high=100_000, unit="steps")
bn_momentum = _shared("share of earlier rounds in the batch-norm statistics", low=0, high=0.999, of="bn_gap")
js = _shared("the divergence: the true JS, or what PRE-DFKD's code computes", choices=("true", "released"), of="gap")

# distillation
temperature = _shared("temperature of distillation", low=0.1, high=100)
s_lr = _shared("learning rate of the student", low=0, high=1)
decay = _shared(
    "how learning rates fall: in the paper's steps, at each third of the run, along a cosine, not at all",
    choices=DECAYS,
)
weight_decay = _shared("weight decay of the student (SGD)", low=0, high=1)
s_steps = _shared("student steps a round", low=1, high=100_000, unit="steps")
turn_steps = _shared("student steps for one generator step", low=1, high=1000, unit="steps")
cycles = _shared("turns of generator and student in a round", low=1, high=10_000)
warm_up = _shared("rounds of synthesis before the student starts", low=0, high=100_000, unit="rounds")
batch = _shared("images a step", low=2, high=65_536, unit="images")
padding = _shared("padding of the random crop", low=0, high=64, unit="pixels")
flip = _shared("mirror half of the images; wrong for digits")

# memory
capacity = _shared("images the buffer holds", low=2, high=10_000_000, unit="images")
evict = _shared(
    "what a new image replaces in a full buffer: the oldest, or what the teacher was least sure of",
    choices=("oldest", "worst"),
)
replayed = _shared("replayed images in a student step, beside the new ones", low=2, high=65_536, unit="images")
