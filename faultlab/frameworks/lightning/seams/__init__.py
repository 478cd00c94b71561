"""Lightning's hooks for injection points that can't be attached with torch alone.

`faultlab.injection.hooks` finds them. They import no injector.
"""
