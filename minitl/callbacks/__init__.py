"""Callbacks: what should happen between batches and epochs of a training run. Names and arguments are Keras's.

base         Callback, LambdaCallback
monitor      EarlyStopping
checkpoints  ModelCheckpoint, BackupAndRestore
rates        LearningRateScheduler, ReduceLROnPlateau
averaging    Lookahead, WeightAveraging
freezing     FreezeOut
logs         CSVLogger
other        TensorBoard, TerminateOnNaN, ProgbarLogger, RemoteMonitor
"""

from minitl.callbacks.averaging import Lookahead, WeightAveraging
from minitl.callbacks.base import Callback, HistoryCallback, LambdaCallback, Record
from minitl.callbacks.checkpoints import BackupAndRestore, ModelCheckpoint
from minitl.callbacks.freezing import FreezeOut
from minitl.callbacks.logs import CSVLogger
from minitl.callbacks.monitor import EarlyStopping, Monitor
from minitl.callbacks.other import ProgbarLogger, RemoteMonitor, TensorBoard, TerminateOnNaN
from minitl.callbacks.rates import LearningRateScheduler, ReduceLROnPlateau

History = Record  # Keras's name

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "FreezeOut",
    "History",
    "HistoryCallback",
    "LambdaCallback",
    "LearningRateScheduler",
    "Lookahead",
    "ModelCheckpoint",
    "Monitor",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "RemoteMonitor",
    "TensorBoard",
    "TerminateOnNaN",
    "WeightAveraging",
]
