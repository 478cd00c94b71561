"""The tests; `lab` and `support` help them, `zoo`, `broken` and `torture` hold what they are run on."""
