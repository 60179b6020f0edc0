"""Losses: tensors in, tensors out."""
from .clustering import (
    ClusteringLoss,
    cross_view_loss,
    sharpen,
    weighted_token_loss,
)
from .info_nce import (
    InfoNCE,
    info_nce_logits,
    info_nce_terms,
    multi_view_weights,
)

__all__ = [
    'ClusteringLoss', 'InfoNCE', 'cross_view_loss', 'info_nce_logits',
    'info_nce_terms', 'multi_view_weights', 'sharpen', 'weighted_token_loss'
]
