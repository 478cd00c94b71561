"""Who notices: the framework, the user's own code, the guards, and the process that ends."""
