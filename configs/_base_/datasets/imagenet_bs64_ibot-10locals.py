# iBOT's ViT-S setting: AttMask's crops, 64 images a process.
_base_ = './imagenet_bs60_attmask-10locals.py'

train_dataloader = dict(batch_size=64)
