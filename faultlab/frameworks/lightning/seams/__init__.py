"""Lightning's hooks, for the injection points that torch alone can't attach to.

`faultlab.injection.hooks` finds them. They import no injector.
"""
