# A network that looks for mask generators: the public teacher of iBOT ViT-S/16
# (full checkpoint of bytedance/ibot, `vits_16/checkpoint.pth`). Use it as
# attention_from={{_base_.frozen_network}}.
frozen_network = dict(
    type='mimplug.MaskedViT',
    arch='deit-small',
    img_size=224,
    patch_size=16,
    interpolate_offset=0.1,
    # on the command line: model.attention_from.init_cfg.checkpoint=FILE
    init_cfg=dict(
        type='mimplug.Pretrained',
        checkpoint='checkpoints/ibot_vits_16_checkpoint.pth',
        key='teacher',
        converter='ibot',
        prefix='backbone.'))
