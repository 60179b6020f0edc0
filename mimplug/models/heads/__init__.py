"""Heads between backbone tokens and losses."""
from .patch_difficulty import PatchDifficulty
from .projector_predictor import ProjectorPredictorHead
from .prototype_head import PrototypeHead

__all__ = ['PatchDifficulty', 'ProjectorPredictorHead', 'PrototypeHead']
