"""Your own photographs: from a folder with a folder per class to a model that works.

folder    what is in it: classes, sizes, files that are no images, duplicates
images    photographs as arrays of one size, read in threads
features  what a pretrained network makes of them, computed once
base      which network that is
head      a classifier on features, its settings chosen by cross-validation
tune      the upper layers of the network learn too
scratch   the control: a small network without anything pretrained
train     all of it together; what it found, in words and figures
predict   classes and probabilities of new photographs; evaluate: how good they are

`minitl train`, `predict`, `evaluate` and `explain` are these functions on the command line.
"""

from minitl.photographs.folder import Look, look
from minitl.photographs.predict import evaluate, predict
from minitl.photographs.train import Result, train

__all__ = ["Look", "Result", "evaluate", "look", "predict", "train"]
