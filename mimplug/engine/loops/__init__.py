"""Training loops that start anywhere."""
from .epoch import EpochTrainLoop
from .iteration import IterTrainLoop
from .position import Position, accumulation_of, data_epoch, data_epochs
from .prefetch import prefetch_to

__all__ = [
    'EpochTrainLoop', 'IterTrainLoop', 'Position', 'accumulation_of',
    'data_epoch', 'data_epochs', 'prefetch_to'
]
