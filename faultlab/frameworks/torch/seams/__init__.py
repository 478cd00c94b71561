"""The hooks that need only torch, for every framework that has none of its own for the point.

`faultlab.injection.hooks` finds them. They import no injector and no other framework.
"""
