"""The hooks of training loops, where torch's own don't reach.

`faultlab.injection.hooks` finds them. They import no injector.
"""
