"""Losses: tensors in, tensors out."""
from .clustering import (
    ClusteringLoss,
    at_least_float32,
    cross_view_loss,
    sharpen,
    token_terms,
    weighted_token_loss,
)
from .info_nce import (
    InfoNCE,
    info_nce_logits,
    info_nce_terms,
    multi_view_weights,
)
from .pair_contrast import PairContrast, pair_terms, select_pairs
from .ranking import pairwise_ranking_loss, standardised_loss

__all__ = [
    'ClusteringLoss', 'InfoNCE', 'PairContrast', 'at_least_float32',
    'cross_view_loss', 'info_nce_logits', 'info_nce_terms',
    'multi_view_weights', 'pair_terms', 'pairwise_ranking_loss',
    'select_pairs', 'sharpen', 'standardised_loss', 'token_terms',
    'weighted_token_loss'
]
