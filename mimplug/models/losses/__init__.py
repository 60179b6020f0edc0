"""Losses: tensors in, tensors out."""
from .clustering import (
    ClusteringLoss,
    at_least_float32,
    cross_view_loss,
    sharpen,
    token_terms,
    weighted_token_loss,
)
from .gather import gather_with_grad
from .info_nce import (
    InfoNCE,
    info_nce_logits,
    info_nce_terms,
    multi_view_weights,
)
from .mixing import MixTargets, mix_targets
from .nt_xent import NTXent, nt_xent_terms
from .pair_contrast import PairContrast, pair_terms, select_pairs
from .ranking import pairwise_ranking_loss, standardised_loss

__all__ = [
    'ClusteringLoss', 'InfoNCE', 'MixTargets', 'NTXent', 'PairContrast',
    'at_least_float32', 'cross_view_loss', 'gather_with_grad',
    'info_nce_logits', 'info_nce_terms', 'mix_targets', 'multi_view_weights',
    'nt_xent_terms', 'pair_terms', 'pairwise_ranking_loss', 'select_pairs',
    'sharpen', 'standardised_loss', 'token_terms', 'weighted_token_loss'
]
