"""The hooks of training loops, for the points that the hooks of `faultlab.frameworks.torch.seams` can't serve.

`faultlab.injection.hooks` finds them. They import no injector and no other framework than torch.
"""
