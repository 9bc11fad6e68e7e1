"""Where in an image a class is seen: activation maps of teacher and student compared (SpaceshipNet's mSARC, FSSC).

The student is moved through its maps only: classifier weights and gradients are constants.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_lab.primitives.observe import Observation, Observer, same_size
from dfkd_lab.primitives.terms import Function, needs


def cam(observer: Observer) -> Function:
    """Mean squared difference [N] of the class activation maps (Zhou et al., arXiv:1512.04150) of every class.

    CAM is the last stage's map through the classifier's weights as a 1x1 convolution: one map [H, W] a class. The last
    stage must have as many channels as the classifier has inputs.
    """
    teacher, student = observer.heads

    @needs("maps")
    def distance(seen: Observation) -> Tensor:
        assert teacher is not None
        assert student is not None
        mine, other = same_size(_cam(seen.maps[-1], teacher), _cam(seen.student_maps[-1], student))
        return (mine - other).square().mean((1, 2, 3))

    return distance


def _cam(maps: Tensor, head: nn.Linear) -> Tensor:
    return F.conv2d(maps, head.weight.detach()[:, :, None, None])


def grad_cam(stages: int) -> Function:
    """Mean squared difference [N] of Grad-CAM (Selvaraju et al., arXiv:1610.02391), summed over ``stages`` stages.

    Grad-CAM is sum_c w_c A_c, w_c the spatial mean of the gradient of the logit of the teacher's class by channel c of
    the map A. As in SpaceshipNet's code without ReLU and without normalization.
    """

    @needs("gradients")
    def distance(seen: Observation) -> Tensor:
        assert len(seen.maps) == len(seen.student_maps) == stages
        mine = [_grad_cam(*pair) for pair in zip(seen.maps, seen.gradients, strict=True)]
        other = [_grad_cam(*pair) for pair in zip(seen.student_maps, seen.student_gradients, strict=True)]
        pairs = [same_size(*pair) for pair in zip(mine, other, strict=True)]
        return torch.stack([(one - two).square().mean((1, 2, 3)) for one, two in pairs]).sum(0)

    return distance


def _grad_cam(maps: Tensor, gradient: Tensor) -> Tensor:
    return (gradient.detach().mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True)
