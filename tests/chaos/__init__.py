"""Chaos: seeded schedules of faults on a real API server, judged by an oracle that reads only its audit log."""
