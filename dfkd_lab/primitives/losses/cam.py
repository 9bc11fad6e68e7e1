"""Where in an image a class is seen: activation maps of teacher and student compared (SpaceshipNet's mSARC, FSSC).

The student is moved through its feature maps only: classifier weights and gradients are constants.
"""

import torch
from torch import Tensor

from dfkd_lab.primitives.last_maps import activation_map
from dfkd_lab.primitives.losses.base import LossFunction, needs
from dfkd_lab.primitives.observer import Observation, Observer, same_size


def class_activation_maps(observer: Observer) -> LossFunction:
    """Mean squared difference of the class activation maps (CAM, Zhou et al., arXiv:1512.04150) of every class.

    CAM is what a network pools, through the classifier's weights as a 1x1 convolution: one map [H, W] a class, whose
    spatial mean, with the bias, is the class's logit. So a WRN's is taken behind its last batch norm and ReLU, as in
    SpaceshipNet's code.

    Args:
        observer: Both networks must have such maps (:func:`~dfkd_lab.primitives.last_maps.why_no_activation_map`).

    Returns:
        A loss that gives [N].
    """
    teacher, student = observer.heads

    @needs("last_maps")
    def distance(observation: Observation) -> Tensor:
        assert teacher is not None
        assert student is not None
        assert observation.last_maps is not None
        assert observation.student_last_maps is not None
        # weights are constants: the student shall look elsewhere, not call what it sees by another weight
        mine = activation_map(observation.last_maps, teacher.weight.detach())
        others = activation_map(observation.student_last_maps, student.weight.detach())
        one, other = same_size(mine, others)
        return (one - other).square().mean((1, 2, 3))

    return distance


def grad_cam(stages: int) -> LossFunction:
    """Mean squared difference of Grad-CAM (Selvaraju et al., arXiv:1610.02391), summed over stages.

    Grad-CAM is sum_c w_c A_c, w_c the spatial mean of the gradient of the logit of the teacher's class by channel c of
    the feature map A. As in SpaceshipNet's code without ReLU and without normalization.

    Args:
        stages: How many stages teacher and student have.

    Returns:
        A loss that gives [N].
    """

    @needs("gradients")
    def distance(observation: Observation) -> Tensor:
        assert len(observation.maps) == len(observation.student_maps) == stages
        teacher = zip(observation.maps, observation.gradients, strict=True)
        student = zip(observation.student_maps, observation.student_gradients, strict=True)
        pairs = [same_size(_grad_cam(*one), _grad_cam(*other)) for one, other in zip(teacher, student, strict=True)]
        return torch.stack([(one - other).square().mean((1, 2, 3)) for one, other in pairs]).sum(0)

    return distance


def _grad_cam(maps: Tensor, gradient: Tensor) -> Tensor:
    return (gradient.detach().mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True)
