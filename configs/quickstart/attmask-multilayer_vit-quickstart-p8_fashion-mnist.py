# The quickstart with one mask for each global crop: the first is masked by
# the teacher's last block, the second by its first one.
_base_ = './attmask_vit-quickstart-p8_fashion-mnist.py'

ratio = dict(type='mimplug.UniformRatio', mean=0.3, var=0.2, per='view')
model = dict(
    mask_generator=dict(
        _delete_=True,
        type='mimplug.PerView',
        generators=[
            dict(
                type='mimplug.AttentionMask',
                score=dict(type='mimplug.RawScore', layer=-1),
                ratio=ratio,
                apply_prob=0.5),
            dict(
                type='mimplug.AttentionMask',
                score=dict(type='mimplug.RawScore', layer=0),
                ratio=ratio,
                apply_prob=0.5),
        ]))
