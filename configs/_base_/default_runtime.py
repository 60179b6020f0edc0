# Bare names are MMPretrain's or MMEngine's, ours are written mimplug.X.
default_scope = 'mmpretrain'

log_interval = 50

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=log_interval),
    # reads losses and norms from the device when the logger writes, not more
    # often; adds images/s, data_wait, memory
    runtime_info=dict(type='mimplug.RuntimeInfoHook'),
    # ends a run whose steps are all skipped
    non_finite=dict(type='mimplug.NonFiniteHook', limit=20),
    param_scheduler=dict(type='ParamSchedulerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    checkpoint=dict(
        type='mimplug.CheckpointHook', interval=1, max_keep_ckpts=3),
    # every 40th epoch stays, as with the reference's saveckp_freq; it has a
    # name of its own, or the hook above would prune it, and runs first, so
    # that last_checkpoint names the other one
    milestone=dict(
        type='mimplug.CheckpointHook',
        interval=40,
        save_last=False,
        filename_tmpl='milestone_epoch_{}.pth',
        priority='LOW'),
    # the end of a job or Ctrl-C: saves after the step, exit code 75 or 130
    signals=dict(type='mimplug.SignalHook'))

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))

visualizer = dict(
    type='UniversalVisualizer',
    vis_backends=[
        dict(type='LocalVisBackend'),
        dict(type='TensorboardVisBackend'),
    ])

log_level = 'INFO'
load_from = None
resume = False
# of initial weights, order, crops and masks; the reference's default
randomness = dict(seed=0)
