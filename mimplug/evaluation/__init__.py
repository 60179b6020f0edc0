"""How good the features are: functions first, loop and hook around them."""
from .clustering import clustering_metrics
from .feature_bank import (
    FeatureBank,
    bare_model,
    choose_backbone,
    extract_features,
)
from .knn import knn_accuracy, knn_correct, knn_predict
from .loop import KNNValLoop
from .neighbours import nearest_neighbours
from .precise_bn import recalibrate_bn, recalibrated
from .protocol import KNNProtocol, assign_prototypes
from .report import KNNReportHook

__all__ = [
    'FeatureBank', 'KNNProtocol', 'KNNReportHook', 'KNNValLoop',
    'assign_prototypes', 'bare_model', 'choose_backbone',
    'clustering_metrics', 'extract_features', 'knn_accuracy', 'knn_correct',
    'knn_predict', 'nearest_neighbours', 'recalibrate_bn', 'recalibrated'
]
