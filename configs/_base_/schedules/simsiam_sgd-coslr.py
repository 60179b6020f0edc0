# Optimiser and schedule of MMPretrain's SimSiam at 256 images a step: the
# predictor keeps its learning rate.
_base_ = './moco_sgd-coslr.py'

sync_bn = 'torch'

optim_wrapper = dict(
    optimizer=dict(lr=0.05),
    paramwise_cfg=dict(custom_keys={'predictor': dict(fix_lr=True)}))
