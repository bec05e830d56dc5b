"""Look after fleets: the only place where the core meets the cluster. Everything is async."""
