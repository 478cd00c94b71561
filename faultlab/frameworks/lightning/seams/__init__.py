"""Lightning's hooks, of the injection points that it takes more than torch to attach to."""
