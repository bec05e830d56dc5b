"""Pure decisions about a fleet: no I/O, no clock, no chance, so that a journal replays exactly."""
