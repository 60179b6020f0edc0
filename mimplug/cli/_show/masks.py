"""Draw the masks of a generator, of all, or of a config on photographs.

A config shows its own generator with the attention of its own teacher; one of
a siamese network, all that its encoders see: masked views as they are filled,
hard negatives, mixtures, the object marked by its own localiser. A
generator by name is shown with its example settings; without --network its
attention is a stand-in that is computed from the image, and the picture says
so. apply_prob is taken to be 1.

Examples:
    mimplug show masks all
    mimplug show masks AttentionMask --images photos/ --size 224 320
    mimplug show masks configs/attmask/NAME.py --checkpoint epoch_100.pth
    mimplug show masks all --network CONFIG.py --checkpoint epoch_100.pth
"""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimplug.errors import ConfigError, check_range

if TYPE_CHECKING:
    from mimplug.masking import MaskGenerator
    from mimplug.visualization import MaskInputs

Pair = tuple[int, int]
# 14 x 14 patches, as 224 and 16 give
SIDE, PATCH = 168, 12
# of a config that does not say how large its crops are
CROP = 224
FOLDER = 'work_dirs/show'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this topic."""
    from mmengine.config import DictAction

    parser.add_argument(
        'what', metavar='CONFIG|GENERATOR|all',
        help='config file, name of a mask generator, or all of them')
    parser.add_argument(
        '--images', nargs='+', default=[], metavar='PATH',
        help='files and folders; default: four photographs of the package')
    parser.add_argument('--num-images', type=int, default=4, metavar='N',
                        help='most images to draw')
    parser.add_argument(
        '--size', type=int, nargs='+', metavar='PIXELS',
        help=f'height and width of the images; default: those of the network,'
        f' or {SIDE}')
    parser.add_argument('--patch', type=int, metavar='PIXELS',
                        help=f'side of a patch without a network; default: '
                        f'{PATCH}')
    parser.add_argument(
        '--network', metavar='CONFIG',
        help='config whose teacher gives attention to generators by name')
    parser.add_argument('--checkpoint', metavar='FILE',
                        help='weights of that network, or of the config')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
        help='change settings of the config')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--progress', type=float, default=0.5, metavar='SHARE',
        help='share of the training that is done, for masks that change')
    parser.add_argument('--cell', type=int, default=160, metavar='PIXELS',
                        help='least size of one picture')
    parser.add_argument('--out', metavar='FILE',
                        help=f'PNG file; default: {FOLDER}/masks_NAME.png')


def run(args: argparse.Namespace) -> int:
    """Draws one picture.

    Args:
        args (Namespace): As parsed.

    Returns:
        int: 0.

    Raises:
        ConfigError: No such config, generator or image, or they do not fit
            together.
        CheckpointError: The file does not fit the model.
    """
    from PIL import Image

    from mimplug.visualization import find_photos, is_siamese, render_masks

    check_range('--progress', args.progress, 0.0, 1.0)
    check_range('--num-images', args.num_images, 1, 64)
    check_range('--cell', args.cell, 16, 2048)
    config = _config(args)
    photos = find_photos(args.images, args.num_images)
    model, source, side = _network(config, args)
    title = ('All mask generators' if args.what == 'all'
             else Path(args.what).stem)
    if _is_config(args.what) and is_siamese(model):
        picture = _siamese(photos, model, source, side, args, title)
    else:
        picture = render_masks(
            _generators(args.what, model),
            _inputs(photos, model, source, args), cell=args.cell, title=title)
    out = Path(args.out or f'{FOLDER}/masks_{Path(args.what).stem}.png')
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(out)
    print(out)  # noqa: T201
    return 0


def _is_config(what: str) -> bool:
    """Whether a word is meant as a file."""
    return what.endswith('.py') or '/' in what


def _config(args: argparse.Namespace) -> str | None:
    """The config of the network, if one is asked."""
    if _is_config(args.what):
        if args.network:
            raise ConfigError(
                f'--network {args.network}: {args.what} has a network of its '
                'own; name a generator instead of a config')
        return str(args.what)
    for name in ('checkpoint', 'cfg_options'):
        if getattr(args, name) and not args.network:
            raise ConfigError(
                f'--{name.replace("_", "-")} needs --network CONFIG, which '
                'says what network it belongs to')
    network: str | None = args.network
    return network


def _network(config: str | None, args: argparse.Namespace
             ) -> tuple[Any, str, int]:
    """The model, what its weights are, the side of its training crops."""
    if config is None:
        return None, '', SIDE
    from mmengine.logging import MMLogger
    from mmengine.registry import init_default_scope
    from mmpretrain.registry import MODELS

    from .._build import clear_errors
    from .._config import load_config
    from ._weights import load_weights

    cfg = load_config(argparse.Namespace(
        config=config, cfg_options=args.cfg_options, work_dir=None,
        launcher='none'))
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    if cfg.get('data_preprocessor'):
        # as the runner does
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    with clear_errors():
        model = MODELS.build(cfg.model)
    if args.checkpoint is None:
        logger = MMLogger.get_current_instance()
        level = logger.level
        # else every tensor has a line of its own
        logger.setLevel('WARNING')
        model.init_weights()
        logger.setLevel(level)
        return (model.eval(), f'initial weights of {Path(config).stem}',
                _crop_side(cfg))
    load_weights(model, args.checkpoint)
    return model.eval(), Path(args.checkpoint).name, _crop_side(cfg)


def _crop_side(cfg: Any) -> int:
    """Pixels of the large crops that a config trains with."""
    data = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    crops = [step.global_crops.size for step in data.get('pipeline') or ()
             if 'global_crops' in step]
    return int(crops[0]) if crops else CROP


def _size(args: argparse.Namespace, default: Pair) -> Pair:
    """Height and width that are asked for."""
    if not args.size:
        return default
    if len(args.size) > 2:
        raise ConfigError(
            f'--size {args.size}: give one number, or height and width')
    return args.size[0], args.size[-1]


def _siamese(photos: list[Path], model: Any, source: str, side: int,
             args: argparse.Namespace, title: str) -> Any:
    """The picture of a masked siamese network."""
    import torch

    from mimplug.visualization import load_photos, siamese_gallery

    if args.patch is not None:
        raise ConfigError(
            f'--patch {args.patch}: the cells of masked views are those of '
            'the config')
    images = torch.from_numpy(load_photos(photos, _size(args, (side, side))))
    return siamese_gallery(
        model, images, title=title, source=source, seed=args.seed,
        fraction=args.progress, cell=args.cell)


def _generators(what: str, model: Any
                ) -> list[tuple[str, str, MaskGenerator]]:
    """Name, settings and object of everything to draw."""
    from mimplug.visualization import example_generators, generator_classes

    if _is_config(what):
        generator = getattr(model, 'mask_generator', None)
        if generator is None:
            raise ConfigError(
                f'{what}: {type(model).__name__} has no mask_generator')
        return [(type(generator).__name__, 'as configured', generator)]
    names = generator_classes() if what == 'all' else [what]
    return [(name, settings, generator) for name in names
            for settings, generator in example_generators(name)]


def _inputs(photos: list[Path], model: Any, source: str,
            args: argparse.Namespace) -> MaskInputs:
    """Images of the right size, and the network or its stand-in."""
    import torch

    from mimplug.visualization import (
        NetworkInputs,
        StandInInputs,
        load_photos,
    )

    size, patch, looks = _geometry(model)
    if args.patch is not None and model is None:
        patch = args.patch, args.patch
    elif args.patch not in (None, *patch):
        raise ConfigError(
            f'--patch {args.patch}: the masks of this model have cells of '
            f'{patch[0]} x {patch[1]}')
    size = _size(args, size)
    if any(side < cell or side % cell for side, cell in zip(size, patch)):
        raise ConfigError(
            f'--size {size[0]} {size[1]}: allowed are multiples of the patch '
            f'size {patch[0]} x {patch[1]}')
    images = torch.from_numpy(load_photos(photos, size))
    grid = (size[0] // patch[0], size[1] // patch[1])
    common = dict(seed=args.seed, fraction=args.progress)
    if not looks:
        return StandInInputs(images, grid, **common)
    return NetworkInputs(images, grid, **common, model=model, source=source)


def _geometry(model: Any) -> tuple[Pair, Pair, bool]:
    """Image size, size of a cell, and whether a network gives attention."""
    from mimplug.visualization import backbone_of

    if model is None:
        return (SIDE, SIDE), (PATCH, PATCH), False
    stock = getattr(model, 'mask_source', None)
    if stock is not None and stock.network is None:
        height, width = (
            side // cells for side, cells in zip(
                stock.image_size, stock.cell_grid))
        return stock.image_size, (height, width), False
    backbone = backbone_of(model)
    patch = backbone.patch_size
    return tuple(backbone.img_size), (patch, patch), True
