"""What a checkpoint holds, how it is written, and how it is found again."""
from .collect import at_boundary, collect, position_of, run_meta
from .files import remove_leftovers, save_bytes, save_file
from .find import find_latest, read_header
from .history import pack_hub, unpack_hub
from .plain import to_plain
from .publish import publish
from .resume import choose_start, hook_folder, take_up
from .rng import gather_rng, restore_rng, rng_state

__all__ = [
    'at_boundary', 'choose_start', 'collect', 'find_latest', 'gather_rng',
    'hook_folder', 'pack_hub', 'position_of', 'publish', 'read_header',
    'remove_leftovers', 'restore_rng', 'rng_state', 'run_meta', 'save_bytes',
    'save_file', 'take_up', 'to_plain', 'unpack_hub'
]
