"""The pages that a person reads in a browser.

They fetch nothing, and the code behind them imports neither torch nor Lightning.
"""
