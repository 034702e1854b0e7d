"""Models: networks of layers, and what one does with them.

model.py       Model(inputs, outputs): the part of a graph between some values
sequential.py  Sequential: a model that is built by add()
time_distributed.py  a model for every step of a sequence
trainer.py     compile, fit, evaluate, predict
saving.py      models in files, and back
"""

from minitl.models.model import Model
from minitl.models.saving import clone_model, load_model, model_from_json, save_model
from minitl.models.sequential import Sequential
from minitl.models.time_distributed import TimeDistributedModel

__all__ = ["Model", "Sequential", "TimeDistributedModel", "clone_model", "load_model", "model_from_json", "save_model"]
