"""What a runner goes on from, and how it takes up the run."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine import dist
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mimplug.errors import CheckpointError

from .find import find_latest
from .history import unpack_hub
from .plain import to_plain


def hook_folder(out_dir: str | Path, work_dir: str | Path) -> str:
    """Where a hook with ``out_dir`` puts the files of a run.

    Args:
        out_dir (str | Path): Argument of the hook.
        work_dir (str | Path): Of the run; its last part is the folder's name.

    Returns:
        str: A path or address.
    """
    name = Path(str(work_dir).rstrip('/')).name
    return f'{str(out_dir).rstrip("/")}/{name}'


def choose_start(runner: Runner) -> None:
    """Settles which file a resumed run reads, the same on all ranks.

    MMEngine would follow its note of the file written last, which may be
    damaged, each rank for itself.

    Args:
        runner (Runner): Resumes the file of ``load_from``, or without one the
            file that :func:`find_latest` gives; a run without any starts
            anew.
    """
    if not (isinstance(runner, Runner) and runner._resume):
        return
    chosen = [runner._load_from]
    if chosen[0] is None and dist.is_main_process():
        others = [hook_folder(hook.out_dir, runner.work_dir)
                  for hook in runner.hooks
                  if isinstance(hook, CheckpointHook) and hook.out_dir]
        chosen = [find_latest(runner.work_dir, others)]
        runner.logger.info(
            f'Nothing to resume in {runner.work_dir}: a new run'
            if chosen[0] is None else f'Resume from {chosen[0]}')
    dist.broadcast_object_list(chosen)
    runner._load_from, runner._resume = chosen[0], chosen[0] is not None


def take_up(runner: Runner, checkpoint: dict[str, Any]) -> Any:
    """Gives the message hub its buffers and the loop its position.

    To be called before MMEngine reads the checkpoint.

    Args:
        runner (Runner): Its loop is moved if it resumes a run.
        checkpoint (dict): Changed in place.

    Returns:
        dict | None: Random generators of a resumed run; None if there are
        none or an earlier call has taken them.

    Raises:
        CheckpointError: A run is to be resumed from bare weights.
    """
    lost = unpack_hub(checkpoint.get('message_hub', {}))
    if lost:
        runner.logger.info(
            'The checkpoint holds these values in a form that is not read; '
            f'they start anew: {", ".join(sorted(lost))}')
    rng = checkpoint.pop('rng', None)
    if not getattr(runner, '_resume', False):
        return None
    meta = checkpoint.get('meta')
    if not isinstance(meta, Mapping) or 'iter' not in meta or (
            'message_hub' not in checkpoint):
        raise CheckpointError(
            f'{runner._load_from}: holds no position of a run to resume; to '
            'start a new run from its weights, use load_from without resume')
    restore = getattr(runner.train_loop, 'restore', None)
    if restore is not None:
        restore(meta)
    _keep_metainfo(runner, checkpoint['meta'])
    return rng


def _keep_metainfo(runner: Runner, meta: dict[str, Any]) -> None:
    """Spares a warning about metainfo that only lost its arrays."""
    here = getattr(runner.train_dataloader.dataset, 'metainfo', None)
    # text of a pickle: MMEngine compares pickles, we compare what is saved
    if repr(to_plain(here, [])) == repr(meta.get('dataset_meta')):
        meta['dataset_meta'] = here
