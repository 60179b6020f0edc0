"""Training on several processes: sharded models, synchronised statistics."""
from .shards import (
    shard_groups,
    shard_like,
    shard_model,
    shard_optimizer_state,
    whole,
)
from .strategy import FullyShardedStrategy

__all__ = [
    'FullyShardedStrategy', 'shard_groups', 'shard_like', 'shard_model',
    'shard_optimizer_state', 'whole'
]
